"""A line on standard error that says how far a program is. Standard library only."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

PLAIN_SECONDS = 10.0  # between two lines where none can be redrawn


def can_redraw(file: TextIO | None) -> bool:
    """Whether a file is a terminal on which a line can be written over; one that names no kind is taken for none."""
    try:
        terminal = file is not None and file.isatty()
    except ValueError:  # closed
        return False
    return terminal and os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")


class Status:
    """On a terminal one line that is written over, cut to its width; elsewhere a line every PLAIN_SECONDS."""

    def __init__(self) -> None:
        self.file = sys.stderr
        self.redraws = can_redraw(self.file)
        self.shown = time.monotonic()

    def show(self, line: str, last: bool = False) -> None:
        """Say how far it is; the `last` time the line stays."""
        if self.redraws:
            width = self._columns() - 1  # a full line would begin the next one
            print(f"\r{line[:width]:<{width}}", end="\n" if last else "", file=self.file, flush=True)
        elif last or time.monotonic() - self.shown >= PLAIN_SECONDS:
            self.shown = time.monotonic()
            print(line, file=self.file, flush=True)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self.file.fileno()).columns or 80
        except OSError:
            return 80
