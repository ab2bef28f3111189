"""How a command of this project begins and ends, whichever it is. Standard library only."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from runners.process import output
from runners.process.cores import limit_libraries
from runners.process.system import refuse_windows

INTERRUPTED = 130  # the exit code that shells give a process ended by Ctrl-C
# For this process and those that it starts.
# What a user has set for matplotlib is for the user's own figures: a backend that is not there (a notebook's kernel
# hands on its own), or a matplotlibrc that cannot be read, would keep matplotlib from being imported at all.
# Python imports from the current folder first when it is started with -c or -m, as helper processes are: a user's own
# `queue.py` or `runners/` would take the place of what is meant.
ENVIRONMENT = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull, "PYTHONSAFEPATH": "1"}


def run(main: Callable[[], int], locks: bool = True) -> int:
    """The exit code of `main`, which imports what it needs: a Ctrl-C ends it without a traceback also meanwhile.

    `locks`: it needs file locks and process groups, so that Windows is refused.
    """
    if locks:
        refuse_windows()
    limit_libraries()
    output.shelter()
    os.environ |= ENVIRONMENT
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # "building the font cache; this may take ..."
    try:
        code = main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        output.interrupted()
    return code
