"""Count the networks of all studies: `python -m study.sizes`, after a change of runners/models or of diffusers."""

from __future__ import annotations

import sys

from study.cli.sizes import main

if __name__ == "__main__":
    sys.exit(main())
