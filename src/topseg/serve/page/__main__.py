"""Install the in-browser engine beside the page: python -m topseg.serve.page FOLDER.

FOLDER is the npm package, ``node_modules/onnxruntime-web``.
"""

import sys
from pathlib import Path

from topseg.core.errors import InputError
from topseg.serve.page.files import install_engine

if __name__ == "__main__":
    try:
        install_engine(Path(sys.argv[1]))
    except (InputError, IndexError) as error:
        sys.exit(str(error) if isinstance(error, InputError) else __doc__)
