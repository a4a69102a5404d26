"""``python3 -m latentkit`` is the command ``latentkit``."""

from __future__ import annotations

import sys

from latentkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
