"""Look after a record: `python -m study.doctor --help`."""

from __future__ import annotations

import sys

from runners.process.cores import limit_libraries
from runners.process.system import refuse_windows

refuse_windows()
limit_libraries()

from study.cli.doctor import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
