"""The UNet that reads each label as a constant input plane: conditioning by concatenation (Ho et al. 2022, cascades).

Shapes: B batch, K labels, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from runners.models.unet import CHANNELS, unet2d


class ConcatUNet(nn.Module):
    """eps, v or x0 of (x_BCHW, t_B, c_BK). A condition of zeros, K planes of zeros, means "unconditional"."""

    def __init__(self, unet: nn.Module, patch: int) -> None:
        super().__init__()
        self.unet = unet
        self.patch = patch

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> torch.Tensor:
        h_BCHW = F.pixel_unshuffle(x_BCHW, self.patch)
        c_BKHW = c_BK[:, :, None, None].expand(-1, -1, *h_BCHW.shape[2:])
        h_BCHW = self.unet(torch.cat([h_BCHW, c_BKHW.to(h_BCHW.dtype)], dim=1), t_B, return_dict=False)[0]
        return F.pixel_shuffle(h_BCHW, self.patch)


def build(
    image_size: int,
    labels: int,
    channels: tuple[int, ...] = CHANNELS,
    layers: int = 2,
    attention: tuple[int, ...] = (-2,),
    groups: int = 32,
    patch: int = 1,
) -> ConcatUNet:
    """As `unet`, argument for argument, without an encoder: nothing but the first convolution sees the labels.
    ValueError as there.
    """
    return ConcatUNet(unet2d(image_size, channels, layers, attention, groups, patch, planes=labels), patch)
