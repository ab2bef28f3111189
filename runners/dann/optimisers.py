"""Optimisers, by the config's `optimiser="NAME(...)"`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runners.config import Call, nearest

if TYPE_CHECKING:  # a config is checked without torch
    import torch

Groups = list[dict[str, object]]
Builder = Callable[[Groups, float, float], "torch.optim.Optimizer"]


def sgd(momentum: float = 0.0) -> Builder:
    """Stochastic gradient descent; Ganin et al. 2016 take momentum .9."""
    _require_share(momentum=momentum)

    def build(groups: Groups, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)

    return build


def adam(beta1: float = 0.9) -> Builder:
    """Adam (Kingma & Ba 2015); `beta1` is its momentum."""
    _require_share(beta1=beta1)

    def build(groups: Groups, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(groups, lr=lr, betas=(beta1, 0.999), weight_decay=weight_decay)

    return build


OPTIMISERS: dict[str, Callable[..., Builder]] = {"sgd": sgd, "adam": adam}


def find(optimiser: str) -> Builder:
    """Raises ValueError, with what to write instead, for an optimiser that is none."""
    call = Call.parse(optimiser)
    if call.name not in OPTIMISERS:
        raise ValueError(f"Unknown optimiser {call.name!r}{nearest(call.name, OPTIMISERS)}")
    function = OPTIMISERS[call.name]
    return function(**call.bind(function))


def build(
    optimiser: str, groups: Sequence[Sequence[torch.nn.Parameter]], lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser of groups of parameters, whose learning rates are set before each step."""
    return find(optimiser)([{"params": list(group)} for group in groups], lr, weight_decay)


def _require_share(**arguments: object) -> None:
    for name, value in arguments.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise ValueError(f"{name}={value!r} must lie in [0, 1): write 0.9, for example.")
