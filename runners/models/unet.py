"""diffusers' UNet2DModel with a label encoder: the network of three of the reports, at any width.

Shapes: B batch, K labels, C channels, H W pixels. `check`, `unet2d` and `labelled` also serve the other UNets.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from runners.models import require_positive

ENCODERS = ("linear", "mlp", "embedding")
CHANNELS = (128, 128, 256, 256, 512, 512)  # the reports' network


class LabelUNet(nn.Module):
    """eps, v or x0 of (x_BCHW, t_B, c_BK). A condition of zeros means "unconditional"; without labels there is no
    `encoder`."""

    def __init__(self, unet: nn.Module, encoder: nn.Module | None, patch: int) -> None:
        super().__init__()
        self.unet = unet
        self.encoder = encoder
        self.patch = patch

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> torch.Tensor:
        h_BCHW = F.pixel_unshuffle(x_BCHW, self.patch)
        # class_embed_type="identity" adds the encoded labels to the time embedding (Dhariwal & Nichol 2021).
        vector_BC = None if self.encoder is None else self.encoder(c_BK)
        h_BCHW = self.unet(h_BCHW, t_B, class_labels=vector_BC, return_dict=False)[0]
        return F.pixel_shuffle(h_BCHW, self.patch)


def build(
    image_size: int,
    labels: int,
    channels: tuple[int, ...] = CHANNELS,
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
    return labelled(image_size, labels, channels, layers, attention, groups, encoder, patch, "default")


def labelled(
    image_size: int,
    labels: int,
    channels: tuple[int, ...],
    layers: int,
    attention: tuple[int, ...],
    groups: int,
    encoder: str,
    patch: int,
    time: str,
) -> LabelUNet:
    """The network whose label vector is added to its time embedding, which the residual blocks read as `time`:
    "default" (added to the features) or "scale_shift". ValueError as in `check`.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"encoder={encoder!r} is unknown: write one of {', '.join(ENCODERS)}.")
    unet = unet2d(
        image_size, channels, layers, attention, groups, patch,
        class_embed_type="identity" if labels else None, resnet_time_scale_shift=time,
    )  # fmt: skip
    if not labels:
        return LabelUNet(unet, None, patch)
    width = 4 * channels[0]  # width of UNet2DModel's time embedding
    if encoder == "mlp":
        return LabelUNet(unet, nn.Sequential(nn.Linear(labels, 64), nn.SiLU(), nn.Linear(64, width)), patch)
    linear = nn.Linear(labels, width)
    if encoder == "embedding":
        nn.init.normal_(linear.weight)
        linear.embeds = True  # type: ignore[assignment]  # a lookup written as a product: its weight does not decay
    return LabelUNet(unet, linear, patch)


def unet2d(
    image_size: int,
    channels: tuple[int, ...],
    layers: int,
    attention: tuple[int, ...],
    groups: int,
    patch: int,
    planes: int = 0,
    **options: Any,
) -> nn.Module:
    """A UNet2DModel that maps (B, 3 patch^2 + planes, H / patch, W / patch) to (B, 3 patch^2, H / patch, W / patch).

    `options` go to diffusers. ValueError as in `check`.
    """
    check(image_size, channels, layers, attention, groups, patch)
    from diffusers import UNet2DModel  # 2 s to import: only when a network is built

    down, up = blocks(channels, attention, "Attn")
    unet: nn.Module = UNet2DModel(  # type: ignore[no-untyped-call,assignment]
        sample_size=image_size // patch,
        in_channels=3 * patch**2 + planes,
        out_channels=3 * patch**2,
        layers_per_block=layers,
        block_out_channels=channels,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=groups,
        attn_norm_num_groups=groups,  # else "scale_shift" takes the norm of the middle's attention away
        **options,
    )
    return unet


def blocks(channels: tuple[int, ...], attention: tuple[int, ...], kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """diffusers' names of the blocks down and up, with the prefix `kind` at the levels of `attention`."""
    levels = {level % len(channels) for level in attention}
    down = [f"{kind if level in levels else ''}DownBlock2D" for level in range(len(channels))]
    return tuple(down), tuple(name.replace("Down", "Up") for name in reversed(down))


def check(
    image_size: int, channels: tuple[int, ...], layers: int, attention: tuple[int, ...], groups: int, patch: int
) -> None:
    """ValueError, before anything is built, for levels, widths or groups that do not fit each other or the image."""
    # Eight is the width of one attention head, and the middle always has attention.
    if not isinstance(channels, tuple) or not channels or any(type(c) is not int or c < 8 for c in channels):
        raise ValueError(f"channels={channels!r} must be one width of at least 8 per level: write channels=(64, 128).")
    require_positive(layers=layers, groups=groups, patch=patch)
    stride = patch * 2 ** (len(channels) - 1)
    if image_size % stride:
        raise ValueError(
            f"{len(channels)} levels with patch={patch} need an image_size that {stride} divides, "
            f"not {image_size}: write fewer channels or image_size={max(1, round(image_size / stride)) * stride}."
        )
    if any(width % groups for width in channels):
        raise ValueError(
            f"groups={groups} must divide every width of channels={channels}: write groups={math.gcd(*channels)}."
        )
    if not isinstance(attention, tuple) or any(type(level) is not int for level in attention):
        raise ValueError(f"attention={attention!r} must name levels: write attention=(-1,), or attention=() for none.")
    if any(not -len(channels) <= level < len(channels) for level in attention):
        raise ValueError(
            f"attention={attention} names a level that channels={channels} do not have: "
            f"write levels from {-len(channels)} to {len(channels) - 1}."
        )
