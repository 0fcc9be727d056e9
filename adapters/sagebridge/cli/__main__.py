"""``python -m sagebridge.cli``."""

from __future__ import annotations

import sys

from sagebridge.cli import main

if __name__ == "__main__":
    sys.exit(main())
