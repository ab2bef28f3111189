"""The networks that look at images: what each offers, and the ResNet-18 with the state-dict keys of torchvision's.

Shapes in names: B batch, H height, W width, C channels (RGB), D features, K outputs (labels, or classes).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

HEADS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "softmax": lambda: nn.Softmax(dim=1)}


class Unreadable(ValueError):
    """Why the network of a file is not read, as the end of a sentence: "it calls ..."."""


class Network(nn.Module):
    """What scores images: (B, 3, H, W) in [-1, 1] -> (B, K) probabilities. `classes` is K."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def features(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D): what distances between images are taken in."""
        raise NotImplementedError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2; projection shortcut: option B of section 3.3)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_BCHW)))))
        return F.relu(residual + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))


class ResNet18(Network):
    """ResNet-18 (He et al. 2016, table 1) under torchvision's state-dict keys.

    `stem` says how much the picture shrinks before the four stages, which halve it three times more:
    "imagenet" 4x (7x7 stride 2, max pool), "half" 2x (3x3 stride 2), "small" not at all (3x3).
    `head`: "sigmoid", one per label, or "softmax" over classes; it has no weights.
    Width 64 with the stem "imagenet" and 24 sigmoids is i-CLEVR's official evaluator, and what the defaults say.
    """

    def __init__(self, width: int = 64, stem: str = "imagenet", classes: int = 24, head: str = "sigmoid") -> None:
        super().__init__(classes)
        if stem not in ("imagenet", "half", "small"):
            raise ValueError(f'stem={stem!r} is unknown: write "imagenet", "half" or "small".')
        if head not in HEADS:
            raise ValueError(f'head={head!r} is unknown: write "sigmoid" or "softmax".')
        kernel, stride = {"imagenet": (7, 2), "half": (3, 2), "small": (3, 1)}[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.fc = nn.Sequential(nn.Linear(8 * width, classes), HEADS[head]())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015

    def features(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 8 x width): what the head is given, means over the positions."""
        h_BCHW = self.maxpool(F.relu(self.bn1(self.conv1(x_BCHW))))
        h_BCHW = self.layer4(self.layer3(self.layer2(self.layer1(h_BCHW))))
        h_BD: Tensor = h_BCHW.mean((2, 3))
        return h_BD

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) before the head, for a loss that is stable in low precision."""
        y_BK: Tensor = self.fc[0](self.features(x_BCHW))
        return y_BK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) probabilities."""
        y_BK: Tensor = self.fc[1](self.logits(x_BCHW))
        return y_BK
