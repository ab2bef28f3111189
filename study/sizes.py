"""Count the networks of all studies: `python -m study.sizes`, after a change of runners/models or of diffusers."""

from __future__ import annotations

import sys

from runners.process.system import refuse_windows

refuse_windows()

from study.cli.sizes import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
