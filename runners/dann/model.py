"""The network of Ganin et al. 2016: features, a classifier of labels, and one of domains behind gradient reversal.

Shapes: B batch, C channels, H height, W width, D features, K classes; domains are 0 (source) and 1 (target).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from runners.dann import networks
from runners.dann.config import TrialConfig
from runners.seeds import step_seed


class _Reversal(torch.autograd.Function):
    """The identity whose gradient is multiplied by -lambda (Ganin et al. 2016, eq. 16 and 17)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float) -> Tensor:
    """x, through which a gradient comes back multiplied by -strength."""
    reversed_: Tensor = _Reversal.apply(x, strength)  # type: ignore[no-untyped-call]
    return reversed_


class Network(nn.Module):
    """x_BCHW -> logits of K classes; `features`, `label` and `domain` are its three parts."""

    def __init__(self, architecture: networks.Architecture, channels: int, features: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for one in architecture.convolutions:
            layers.append(nn.Conv2d(channels, one.channels, one.kernel))
            if architecture.norm == "batch":
                layers.append(nn.BatchNorm2d(one.channels))
            layers.append(nn.ReLU())
            if one.pool > 1:
                layers.append(nn.MaxPool2d(one.pool, one.stride))
            channels = one.channels
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.label = _head(features, architecture.label, classes)
        self.domain = _head(features, architecture.domain, networks.DOMAINS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK: Tensor = self.label(self.features(x_BCHW))
        return logits_BK

    def features_and_labels(self) -> list[nn.Parameter]:
        """What the label loss trains."""
        return [*self.features.parameters(), *self.label.parameters()]


def _head(width: int, hidden: tuple[int, ...], out: int) -> nn.Sequential:
    """Fully connected layers with ReLU between them."""
    layers: list[nn.Module] = []
    for one in hidden:
        layers += [nn.Linear(width, one), nn.ReLU()]
        width = one
    return nn.Sequential(*layers, nn.Linear(width, out))


def build(config: TrialConfig) -> Network:
    """The network with the initial weights of the training seed: the same for all methods."""
    torch.manual_seed(step_seed("weights", config.seed))
    channels, classes = config.channel_count, config.task.classes
    size = networks.measure(config.network, config.image_size, channels, classes)
    network = Network(networks.find(config.network), channels, size.features, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == size.parameters
    return network
