"""Architectures as plain data: built by `runners.dann.model`, counted here. Standard library only.

A network is a feature extractor (convolutions, each with ReLU and pooling) with two heads of fully connected layers on
its flattened output: one names the class, the other the domain, behind the reversal of the gradient.
`network="NAME(...)"` is the function NAME of ARCHITECTURES.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

from runners.config import Call, nearest

NORMS = ("none", "batch", "domain")
DOMAINS = 2


@dataclass(frozen=True)
class Convolution:
    """Kernel x kernel, stride 1, `channels` out, zeros around; then max-pooling over `pool` x `pool` with `stride`."""

    channels: int
    kernel: int
    pool: int = 1
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Architecture:
    """`label`, `domain`: widths of the hidden layers of the two heads; `norm`: after each convolution none, batch
    norm (of both domains together), or batch norm of each domain's own; `bottleneck`: width of a fully connected layer
    at the end of the extractor, 0 for none."""

    convolutions: tuple[Convolution, ...]
    label: tuple[int, ...]
    domain: tuple[int, ...]
    norm: str = "none"
    bottleneck: int = 0


@dataclass(frozen=True)
class Size:
    """Parameters of the whole network; floating-point operations (2 x multiply-adds) of one image's pass through the
    features and each head; `features`: length of the extractor's output;
    `flat`: of what its convolutions leave, which the bottleneck is given."""

    parameters: int
    features_flop: float
    label_flop: float
    domain_flop: float
    features: int
    flat: int


def cnn(width: int = 32, norm: str = "none", bottleneck: int = 0) -> Architecture:
    """Ganin et al. 2016, figure 4 a, the network for MNIST -> MNIST-M: 32 and 48 channels."""
    convolutions = Convolution(width, 5, 2, 2), Convolution(width * 3 // 2, 5, 2, 2)
    return Architecture(convolutions, (100, 100), (100,), norm, bottleneck)


def svhn_cnn(width: int = 64, norm: str = "none") -> Architecture:
    """Ganin et al. 2016, figure 4 b, the network for synthetic numbers -> SVHN and SVHN -> MNIST. The
    figure says nothing of the edges: with zeros around, all three convolutions fit 28 and 32 pixels."""
    return Architecture(
        (Convolution(width, 5, 3, 2, 2), Convolution(width, 5, 3, 2, 2), Convolution(2 * width, 5, padding=2)),
        (3072, 2048),
        (1024, 1024),
        norm,
    )


ARCHITECTURES = {"cnn": cnn, "svhn_cnn": svhn_cnn}


@functools.cache
def find(network: str) -> Architecture:
    """The architecture of a config's `network`. Raises ValueError, with what to write instead, for one that is none."""
    call = Call.parse(network)
    if call.name not in ARCHITECTURES:
        raise ValueError(f"Unknown network {call.name!r}{nearest(call.name, ARCHITECTURES)}")
    function = ARCHITECTURES[call.name]
    arguments = call.bind(function)
    width, norm, bottleneck = (arguments.get(*pair) for pair in (("width", 8), ("norm", "none"), ("bottleneck", 0)))
    if type(width) is not int or width < 2:
        raise ValueError(f"width={width!r} of {network!r} must be a whole number of at least 2.")
    if type(bottleneck) is not int or bottleneck < 0:
        raise ValueError(f"bottleneck={bottleneck!r} of {network!r} must be a whole number, 0 for none.")
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r} of {network!r} is unknown: write 'none', 'batch' or 'domain'.")
    return function(**arguments)


@functools.cache
def measure(network: str, image_size: int, channels: int, classes: int) -> Size:
    """The size of a network. Raises ValueError as `find` does, and for pictures that are too small for it."""
    found = find(network)
    parameters, flop, side, depth = 0, 0.0, image_size, channels
    for one in found.convolutions:
        side += 2 * one.padding - one.kernel + 1
        weights = one.kernel**2 * depth * one.channels
        parameters += weights + one.channels + (2 * one.channels if found.norm != "none" else 0)
        flop += 2.0 * weights * max(0, side) ** 2
        side, depth = (side - one.pool) // one.stride + 1, one.channels
        if side < 1:
            raise ValueError(f"image_size={image_size} is too small for network={network!r}: write 28 or 32.")
    features = flat = side**2 * depth
    if found.bottleneck:
        weights, features = flat * found.bottleneck, found.bottleneck
        parameters += weights + features + (2 * features if found.norm != "none" else 0)
        flop += 2.0 * weights
    heads = [_head(features, widths, out) for widths, out in ((found.label, classes), (found.domain, DOMAINS))]
    return Size(parameters + sum(count for count, _ in heads), flop, heads[0][1], heads[1][1], features, flat)


def _head(features: int, widths: tuple[int, ...], out: int) -> tuple[int, float]:
    """Parameters and FLOP of fully connected layers."""
    sides = (features, *widths, out)
    weights = sum(a * b for a, b in itertools.pairwise(sides))
    return weights + sum(sides[1:]), 2.0 * weights
