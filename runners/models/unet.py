"""diffusers' UNet2DModel with a label encoder: the network of three of the reports, at any width.

Shapes: B batch, K = 24 labels, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

ENCODERS = ("linear", "mlp", "embedding")


class LabelUNet(nn.Module):
    """eps, v or x0 of (x_BCHW, t_B, c_BK). A condition of zeros means "unconditional"."""

    def __init__(self, unet: nn.Module, encoder: nn.Module, patch: int) -> None:
        super().__init__()
        self.unet = unet
        self.encoder = encoder
        self.patch = patch

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> torch.Tensor:
        h_BCHW = F.pixel_unshuffle(x_BCHW, self.patch)
        # class_embed_type="identity" adds the encoded labels to the time embedding (Dhariwal & Nichol 2021).
        h_BCHW = self.unet(h_BCHW, t_B, class_labels=self.encoder(c_BK), return_dict=False)[0]
        return F.pixel_shuffle(h_BCHW, self.patch)


def build(
    image_size: int,
    labels: int,
    channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512),
    layers: int = 2,
    attention: tuple[int, ...] = (-2,),
    groups: int = 32,
    encoder: str = "linear",
    patch: int = 1,
) -> LabelUNet:
    """A UNet2DModel over `image_size / patch` pixels.

    `channels` per level; `layers` residual blocks a level; `attention` the levels with self-attention (-2: the
    last but one, as in the reports); `encoder` "linear" (one Linear), "mlp" (two with a SiLU between) or "embedding"
    (one learned vector a label, of unit variance as in torch.nn.Embedding, summed: the condition speaks as loudly as
    the timestep from the first step on, which short trainings need).
    Raises ValueError when the levels do not divide the image or the groups do not divide the channels.
    """
    from diffusers import UNet2DModel  # 2 s to import: only when a network is built

    check(image_size, channels, layers, attention, groups, encoder, patch)
    levels = {level % len(channels) for level in attention}
    down = ["AttnDownBlock2D" if level in levels else "DownBlock2D" for level in range(len(channels))]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    unet: Any = UNet2DModel(  # type: ignore[no-untyped-call]
        sample_size=image_size // patch,
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        layers_per_block=layers,
        block_out_channels=channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        norm_num_groups=groups,
        class_embed_type="identity",
    )
    width = 4 * channels[0]  # width of UNet2DModel's time embedding
    if encoder == "mlp":
        return LabelUNet(unet, nn.Sequential(nn.Linear(labels, 64), nn.SiLU(), nn.Linear(64, width)), patch)
    linear = nn.Linear(labels, width)
    if encoder == "embedding":
        nn.init.normal_(linear.weight)
    return LabelUNet(unet, linear, patch)


def check(
    image_size: int,
    channels: tuple[int, ...] = (128, 128, 256, 256, 512, 512),
    layers: int = 2,
    attention: tuple[int, ...] = (-2,),
    groups: int = 32,
    encoder: str = "linear",
    patch: int = 1,
) -> None:
    """ValueError, before anything is built, for a network that cannot be."""
    if not isinstance(channels, tuple) or not channels or min(channels) < 1 or layers < 1 or patch < 1:
        raise ValueError("unet needs channels=(64, 128, ...), layers of at least 1 and patch of at least 1.")
    stride = patch * 2 ** (len(channels) - 1)
    if image_size % stride:
        raise ValueError(
            f"{len(channels)} levels with patch={patch} need an image_size that {stride} divides, "
            f"not {image_size}: write fewer channels or image_size={max(1, round(image_size / stride)) * stride}."
        )
    if any(width % groups for width in channels):
        raise ValueError(f"groups={groups} must divide every width of channels={channels}.")
    if encoder not in ENCODERS:
        raise ValueError(f"encoder={encoder!r} is unknown: write one of {', '.join(ENCODERS)}.")
    if any(not -len(channels) <= level < len(channels) for level in attention):
        raise ValueError(f"attention={attention} names a level that channels={channels} do not have.")
