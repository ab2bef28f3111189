"""The operating systems that a study runs on. Nothing else is imported before this is asked."""

from __future__ import annotations

import importlib
import sys

NEEDED = ("fcntl", "resource")  # modules of Python that exist on Linux and macOS alone: file locks, memory taken
WINDOWS = "Windows is supported through WSL 2 only: install it with `wsl --install` and run this command inside it."
LACKING = (
    "This Python lacks the module {}, which Linux and macOS have: use another Python, on Windows the one inside WSL 2 "
    "(install it with `wsl --install`)."
)
BAD_INPUT = 2


def refuse_windows() -> None:
    """End the program with one sentence where file locks and process groups are missing."""
    if reason := unsupported():
        print(reason, file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def unsupported() -> str:
    """Why no study runs with this Python, in a sentence; "" where one does."""
    if sys.platform.startswith("win"):
        return WINDOWS
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            return LACKING.format(name)
    return ""
