"""Signs of life of this process, and the wish that it end. Standard library only.

Whatever takes long calls `tick()` after each piece of work (a training step, a sampling step, a batch of the
evaluator, a look at a lock that others hold). By the count a watcher tells a process that works from one that hangs,
and a process that is to end does so between two pieces, where everything is consistent and can be saved.
"""

from __future__ import annotations


class Stopped(BaseException):
    """The process was asked to end. Not an Exception: nothing that handles failures may swallow it."""


class _State:
    ticks = 0
    ending = False


def tick() -> None:
    """A piece of work is done. Raises Stopped once `stop` was called."""
    _State.ticks += 1
    if _State.ending:
        raise Stopped


def ticks() -> int:
    """How many pieces of work this process has done."""
    return _State.ticks


def stop() -> None:
    """Ask this process to end at its next tick; safe in a signal handler and from any thread."""
    _State.ending = True
