"""A step of many small kernels as one CUDA graph: launched once, where launching each would keep the GPU waiting.

NVIDIA's graphs replay recorded kernels on recorded addresses. So a function can be replayed when everything that
changes from call to call is a tensor that it is given, and nothing in it waits for the device (PyTorch's notes on
CUDA semantics, "CUDA Graphs").
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from runners import memory

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

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self.function = function
        self.calls = 0
        self.failed = False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: Tensors = ()
        self.outputs: Tensors = ()

    def __call__(self, *given: torch.Tensor) -> Tensors:
        if self.graph is None and self.calls >= WARM and not self.failed:
            self._record(given)
        self.calls += 1
        if self.graph is None:
            return self._aside(given)
        for held, value in zip(self.inputs, given, strict=True):
            held.copy_(value, non_blocking=True)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)

    def _aside(self, given: Tensors) -> Tensors:
        """A call on another stream than the default one, as the warm-up of a recording needs."""
        stream = torch.cuda.Stream(given[0].device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(given[0].device))
        with torch.cuda.stream(stream):
            outputs = self.function(*given)
        torch.cuda.current_stream(given[0].device).wait_stream(stream)
        for output in outputs:
            output.record_stream(torch.cuda.current_stream(given[0].device))
        return outputs

    def _record(self, given: Tensors) -> None:
        graph = torch.cuda.CUDAGraph()
        self.inputs = tuple(value.clone() for value in given)
        try:
            with torch.cuda.graph(graph):
                self.outputs = self.function(*self.inputs)
        except RuntimeError as error:
            self.failed, self.inputs, self.outputs = True, (), ()
            # Where a recording breaks off, its end fails too: what broke it is the context of that.
            causes: list[BaseException] = [error]
            while (cause := causes[-1].__context__) is not None:
                causes.append(cause)
            for cause in causes:
                if memory.ran_out(cause):
                    raise cause from None
            warnings.warn(
                f"No CUDA graph ({str(causes[-1]).splitlines()[0]}): kernels are launched singly.", stacklevel=2
            )
            return
        self.graph = graph
