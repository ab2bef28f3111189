"""Run a study: `python study/run.py --study schedules` (all options: `--help`)."""

from __future__ import annotations

import sys
from pathlib import Path

# Before study/, where Python looks first, and before another copy of the project that is installed.
sys.path[: not sys.flags.safe_path] = [str(Path(__file__).resolve().parent.parent)]

from runners.process import command  # noqa: E402


def main() -> int:
    from study.cli import launch

    return launch.main()


if __name__ == "__main__":
    sys.exit(command.run(main))
