"""A record in the browser: `python study/ui.py --help`."""

from __future__ import annotations

import sys

from runners.process.system import refuse_windows

refuse_windows()

from study.cli.ui import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
