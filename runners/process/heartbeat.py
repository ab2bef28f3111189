"""Signs of life of this process, and the wish that it end. Standard library only.

Whatever takes long calls `beat()` after each piece of work (a training step, a sampling step, a batch of the
evaluator, a look at a lock that others hold). A watcher tells by the count a process that works from one that hangs,
and a process that is to end does so between two pieces, where everything is consistent and can be saved.
"""

from __future__ import annotations


class Stopped(BaseException):
    """The process was asked to end. Not an Exception: nothing that handles failures may swallow it."""


class _Pulse:
    beats = 0
    ending = False


def beat() -> None:
    """A piece of work is done. Raises Stopped once `stop` was called."""
    _Pulse.beats += 1
    if _Pulse.ending:
        raise Stopped


def beats() -> int:
    """How many pieces of work this process has done."""
    return _Pulse.beats


def stop() -> None:
    """Ask this process to end at its next beat; safe in a signal handler and from any thread."""
    _Pulse.ending = True
