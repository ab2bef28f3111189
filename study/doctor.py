"""Look after a record: `python -m study.doctor --help`."""

from __future__ import annotations

import sys

from runners.process import command


def main() -> int:
    from study.cli import doctor

    return doctor.main()


if __name__ == "__main__":
    sys.exit(command.run(main))
