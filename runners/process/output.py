"""What a command prints, on streams that never fail and never wait.

A reader that has gone (`| head`, a closed terminal), a full disk under `> log`, a reader that takes nothing (a stopped
`tee`, Ctrl-S) and letters that a terminal cannot show change what is seen, and nothing else. Standard library only.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import queue
import sys
import threading
from typing import TextIO, cast

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # whoever reads later misses something; any other reader has gone
BEHIND = 100  # pieces that wait: so many that the reader takes nothing just now
INTERRUPTED_SECONDS = 3.0  # that a command which was interrupted waits for such a reader


class Output(io.TextIOBase):
    """A stream of text to a file descriptor. Pieces that are written wait in one queue for all streams, so that they
    keep their order, and a thread of its own takes them from there."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, encoding: str, pieces: queue.SimpleQueue[_Piece]) -> None:
        self.descriptor, self.encoding, self.pieces = descriptor, encoding, pieces
        self.lost: OSError | None = None  # why a piece was not written

    def write(self, text: str) -> int:
        # A file name that is no text of this encoding is shown by its bytes.
        self.pieces.put((self, text.encode(self.encoding, errors="backslashreplace")))
        return len(text)

    def flush(self) -> None:
        """Nothing to do: what waits is written as soon as it can be."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    @property
    def behind(self) -> bool:
        """Whether the reader takes nothing: what is true for a moment only need not be written now."""
        return self.pieces.qsize() > BEHIND


_Piece = tuple[Output, bytes] | threading.Event  # an event is set when all that was written before it is out


def shelter() -> None:
    """Put such streams in the place of standard output and standard error, for as long as this process lives."""
    pieces: queue.SimpleQueue[_Piece] = queue.SimpleQueue()
    _open_missing()
    streams = [
        Output(descriptor, real.encoding if real is not None else "utf-8", pieces)
        for descriptor, real in ((1, sys.stdout), (2, sys.stderr))
    ]
    sys.stdout, sys.stderr = cast(list[TextIO], streams)
    threading.Thread(target=_write, args=(pieces, streams[1]), daemon=True).start()
    atexit.register(_finish)


def drain(seconds: float | None = None) -> bool:
    """Wait until all that was printed is out, at most `seconds`; whether it is."""
    if not isinstance(sys.stdout, Output):
        return True
    done = threading.Event()
    sys.stdout.pieces.put(done)
    return done.wait(seconds)


def said(text: str) -> None:
    """Print what its reader has to know: also on standard error where the reader of standard output has gone."""
    print(text)
    drain(INTERRUPTED_SECONDS)
    if isinstance(sys.stdout, Output) and sys.stdout.lost is not None:
        print(text, file=sys.stderr)


def printed(code: int) -> int:
    """The exit code of a command that does nothing but print: 1 where a full disk took a part of it."""
    drain()
    lost = sys.stdout.lost if isinstance(sys.stdout, Output) else None
    return code or 1 if lost is not None and lost.errno in FULL else code


def interrupted() -> None:
    """Wait for no reader for long any more."""
    _patience.seconds = INTERRUPTED_SECONDS


class _Patience:
    seconds: float | None = None


_patience = _Patience()


def _finish() -> None:
    with contextlib.suppress(KeyboardInterrupt):  # whoever presses Ctrl-C does not want to read the rest
        drain(_patience.seconds)


def _open_missing() -> None:
    """Descriptors that were closed (`>&-`) lead to nowhere: else the next file that is opened gets their number, and
    what is printed gets into it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _write(pieces: queue.SimpleQueue[_Piece], errors: Output) -> None:
    while True:
        piece = pieces.get()
        if isinstance(piece, threading.Event):
            piece.set()
            continue
        stream, content = piece
        try:
            while content:
                content = content[_some(stream.descriptor, content) :]
        except OSError as error:
            if stream.lost is None and error.errno in FULL and stream is not errors:
                reason = os.strerror(error.errno or 0)
                errors.write(f"Standard output cannot be written ({reason}): what is printed there is lost.\n")
            stream.lost = error  # the next piece is tried again: there may be room by then


def _some(descriptor: int, content: bytes) -> int:
    """Write as much as goes; waits where another program has made the descriptor a non-blocking one."""
    try:
        return os.write(descriptor, content)
    except BlockingIOError:
        import select

        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        waiting.poll()
        return 0
