"""A network saved by `torch.export.save`, read as data: tensors, and a list of calls of ATen operators.

`torch.export.load` is not used, since it runs what a file says: in torch 2.11 and 2.13 it unpickles example inputs, and
weights and constants that are marked so, without limits, and evaluates the text of symbolic sizes as Python. The format
is torch's schema 8 (torch/_export/serde/schema.py); nothing of it but calls of operators is carried out.
"""

from __future__ import annotations

import json
import math
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runners.evaluation.networks import Unreadable

SCHEMA = 8  # major version; a minor one adds fields that are refused where they are used
ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
REFUSED = {"from_file", "save"}  # ATen operators that touch files
SCALARS: dict[str, Callable[..., Any]] = {  # on sizes, which are numbers when the graph runs
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
    "math.trunc": math.trunc,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
}
SCALARS |= {
    f"_operator.{function.__name__}": function
    for function in (
        *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod, operator.pow),
        *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.neg, operator.pos),
    )
}
# Numbers of the schema's enumerations.
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
STRIDED = 7


@dataclass(frozen=True)
class _Name:
    """A value of the graph, in the place of an argument."""

    name: str


class _Device:
    """The device of the images, in the place of the one that the graph was exported on."""


@dataclass(frozen=True)
class _Call:
    function: Callable[..., Any]
    positional: tuple[Any, ...]
    keyword: Mapping[str, Any]
    results: tuple[str | tuple[str, ...] | None, ...]
    last: tuple[str, ...]  # values that no later call needs


class Exported(nn.Module):
    """float (B, 3, H, W) -> what the graph gives. Its weights are buffers; nothing is trained."""

    def __init__(self, calls: list[_Call], tensors: Mapping[str, Tensor], given: str, result: str) -> None:
        super().__init__()
        self.calls, self.given, self.result = calls, given, result
        self.buffer_of = {name: f"tensor_{number}" for number, name in enumerate(tensors)}
        for name, tensor in tensors.items():
            self.register_buffer(self.buffer_of[name], tensor)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        values: dict[str, Any] = {name: getattr(self, buffer) for name, buffer in self.buffer_of.items()}
        values[self.given] = x_BCHW
        for call in self.calls:
            positional = [_resolved(value, values, x_BCHW.device) for value in call.positional]
            keyword = {name: _resolved(value, values, x_BCHW.device) for name, value in call.keyword.items()}
            found = call.function(*positional, **keyword)
            several = len(call.results) > 1
            for name, value in zip(call.results, found if several else (found,), strict=False):  # none: a check
                if isinstance(name, tuple):
                    values |= zip(name, value, strict=True)
                elif name is not None:
                    values[name] = value
            for name in call.last:
                del values[name]
        y: Tensor = values[self.result]
        return y


def _resolved(value: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(value, _Name):
        return values[value.name]
    if isinstance(value, _Device):
        return device
    return [_resolved(one, values, device) for one in value] if isinstance(value, list) else value


# --- reading ---------------------------------------------------------------------------------------------


def read(path: Path) -> Exported:
    """The network of a file; Unreadable, or what damaged files raise: KeyError, TypeError, ValueError, RuntimeError."""
    with zipfile.ZipFile(path) as archive:
        root = next(name.split("/")[0] for name in archive.namelist() if name.endswith("/archive_format"))
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise Unreadable("it is compressed")
        if archive.read(f"{root}/byteorder") != b"little":
            raise Unreadable("its bytes are in another order")
        program = json.loads(archive.read(f"{root}/models/model.json"))
        if program["schema_version"]["major"] != SCHEMA:
            raise Unreadable(f"its format has version {program['schema_version']['major']} instead of {SCHEMA}")
        weights = _tensors(archive, f"{root}/data/weights")
        constants = _tensors(archive, f"{root}/data/constants")
    graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    tensors: dict[str, Tensor] = {}
    given = []
    for spec in signature["input_specs"]:
        [(kind, of)] = spec.items()
        if kind == "parameter":
            tensors[of["arg"]["name"]] = weights[of["parameter_name"]]
        elif kind == "buffer":
            tensors[of["arg"]["name"]] = (weights if of["persistent"] else constants)[of["buffer_name"]]
        elif kind == "tensor_constant":
            tensors[of["arg"]["name"]] = constants[of["tensor_constant_name"]]
        elif kind == "user_input" and set(of["arg"]) == {"as_tensor"}:
            given.append(of["arg"]["as_tensor"]["name"])
        else:
            raise Unreadable(f"one of its inputs is a {kind}")
    if len(given) != 1:
        raise Unreadable(f"it takes {len(given)} inputs instead of the images alone")
    batch = graph["tensor_values"][given[0]]["sizes"][0]
    if "as_int" in batch:
        raise Unreadable(
            f"it takes batches of {batch['as_int']} alone; export it with dynamic_shapes=({{0: Dim.DYNAMIC}},)"
        )
    result = _result(signature)
    return Exported(_calls(graph["nodes"], result), tensors, given[0], result)


def _result(signature: Mapping[str, Any]) -> str:
    """The name of the one value that comes out."""
    kinds = [kind for spec in signature["output_specs"] for kind in spec]
    if kinds != ["user_output"]:
        changed = [kind for kind in kinds if kind != "user_output"]
        raise Unreadable(f"it changes its own state ({changed[0]})" if changed else f"it gives {len(kinds)} results")
    name: str = signature["output_specs"][0]["user_output"]["arg"]["as_tensor"]["name"]
    return name


def _tensors(archive: zipfile.ZipFile, folder: str) -> dict[str, Tensor]:
    """Name -> tensor of a folder of raw storages; pickled ones are refused unread."""
    [config] = [name for name in archive.namelist() if name.startswith(folder) and name.endswith("_config.json")]
    storages: dict[str, bytearray] = {}
    found = {}
    for name, payload in json.loads(archive.read(config))["config"].items():
        meta, file = payload["tensor_meta"], payload["path_name"]
        if payload["use_pickle"] or meta is None:
            raise Unreadable(f"{name} is pickled: code in it is never run")
        if meta["layout"] != STRIDED:
            raise Unreadable(f"{name} is not dense")
        if file not in storages:
            storages[file] = bytearray(archive.read(f"{folder}/{file}"))
        sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
        dtype = DTYPES[meta["dtype"]]
        flat = torch.frombuffer(storages[file], dtype=dtype) if storages[file] else torch.empty(0, dtype=dtype)
        found[name] = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"])
    return found


def _calls(nodes: list[dict[str, Any]], result: str) -> list[_Call]:
    calls: list[_Call] = []
    needed = {result}
    for node in reversed(nodes):
        function = _function(node["target"])
        arguments = [(one["name"], _argument(one["arg"]), one.get("kind") == 2) for one in node["inputs"]]
        results = tuple(_output(one) for one in node["outputs"])
        used = {value for _, argument, _ in arguments for value in _names(argument)}
        made = {name for one in results for name in (one if isinstance(one, tuple) else (one,)) if name is not None}
        call = _Call(
            function,
            tuple(value for _, value, by_name in arguments if not by_name),
            {name: value for name, value, by_name in arguments if by_name},
            results,
            tuple(sorted((used | made) - needed)),
        )
        calls.append(call)
        needed |= used
    return calls[::-1]


def _function(target: str) -> Callable[..., Any]:
    if target in SCALARS:
        return SCALARS[target]
    named = ATEN.fullmatch(target)
    function = getattr(getattr(torch.ops.aten, named[1]), named[2]) if named else None
    if named is None or named[1] in REFUSED or not isinstance(function, torch._ops.OpOverload):
        raise Unreadable(f"it calls {target}, which is no operator on tensors")
    return function


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _names(one)]
    return [value.name] if isinstance(value, _Name) else []


def _output(argument: Mapping[str, Any]) -> str | tuple[str, ...] | None:
    """Where a result goes: under a name, a list of them, or nowhere."""
    value = _argument(argument)
    if isinstance(value, list):
        return tuple(one.name for one in value)
    return value.name if isinstance(value, _Name) else None


def _argument(argument: Mapping[str, Any]) -> Any:
    """An argument of the schema's union type: its value, or the name that stands for it."""
    [(kind, value)] = argument.items()
    if kind == "as_none":
        return None
    if kind in ("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings"):
        return value
    if kind in ("as_float", "as_floats"):  # "Infinity" is text
        return [float(one) for one in value] if isinstance(value, list) else float(value)
    if kind in ("as_tensor", "as_tensors"):
        return [_Name(one["name"]) for one in value] if isinstance(value, list) else _Name(value["name"])
    if kind == "as_scalar_type":
        return DTYPES[value]
    if kind == "as_memory_format":
        return MEMORY_FORMATS[value]
    if kind == "as_layout" and value == STRIDED:
        return torch.strided
    if kind == "as_device":
        return _Device()
    if kind == "as_name":
        return _Name(value)
    if kind.startswith(("as_sym_", "as_optional_tensor")):  # themselves of a union type, or lists of them
        return [_argument(one) for one in value] if isinstance(value, list) else _argument(value)
    raise Unreadable(f"it has an argument of the kind {kind.removeprefix('as_')}")
