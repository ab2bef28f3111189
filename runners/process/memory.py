"""Out of memory: how it shows on each device, and half as much at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

# A GPU's allocator raises torch.OutOfMemoryError; a CPU's, cuBLAS and cuDNN raise RuntimeError with one of these.
# cuDNN's search for the fastest kernel finds none when none fits.
WORDS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "unable to find an engine")


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def halving(attempt: Callable[[int], Result], size: int, device: torch.device) -> tuple[Result, int]:
    """`attempt(size)`, with half the size each time that memory runs out: its result and the size that fitted.

    `attempt` must leave nothing that a second one minds. Raises what it raised at size 1.
    """
    while True:
        try:
            return attempt(size), size
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not ran_out(error):
                raise
        size = -(-size // 2)
        # Out here the error, and with it every tensor of the failed attempt, is gone.
        if device.type == "cuda":
            torch.cuda.empty_cache()
