"""A process for functions that need large libraries for a moment: the memory that these take ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class _Apart:
    """The process, which starts when it is first needed."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.pool: ProcessPoolExecutor | None = None

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        if self.pool is None:
            # Spawned: a fork after numerical threads may wait for ever.
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=follow)
            self.pool = self.stack.enter_context(pool)
        return self.pool.submit(function, *arguments).result()


_open: list[_Apart] = []


@contextmanager
def opened() -> Iterator[None]:
    """Meanwhile `call` calls in another process, the same one each time."""
    with ExitStack() as stack:
        _open.append(_Apart(stack))
        stack.callback(_open.pop)
        yield


def call(function: Callable[..., Result], *arguments: object) -> Result:
    """`function(*arguments)`, in the process of the `opened` block where there is one: a function that can be imported,
    its arguments, its result and its errors are pickled. A process that dies costs nothing but time."""
    if _open:
        try:
            return _open[-1].call(function, *arguments)
        except BrokenProcessPool:
            pass
    return function(*arguments)


# --- in such a process -----------------------------------------------------------------------------------


def follow() -> None:
    """Leave a Ctrl-C and a hang-up to the process that started this one, and end with it: one that was killed leaves
    none behind that waits for its next task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
