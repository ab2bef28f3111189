"""One architecture a file: `model="NAME(...)"` is built by `build` of `runners/models/NAME.py`.

`build(image_size, labels, ...) -> nn.Module` maps (x_BCHW, t_B, c_BK) to (B, C, H, W): t is a timestep 0 .. T - 1, c a
multi-hot condition, all zeros for "unconditional". It raises ValueError, one sentence that says what to write instead,
before it builds anything. A build that needs T has a parameter `timesteps`; the package supplies it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runners.config import Call, nearest


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


@functools.cache
def measure(model: str, image_size: int, labels: int, timesteps: int) -> Size:
    """The size of a network that is never filled: on the meta device, so it is the same on every machine.

    There attention is two matrix products, which are counted; torch's fused kernel of a CPU counts as nothing.
    ValueError as in `build`.
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
