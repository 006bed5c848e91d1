"""Install onnxruntime-web beside the page: python -m topseg.serve.page FOLDER.

FOLDER is the npm package, ``node_modules/onnxruntime-web``.
"""

import sys
from pathlib import Path

from topseg.core.errors import InputError
from topseg.serve.page.files import install_ort

if __name__ == "__main__":
    try:
        install_ort(Path(sys.argv[1]))
    except (InputError, IndexError) as error:
        sys.exit(str(error) if isinstance(error, InputError) else __doc__)
