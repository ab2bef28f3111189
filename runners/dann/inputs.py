"""From pictures to what a network is given: grey or RGB, in [0, 1] or standardised.

Shapes: N images, B batch, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runners.contents import Pixels
from runners.dann.config import TrialConfig

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, of red, green and blue
AT_ONCE = 1024  # images whose mean is taken at a time


@dataclass(frozen=True)
class Scaling:
    """`mean` and `deviation`: float32 (C,), 0 and 1 for raw inputs."""

    grey: bool
    mean_C: NDArray[np.float32]
    deviation_C: NDArray[np.float32]
    device: torch.device

    def apply(self, images_BHWC: Pixels) -> Tensor:
        """uint8 (B, H, W, 3) -> float (B, C, H, W)."""
        x_BHWC = channels(torch.from_numpy(np.array(images_BHWC)).to(self.device), self.grey)
        mean_C, deviation_C = (torch.from_numpy(one).to(self.device) for one in (self.mean_C, self.deviation_C))
        return ((x_BHWC - mean_C) / deviation_C).permute(0, 3, 1, 2).contiguous()


def channels(images_BHWC: Tensor, grey: bool) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, H, W, C) in [0, 1]: RGB, or luminance."""
    x_BHWC = images_BHWC.float() / 255
    return (x_BHWC * x_BHWC.new_tensor(LUMINANCE)).sum(-1, keepdim=True) if grey else x_BHWC


def scaling(config: TrialConfig, labelled_NHWC: Pixels, device: torch.device) -> Scaling:
    """One scaling for both domains, from the labelled training images alone: a training on the source knows nothing of
    the target."""
    grey, count = config.channels == "grey", config.channel_count
    if not config.standardise:
        return Scaling(grey, np.zeros(count, np.float32), np.ones(count, np.float32), device)
    sums_2C, pixels = np.zeros((2, count)), 0
    for start in range(0, len(labelled_NHWC), AT_ONCE):
        piece = torch.from_numpy(np.array(labelled_NHWC[start : start + AT_ONCE]))
        x_MC = channels(piece, grey).reshape(-1, count).double()
        sums_2C += torch.stack([x_MC.sum(0), (x_MC**2).sum(0)]).numpy()
        pixels += len(x_MC)
    mean_C, square_C = sums_2C / pixels
    deviation_C = np.sqrt(np.maximum(square_C - mean_C**2, 1e-8))
    return Scaling(grey, mean_C.astype(np.float32), deviation_C.astype(np.float32), device)
