"""The operating systems that a study runs on."""

from __future__ import annotations

import sys

WINDOWS = "Windows is supported through WSL 2 only: install it with `wsl --install` and run this command inside it."
BAD_INPUT = 2


def refuse_windows() -> None:
    """End the program with one sentence where file locks and process groups are missing."""
    if sys.platform.startswith("win"):
        print(WINDOWS, file=sys.stderr)
        raise SystemExit(BAD_INPUT)
