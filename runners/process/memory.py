"""Memory: what was taken of it, how the lack of it shows on each device, half as much at once, and giving it back.

Megabytes are 1e6 bytes.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from runners.process.cgroups import memory_limits

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


def twice(attempt: Callable[[], Result], device: torch.device, undo: Callable[[], None] = lambda: None) -> Result:
    """`attempt()`; where memory runs out, once more with what torch keeps of it in reserve given back.

    `undo` makes good what the first one left that a second one would mind.
    """
    try:
        return attempt()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        undo()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return attempt()


@contextmanager
def blamed(what: Callable[[], str]) -> Iterator[None]:
    """Lack of memory in the block is raised with the note `what()`: what did not fit, and what to write instead."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if ran_out(error):
            error.add_note(what())
        raise


def give_back() -> None:
    """Give the system what the C library keeps of freed memory: after a training on a CPU several hundred megabytes,
    which other processes lack. What is taken next is taken anew, so this is for the end of a piece of work."""
    # glibc's own; other C libraries give back by themselves, or have no such call.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


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


def held_mb(device: torch.device) -> float:
    """What this process has of a GPU for tensors now, used or in reserve; 0 on a CPU."""
    return torch.cuda.memory_reserved(device) / 1e6 if device.type == "cuda" else 0.0


def used_mb(device: torch.device) -> float:
    """What all processes together have of a GPU now, their CUDA contexts and libraries included; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) / 1e6


def capacity_mb(device: torch.device) -> float:
    """Memory of the device; on a CPU, of this machine, or what its container grants of it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] / 1e6
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *memory_limits()]) / 1e6
