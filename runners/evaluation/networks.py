"""The ResNet-18 that recognises objects in scenes, with the state-dict keys of torchvision's.

Shapes in names: B batch, H height, W width, C channels (RGB), K = 24 labels (8 colours x 3 shapes).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from runners.tasks.iclevr.labels import LABELS


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


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016, table 1) under torchvision's state-dict keys; the head is 24 independent sigmoids.

    `stem` says how much the picture shrinks before the four stages, which halve it three times more:
    "imagenet" 4x (7x7 stride 2, max pool), "half" 2x (3x3 stride 2), "small" not at all (3x3).
    Width 64 with the stem "imagenet" is the official evaluator.
    """

    def __init__(self, width: int = 64, stem: str = "imagenet", classes: int = len(LABELS)) -> None:
        super().__init__()
        if stem not in ("imagenet", "half", "small"):
            raise ValueError(f'stem={stem!r} is unknown: write "imagenet", "half" or "small".')
        kernel, stride = {"imagenet": (7, 2), "half": (3, 2), "small": (3, 1)}[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.fc = nn.Sequential(nn.Linear(8 * width, classes), nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) before the sigmoid, for a loss that is stable in low precision."""
        h_BCHW = self.maxpool(F.relu(self.bn1(self.conv1(x_BCHW))))
        h_BCHW = self.layer4(self.layer3(self.layer2(self.layer1(h_BCHW))))
        y_BK: Tensor = self.fc[0](h_BCHW.mean((2, 3)))
        return y_BK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) probabilities."""
        y_BK: Tensor = self.fc[1](self.logits(x_BCHW))
        return y_BK
