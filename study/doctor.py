"""Look after a record: `python -m study.doctor --help`."""

from __future__ import annotations

import sys

from runners.process.system import refuse_windows

refuse_windows()

from study.cli.doctor import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
