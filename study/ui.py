"""A record in the browser: `python study/ui.py --help`."""

from __future__ import annotations

import sys

from runners.process import command


def main() -> int:
    from study.cli import ui

    return ui.main()


if __name__ == "__main__":
    sys.exit(command.run(main))
