"""A batch's pass through the network, forth and back: whole, or in parts where memory ran out.

Shapes: B images of a batch, K labels, C H W image. Every random number of a step is drawn before, and the gradients of
the parts are added, so that they are those of the batch up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from runners.ddpm import precision
from runners.ddpm.config import TrialConfig
from runners.ddpm.diffusion import add_noise, at, target
from runners.process import device as devices
from runners.process import memory

FIRST_WAIT = 100  # steps in parts before the whole batch is tried again, and twice as many after each time


class Passing(Protocol):
    """What a pass needs of a training."""

    config: TrialConfig
    device: torch.device
    network: nn.Module
    compute: Any  # the network, compiled where that is wanted
    whole: Callable[..., tuple[torch.Tensor, ...]]  # `whole_batch`, recorded where that is wanted
    parts: Parts
    alpha_bar_T: torch.Tensor
    weight_T: torch.Tensor
    arithmetic: str

    def renew_whole(self) -> None:
        """Make `whole` one that has recorded nothing."""


class Parts:
    """How many images go through the network at once where memory ran out (`size`; 0: the whole batch).

    Memory may be there again, when another process has ended, say: after `left` more steps the whole batch is tried
    again. Each try that fails costs about a step, and doubles the `wait` until the next. `steps` went in parts, of
    `smallest` images at the least.
    """

    def __init__(self) -> None:
        self.size, self.left, self.wait = 0, 0, FIRST_WAIT
        self.steps, self.smallest = 0, 0

    @property
    def lasting(self) -> bool:
        """Whether the whole batch was tried again in vain."""
        return self.wait > 2 * FIRST_WAIT

    def next(self, batch: int) -> int:
        """The size that the next step begins with."""
        return self.size if self.size and self.left else batch

    def happened(self, tried: int, fitted: int, batch: int) -> None:
        """A step that began with `tried` images at once was done with `fitted`."""
        if fitted == batch:
            self.size = self.left = 0
            return
        if tried == batch:
            self.left, self.wait = self.wait, 2 * self.wait
        self.size, self.left, self.steps = fitted, self.left - 1, self.steps + 1
        self.smallest = min(fitted, self.smallest or fitted)

    def treatment(self) -> dict[str, int]:
        return {"micro_batch": self.smallest, "steps_in_parts": self.steps} if self.steps else {}

    def state_dict(self) -> dict[str, int]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Also the one number of an older version: the size, which it kept to its end."""
        vars(self).update({name: int(value) for name, value in state.items()})
        self.smallest = self.smallest or self.size


def through(
    training: Passing, x0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make the gradients of a batch; returns its weighted loss (), and the error of the network's target in each (B,).

    Graph and compiled network are those of the whole batch. Parts are launched kernel by kernel, which costs little
    where a batch fills the memory; they are compiled once the lack of memory has proved lasting.
    """
    batch, parts = len(x0_BCHW), training.parts

    def attempt(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        if size == batch:
            loss, error_B = training.whole(x0_BCHW, eps_BCHW, t_B, c_BK)
            return loss, error_B
        # Its graph takes memory, and writes gradients where the parameters will look for them no longer.
        training.renew_whole()
        training.network.zero_grad(set_to_none=True)  # of a try that ran out of memory
        slices = [slice(start, start + size) for start in range(0, batch, size)]
        pairs = [
            _gradients(training, x0_BCHW[part], eps_BCHW[part], t_B[part], c_BK[part], batch, size) for part in slices
        ]
        losses, errors = zip(*pairs, strict=True)
        return torch.stack(losses).sum(), torch.cat(errors)

    tried = parts.next(batch)
    found, fitted = memory.halving(attempt, tried, training.device)
    parts.happened(tried, fitted, batch)
    return found


def whole_batch(
    training: Passing, x0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`_gradients` of a whole batch, alone. Everything that changes from step to step is an argument."""
    # Gone, not zeroed: a recorded step then writes them anew each time it is replayed.
    training.network.zero_grad(set_to_none=True)
    return _gradients(training, x0_BCHW, eps_BCHW, t_B, c_BK, len(x0_BCHW), len(x0_BCHW))


def _gradients(
    training: Passing,
    x0_BCHW: torch.Tensor,
    eps_BCHW: torch.Tensor,
    t_B: torch.Tensor,
    c_BK: torch.Tensor,
    batch: int,
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of B images of a batch of `batch`, which goes through in parts of `size`; returns their share
    of its weighted loss, and the error of the network's target in each (B,)."""
    config = training.config
    ab_B111 = at(training.alpha_bar_T, t_B)
    xt_BCHW = add_noise(x0_BCHW, eps_BCHW, ab_B111)
    # Each size is compiled anew, which takes minutes: parts only where they last, what is left of a batch never.
    compiled = len(x0_BCHW) == size and (size == batch or training.parts.lasting)
    network = training.compute if compiled else training.network
    with precision.arithmetic(config.precision):
        training.arithmetic = devices.arithmetic()
        output = precision.forward(network, config.precision, xt_BCHW, t_B, c_BK)
        error_B = (output - target(config.prediction, x0_BCHW, eps_BCHW, ab_B111)).square().mean((1, 2, 3))
        loss = (training.weight_T[t_B] * error_B).mean() * (len(x0_BCHW) / batch)
        loss.backward()
    return loss.detach(), error_B.detach()
