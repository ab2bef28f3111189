"""Count the networks of all studies: `python -m study.sizes`, after a change of runners/models or of diffusers."""

from __future__ import annotations

import sys

from runners.process import command


def main() -> int:
    from study.cli import sizes

    return sizes.main()


if __name__ == "__main__":
    sys.exit(command.run(main))
