"""Look after a record: `python -m study.doctor --help`."""

from __future__ import annotations

import sys
from pathlib import Path

# Before another copy of the project that is installed.
sys.path[: not sys.flags.safe_path] = [str(Path(__file__).resolve().parent.parent)]

from runners.process.system import keep_surroundings_out, refuse_windows  # noqa: E402

refuse_windows()
keep_surroundings_out()

from study.cli.doctor import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
