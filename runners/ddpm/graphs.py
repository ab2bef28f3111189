"""A step of many small kernels as one CUDA graph: launched once, where launching each would keep the GPU waiting.

NVIDIA's graphs replay recorded kernels on recorded addresses. So a function can be replayed when everything that
changes from call to call is a tensor that it is given, and nothing in it waits for the device (PyTorch's notes on
CUDA semantics, "CUDA Graphs").
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import torch

from runners.process import memory

WARM = 3  # calls before the recording: libraries choose their kernels and allocate what they keep
Tensors = tuple[torch.Tensor, ...]


def replayed(function: Callable[..., Tensors], device: torch.device) -> Callable[..., Tensors]:
    """`function`, as a graph where the device is a GPU; elsewhere it is itself."""
    return Replayed(function) if device.type == "cuda" else function


class Replayed:
    """`function` on a CUDA device: called as it is at first, recorded, then replayed, with the same results.

    Its arguments keep their shapes from call to call; what it returns is the caller's, not overwritten by the next
    call. Where the recording fails, a warning says why and the function goes on being called; lack of memory is raised.
    """

    # Of any instance: a recording that breaks off may leave the allocator as if it went on. Where memory lacks, it is
    # ended in order.
    broken = False

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self.function = function
        self.calls = 0
        self.stream: torch.cuda.Stream | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: Tensors = ()
        self.outputs: Tensors = ()

    def __call__(self, *given: torch.Tensor) -> Tensors:
        if self.graph is None and self.calls >= WARM and not Replayed.broken:
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
        device = given[0].device
        current = torch.cuda.current_stream(device)
        if self.stream is None:
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            outputs = self.function(*given)
        current.wait_stream(self.stream)
        for output in outputs:
            output.record_stream(current)
        return outputs

    def _record(self, given: Tensors) -> None:
        gc.collect()  # an older graph that only a cycle holds must not be destroyed in the middle of this recording
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(given[0].device)
        self.inputs = tuple(value.clone() for value in given)
        try:
            # The threads that draw noise and write pictures may call CUDA meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.outputs = self.function(*self.inputs)
        except RuntimeError as error:
            self.inputs = self.outputs = ()
            torch.cuda.set_stream(current)  # the end of a broken recording does not put it back
            _give_up(error)
            return
        self.graph = graph


def _give_up(error: BaseException) -> None:
    """Raise lack of memory, also where it is the cause behind `error` (when a recording breaks off, its end fails too);
    of anything else warn, and record nothing more in this process."""
    try:
        while True:
            if memory.ran_out(error):
                raise error from None
            if error.__context__ is None:
                break
            error = error.__context__
        Replayed.broken = True
        reason = str(error).strip().split("\n")[0]
        warnings.warn(f"No CUDA graph ({reason}): kernels are launched singly.", stacklevel=4)
    finally:
        del error  # else it, its traceback and this frame hold each other, and the memory of the failed try
