"""Run a study: `python study/run.py --study schedules` (all options: `--help`)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # Python puts study/ there, which hides the rooms beside it

from runners.process import command  # noqa: E402


def main() -> int:
    from study.cli import launch

    return launch.main()


if __name__ == "__main__":
    sys.exit(command.run(main))
