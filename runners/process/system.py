"""What a program of the project does before it imports anything: the operating system, and what surrounds it.

Standard library only.
"""

from __future__ import annotations

import os
import sys

WINDOWS = "Windows is supported through WSL 2 only: install it with `wsl --install` and run this command inside it."
BAD_INPUT = 2


def refuse_windows() -> None:
    """End the program with one sentence where file locks and process groups are missing."""
    if sys.platform.startswith("win"):
        print(WINDOWS, file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def keep_surroundings_out() -> None:
    """Leave the folder that a program is started in, and the notebook that starts it, out of the processes of a study.

    Python imports from the current folder first when it is started with -c or -m, as helper processes are: a user's own
    `queue.py` or `runners/` would take the place of what is meant. And a notebook's matplotlib backend, which its
    kernel hands on, need not exist in this environment; the project opens no window.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["MPLBACKEND"] = "agg"
