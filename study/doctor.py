"""Look after a record: `python -m study.doctor --help`."""

from __future__ import annotations

import sys

from study.cli.doctor import main

if __name__ == "__main__":
    sys.exit(main())
