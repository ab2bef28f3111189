"""Render scenes in i-CLEVR's layout: `python -m runners.render DEST` (`--help` tells the rest)."""

from __future__ import annotations

import sys

from runners.tasks.iclevr.render import main

if __name__ == "__main__":
    sys.exit(main())
