"""A network saved by `torch.jit.save`, looked through before anything of it runs.

TorchScript is no Python: `torch.jit.load` has an unpickler of its own, which makes TorchScript's types and no others,
and an interpreter of its own, which calls torch's operators (torch 2.11 and 2.13). Some of those touch files, and
methods may run when an object is restored: such files are refused.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runners.evaluation.networks import Unreadable

# Operators on files, other machines and Python, and calls of what is known only when it runs.
REFUSED = {
    "aten::from_file",
    "aten::save",
    "prim::CallFunction",
    "prim::CallMethod",
    "prim::IgnoredPythonOp",
    "prim::PythonOp",
    "prim::rpc_async",
    "prim::rpc_remote",
    "prim::rpc_sync",
}


class Scripted(nn.Module):
    """float (B, 3, H, W) -> what the script gives."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content
        self.place = torch.device("cpu")
        self.script = [_load(content, self.place)]  # in a list, so that torch does not look for its weights

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Scripted:
        """To another device by loading anew: constants in the code of frozen and traced scripts do not move else."""
        place = fn(torch.empty(0, device=self.place)).device
        if place != self.place:
            self.place, self.script = place, [_load(self.content, place)]
        return self

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = self.script[0].forward(x_BCHW)
        return y


def read(path: Path) -> Scripted:
    """The network of a file; Unreadable, or what damaged files raise: ValueError, RuntimeError."""
    found = Scripted(_looked_through(path))
    script = found.script[0]
    if len(script.forward.schema.arguments) != 2:
        raise Unreadable(f"it takes {len(script.forward.schema.arguments) - 1} inputs instead of the images alone")
    for kind in sorted({node.kind() for node in _nodes(script.inlined_graph)}):
        if kind in REFUSED or kind.split("::")[0] not in ("aten", "prim"):
            raise Unreadable(f"it calls {kind}, which is no operator on tensors")
    return found


def _looked_through(path: Path) -> bytes:
    """The file's archive, written anew: what was looked through is what torch is given, however it reads archives."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(content, "w") as anew:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".pkl") and any("torch.classes" in asked for asked in _globals(data)):
                raise Unreadable("it holds an object of a class that is not TorchScript's")
            if name.endswith(".py") and b"__setstate__" in data:
                raise Unreadable("it runs a method __setstate__ when it is loaded, as quantised networks do")
            anew.writestr(name, data)
    return content.getvalue()


def _load(content: bytes, device: torch.device) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 recommends torch.export
        return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call]


def _globals(pickled: bytes) -> Iterator[str]:
    """Names of the classes and functions that a pickle asks for, without unpickling it."""
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            raise Unreadable("it is pickled in a way that TorchScript's files are not")


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph, of its branches and of the graphs that they hold."""
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from _nodes(block)
        for attribute in node.attributeNames():
            if node.kindOf(attribute) == "g":
                yield from _nodes(node.g(attribute))
            elif node.kindOf(attribute) == "gs":
                for inner in node.gs(attribute):
                    yield from _nodes(inner)
