"""A record in the browser: `python study/ui.py --help`."""

from __future__ import annotations

import sys

from study.cli.ui import main

if __name__ == "__main__":
    sys.exit(main())
