"""python -m topseg."""

import sys

from topseg.cli import main

sys.exit(main())
