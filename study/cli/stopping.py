"""Signals that end a study: a Ctrl-C, the polite end of a cluster, the hang-up of a terminal or an SSH session."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.executors.local import LocalExecutor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(executor: LocalExecutor) -> Iterator[None]:
    """Inside, the first signal stops the executor at its next poll, and a second Ctrl-C or SIGTERM at once.

    A signal that was ignored when the process started stays ignored: the hang-up under `nohup`, the Ctrl-C in a
    script's background job. Afterwards each is what it was: the process may be a notebook's kernel, which goes on. Only
    the main thread of a process can handle signals; in another one they stay as they are.
    """

    def interrupt(number: int, _: object) -> None:
        if number == signal.SIGHUP and executor.stopping:
            return  # a shell, the kernel and a login manager each send one: no second wish
        again, executor.stopping = executor.stopping, True
        if again or not executor.workers:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.getsignal(each) for each in SIGNALS}
    ours = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, before[each])
