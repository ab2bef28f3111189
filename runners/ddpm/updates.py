"""What follows the gradients of a step: the optimiser and the weight average, and what they need of the memory."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from runners.ddpm import precision
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import learning_rate
from runners.process import memory

INSTEAD = "which is not there: write --per-device 1, or a smaller model"  # how a sentence on lack of memory ends


class Updated(Protocol):
    """What an update needs of a training."""

    config: TrialConfig
    device: torch.device
    model: nn.Module
    masters: precision.Masters
    optimizer: torch.optim.AdamW
    ema: Any  # diffusers' EMAModel
    images: int

    def average(self, batch: int) -> None:
        """One step of the weight average."""


def decay_groups(model: nn.Module, on: str) -> list[dict[str, Any]]:
    """The parameters as the optimiser's groups. "all" decay, or "matrices" alone: the weights of linear layers and of
    convolutions. Norms and biases have a scale of their own, and a decayed embedding forgets the labels that a batch
    lacks (as in Karpathy's nanoGPT)."""
    if on == "all":
        return [{"params": list(model.parameters())}]
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    decayed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, kinds) and not getattr(module, "embeds", False)
    }
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[id(parameter) in decayed].append(parameter)
    return [{"params": groups[True]}, {"params": groups[False], "weight_decay": 0.0}]


def take_memory(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """The moments of every parameter, as the first step would make them: so a batch that does not fit beside them goes
    through in parts, and no step is half done when memory runs out. Raises what lack of memory raises, with a note."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def zeros() -> None:
        for parameter in parameters:
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}

    with memory.blamed(lambda: f"the optimiser needs {_size(parameters, 2)}, {INSTEAD}"):
        memory.twice(zeros, device)


def update(training: Updated, batch: int) -> torch.Tensor:
    """Clip the gradients that are there, step, average; returns the gradient norm before the clipping.

    Raises what lack of memory raises, with a note on what lacked it: fewer images at once would not help.
    """
    config, parameters = training.config, list(training.model.parameters())
    with memory.blamed(lambda: f"the gradients need {_size(parameters, 1)}, {INSTEAD}"):
        training.masters.take_gradients()
        norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    for group in training.optimizer.param_groups:
        group["lr"] = learning_rate(config, training.images)
    # It allocates nothing of the size of the weights; stopped in the middle it could not be made again.
    with memory.blamed(lambda: f"the optimiser's step needs memory beside {_size(parameters, 2)}, {INSTEAD}"):
        training.optimizer.step()
        training.masters.give_weights()
    averaged = training.ema.optimization_step

    def uncounted() -> None:
        training.ema.optimization_step = averaged  # EMAModel counts the step, asks for memory, and averages last

    with memory.blamed(lambda: f"each step of the weight average needs {_size(parameters, 1)}, {INSTEAD}"):
        memory.twice(partial(training.average, batch), training.device, uncounted)
    return norm


def _size(parameters: list[nn.Parameter], copies: int) -> str:
    """`2 x 113.7 M numbers (910 MB)`, of that many copies of fp32 weights."""
    count = sum(parameter.numel() for parameter in parameters)
    return f"{copies} x {count / 1e6:.1f} M numbers ({4 * copies * count / 1e6:,.0f} MB)"
