"""The network of Ganin et al. 2016: features, a classifier of labels, and one of domains behind gradient reversal.

Shapes: B batch, C channels, H height, W width, D features, K classes; domains are 0 (source) and 1 (target).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runners.dann import networks
from runners.dann.config import TrialConfig
from runners.seeds import step_seed

SOURCE, TARGET = 0, 1


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


class Norm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) with one scale and offset, and the statistics of each of its `domains`: with
    two of them, images of a domain are normalised among themselves (Li et al. 2017, "Revisiting batch normalization for
    practical domain adaptation")."""

    def __init__(self, channels: int, domains: int) -> None:
        super().__init__()
        self.domains, self.domain = domains, SOURCE
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        for number in range(domains):
            self.register_buffer(f"mean_{number}", torch.zeros(channels))
            self.register_buffer(f"variance_{number}", torch.ones(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean_C, variance_C = self.get_buffer(f"mean_{self.domain}"), self.get_buffer(f"variance_{self.domain}")
        return F.batch_norm(x_BCHW, mean_C, variance_C, self.weight, self.bias, self.training)


class Network(nn.Module):
    """x_BCHW -> logits of K classes; `features`, `label` and `domain` are its three parts."""

    def __init__(self, architecture: networks.Architecture, size: networks.Size, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for one in architecture.convolutions:
            layers.append(nn.Conv2d(channels, one.channels, one.kernel, padding=one.padding))
            if architecture.norm != "none":
                layers.append(Norm(one.channels, 2 if architecture.norm == "domain" else 1))
            layers.append(nn.ReLU())
            if one.pool > 1:
                layers.append(nn.MaxPool2d(one.pool, one.stride))
            channels = one.channels
        layers.append(nn.Flatten())
        if architecture.bottleneck:
            layers.append(nn.Linear(size.flat, architecture.bottleneck))
            if architecture.norm != "none":
                layers.append(Norm(architecture.bottleneck, 2 if architecture.norm == "domain" else 1))
            layers.append(nn.ReLU())
        self.extractor = nn.Sequential(*layers)
        self.norms = [layer for layer in layers if isinstance(layer, Norm)]
        self.label = _head(size.features, architecture.label, classes)
        self.domain = _head(size.features, architecture.domain, networks.DOMAINS)

    @property
    def separates(self) -> bool:
        """Whether images of the two domains are normalised apart, and so must not be in one batch."""
        return any(norm.domains > 1 for norm in self.norms)

    def features(self, x_BCHW: Tensor, domain: int = SOURCE) -> Tensor:
        """(B, D); `domain` says whose statistics a norm of each domain's own takes."""
        for norm in self.norms:
            norm.domain = min(domain, norm.domains - 1)
        features_BD: Tensor = self.extractor(x_BCHW)
        return features_BD

    def forward(self, x_BCHW: Tensor, domain: int = SOURCE) -> Tensor:
        logits_BK: Tensor = self.label(self.features(x_BCHW, domain))
        return logits_BK

    def features_and_labels(self) -> list[nn.Parameter]:
        """What the label loss trains."""
        return [*self.extractor.parameters(), *self.label.parameters()]


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
    network = Network(networks.find(config.network), size, channels, classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == size.parameters
    return network
