"""Run a study: `python study/run.py --study schedules` (all options: `--help`)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # Python puts study/ there, which hides the rooms beside it

from runners.process.cores import limit_libraries  # noqa: E402
from runners.process.system import refuse_windows  # noqa: E402

refuse_windows()
limit_libraries()

from study.cli.launch import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
