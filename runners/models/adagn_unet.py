"""The UNet with adaptive group norm: time and labels scale and shift the features (Dhariwal & Nichol 2021, sec. 3).

Shapes: B batch, K labels, C channels, H W pixels.
"""

from __future__ import annotations

from runners.models.unet import CHANNELS, LabelUNet, labelled


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
    """As `unet`, argument for argument, but a residual block computes GroupNorm(h) (1 + scale) + shift from the sum of
    time embedding and label vector instead of adding a projection of it. ValueError as there.
    """
    return labelled(image_size, labels, channels, layers, attention, groups, encoder, patch, "scale_shift")
