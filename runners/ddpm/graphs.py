"""A step of many small kernels as one CUDA graph: launched once, where launching each would keep the GPU waiting.

NVIDIA's graphs replay recorded kernels on recorded addresses. So a function can be replayed when everything that
changes from call to call is a tensor that it is given, and nothing in it waits for the device (PyTorch's notes on
CUDA semantics, "CUDA Graphs").
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from functools import cache

import torch

from runners.process import device as devices
from runners.process import memory

WARM = 3  # calls before the recording: libraries choose their kernels and allocate what they keep
FIRST_WAIT = 100  # calls until a recording that lacked memory is tried again, and twice as many after each time
LACKED = "out of memory"
Tensors = tuple[torch.Tensor, ...]


def replayed(function: Callable[..., Tensors], device: torch.device) -> Callable[..., Tensors]:
    """`function`, as a graph where the device is a GPU; elsewhere it is itself."""
    return Replayed(function) if device.type == "cuda" else function


@cache
def stream_of(device: torch.device) -> torch.cuda.Stream:
    """The one stream of this process that recordings of the device are made on: allocator and cuBLAS keep memory for
    each stream that they have seen, as long as the process lives."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Replayed:
    """`function` on a CUDA device: called as it is at first, recorded, then replayed, with the same results.

    Its arguments keep their shapes from call to call; what it returns is the caller's, not overwritten by the next
    call. Where the recording fails, a warning says why and the function goes on being called: to the end, or where
    memory lacked until it is recorded later.
    """

    # Of any instance: a recording that breaks off may leave the allocator as if it went on. Where memory lacks, it is
    # ended in order.
    broken = False
    seconds = 0.0  # that this process has spent on recording

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self.function = function
        self.calls = 0
        self.due, self.wait = WARM, FIRST_WAIT  # calls before it is recorded; after a lack of memory, so many more
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: Tensors = ()
        self.outputs: Tensors = ()

    def __call__(self, *given: torch.Tensor) -> Tensors:
        if self.graph is None and self.calls >= self.due and not Replayed.broken:
            self._record(given)
        self.calls += 1
        if self.graph is None:
            return self.function(*given) if Replayed.broken else self._aside(given)
        for held, value in zip(self.inputs, given, strict=True):
            held.copy_(value, non_blocking=True)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)

    def _aside(self, given: Tensors) -> Tensors:
        """A call on the stream of the recording, as its warm-up needs: allocator and cuBLAS keep memory by stream."""
        current, stream = torch.cuda.current_stream(given[0].device), stream_of(given[0].device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            outputs = self.function(*given)
        current.wait_stream(stream)
        for output in outputs:
            output.record_stream(current)
        return outputs

    def _record(self, given: Tensors) -> None:
        """Record, and count the seconds; those that the device takes for what is queued are not the recording's."""
        devices.synchronize(given[0].device)
        start = time.perf_counter()
        # An older graph that only a cycle holds must not be destroyed in the middle of this recording.
        gc.collect()
        reason = self._recorded(given)
        # Out here the error, and with it the memory of a recording that failed, is gone.
        if reason and not Replayed.broken:
            self.due, self.wait = self.calls + self.wait, 2 * self.wait
            torch.cuda.empty_cache()
            reason = f"{reason}; tried again in {self.due - self.calls} steps"
        if reason:
            warnings.warn(f"No CUDA graph ({reason}): kernels are launched singly.", stacklevel=3)
        Replayed.seconds += time.perf_counter() - start

    def _recorded(self, given: Tensors) -> str:
        """Why the recording failed; "" when the graph is there. `broken` is set unless memory lacked."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(given[0].device)
        self.inputs = tuple(value.clone() for value in given)
        try:
            # The threads that draw noise and write pictures may call CUDA meanwhile.
            with torch.cuda.graph(graph, stream=stream_of(given[0].device), capture_error_mode="thread_local"):
                self.outputs = self.function(*self.inputs)
        except RuntimeError as error:
            self.inputs = self.outputs = ()
            torch.cuda.set_stream(current)  # the end of a broken recording does not put it back
            reason = _reason(error)
            Replayed.broken = reason != LACKED
            return reason
        self.graph = graph
        return ""


def _reason(error: BaseException) -> str:
    """What a recording failed of, LACKED for lack of memory: when it breaks off, its end fails too, and that error is
    not the cause."""
    while not memory.ran_out(error) and error.__context__ is not None:
        error = error.__context__
    return LACKED if memory.ran_out(error) else str(error).strip().split("\n")[0]
