"""One architecture per file: `model="NAME(...)"` is built by `build` of `runners/models/NAME.py`.

`build(image_size, labels, ...) -> nn.Module` maps (x_BCHW, t_B, c_BK) to (B, C, H, W): t is a timestep 0 .. T - 1, c a
multi-hot condition, all zeros for "unconditional". It raises ValueError, one sentence that says what to write instead,
before it builds anything. A build that needs T has a parameter `timesteps`; the package supplies it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import pkgutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runners.config import Call, nearest
from runners.process import apart
from runners.process.files import read_json


@dataclass(frozen=True)
class Size:
    """`forward_flop`: floating-point operations (2 x multiply-adds) of one image's forward pass."""

    parameters: int
    forward_flop: float


def names() -> list[str]:
    """The architectures: the files of this folder without a leading underscore."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def build(model: str, image_size: int, labels: int, timesteps: int) -> nn.Module:
    """The network of `model`, with weights of torch's random state.

    ValueError for an unknown name (with the nearest), an unknown argument or a network that cannot be built.
    """
    call = Call.parse(model)
    if call.name not in names():
        raise ValueError(f"Unknown model {call.name!r}{nearest(call.name, names())}")
    module: Any = importlib.import_module(f"{__name__}.{call.name}")
    given = {"image_size": image_size, "labels": labels, "timesteps": timesteps}
    arguments = call.bind(module.build, given=given)
    taken = inspect.signature(module.build).parameters
    network: nn.Module = module.build(**{name: given[name] for name in given if name in taken}, **arguments)
    return network


SIZES = Path(__file__).with_name("sizes.json")  # what `count` found for the studies' networks: study/cli/sizes.py


@functools.cache
def measure(model: str, image_size: int, labels: int, timesteps: int) -> Size:
    """The size of a network: from SIZES where that is about this code and has the network, else counted: in the process
    of `apart`, if there is one, since diffusers takes 130 MB of memory that one which builds no network never needs.

    ValueError as in `build`.
    """
    network = model, image_size, labels, timesteps
    if found := _known().get(size_key(*network)):
        return Size(*found)
    return count(*network) if "diffusers" in sys.modules else apart.call(count, *network)


def size_key(model: str, image_size: int, labels: int, timesteps: int) -> str:
    """The name of a network in SIZES."""
    return f"{model} | {image_size} px, {labels} labels, T = {timesteps}"


def sources_digest() -> str:
    """Of what a network's size comes from: the files of this folder and the version of diffusers."""
    digest = hashlib.sha256(version("diffusers").encode())
    for path in sorted(SIZES.parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _known() -> dict[str, tuple[int, float]]:
    """key -> parameters, FLOP; nothing where an architecture or diffusers has changed since they were counted."""
    value = read_json(SIZES) if SIZES.is_file() else {}
    return dict(value["sizes"]) if value.get("sources") == sources_digest() else {}


def count(model: str, image_size: int, labels: int, timesteps: int) -> Size:
    """The size of a network that is never filled: on the meta device, so it is the same on every machine.

    There attention is two matrix products, which are counted; torch's fused kernel of a CPU counts as nothing.
    It takes seconds, most of them the import of diffusers. ValueError as in `build`.
    """
    with torch.device("meta"):
        # Not under no_grad: there the counter's hooks fail on a view of a parameter (torch 2.13).
        network = build(model, image_size, labels, timesteps).eval()
        inputs = torch.zeros(1, 3, image_size, image_size), torch.zeros(1, dtype=torch.long), torch.zeros(1, labels)
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
    return Size(sum(value.numel() for value in network.parameters()), float(counter.get_total_flops()))


def require_positive(**arguments: object) -> None:
    """ValueError for an argument that is no whole number of at least 1: the first check of a `build`."""
    for name, value in arguments.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
