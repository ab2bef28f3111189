"""Memory: what was taken of it, how the lack of it shows on each device, and half as much at once.

Megabytes are 1e6 bytes.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

# A GPU's allocator raises torch.OutOfMemoryError; a CPU's, cuBLAS and cuDNN raise RuntimeError with one of these.
WORDS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that there is not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def halving(attempt: Callable[[int], Result], size: int, device: torch.device) -> tuple[Result, int]:
    """`attempt(size)`, with half the size each time that memory runs out: its result and the size that fitted.

    `attempt` must leave nothing that a second one minds. Raises what it raised at size 1, with a note where that was
    lack of memory.
    """
    while True:
        try:
            return attempt(size), size
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            if size == 1:
                error.add_note("not even one image at a time fits into memory")
                raise
        size = -(-size // 2)
        # Out here the error, and with it every tensor of the failed attempt, is gone.
        if device.type == "cuda":
            torch.cuda.empty_cache()


# --- how much was taken --------------------------------------------------------------------------------


def reset_peak(device: torch.device) -> None:
    """Let `peak_mb` begin again, where it can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> float:
    """What tensors took at most: of a GPU since `reset_peak`; on a CPU, of this process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def reserved_mb(device: torch.device) -> float:
    """What this process has taken of the device at most, whether it used it or not: that is what others lack."""
    return torch.cuda.max_memory_reserved(device) / 1e6 if device.type == "cuda" else peak_mb(device)


def capacity_mb(device: torch.device) -> float:
    """Memory of the device; on a CPU, of this machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] / 1e6
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
