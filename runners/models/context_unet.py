"""The "ContextUnet" of minimal diffusion (Pearce 2022, Conditional_Diffusion_MNIST), at any depth.

Shapes: B batch, K labels, C channels, H W pixels; N = `features` channels at the full size, N 2^(i-1) at level i.
The original multiplies the condition by -(1 - mask), which feeds -c; here the condition comes already dropped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from runners.models import require_positive

GROUPS = 8  # of every GroupNorm of the original
ENCODERS = ("linear", "embedding")
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda width: nn.GroupNorm(GROUPS, width),
}


class ConvBlock(nn.Module):
    """Twice Conv3x3-norm-GELU: (B, inputs, H, W) -> (B, outputs, H, W); with `residual` (h1 + h2) / 1.414."""

    def __init__(self, inputs: int, outputs: int, norm: str, residual: bool = False) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), NORMS[norm](outputs), nn.GELU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1), NORMS[norm](outputs), nn.GELU())
        self.residual = residual

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        h_BCHW: torch.Tensor = self.first(x_BCHW)
        out_BCHW: torch.Tensor = self.second(h_BCHW)
        return (h_BCHW + out_BCHW) / 1.414 if self.residual else out_BCHW


class ContextUNet(nn.Module):
    """eps, v or x0 of (x_BCHW, t_B, c_BK). A condition of zeros means "unconditional"."""

    def __init__(
        self,
        image_size: int,
        labels: int,
        timesteps: int,
        features: int,
        levels: int,
        encoder: str,
        norm: str,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.timesteps, self.patch = timesteps, patch
        widths = [features * 2**level for level in range(levels)]
        self.start = ConvBlock(3 * patch**2, features, norm, residual=True)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(inputs, outputs, norm), nn.MaxPool2d(2))
            for inputs, outputs in zip([features, *widths], widths, strict=False)
        )
        bottom, widest = image_size // (patch * 2**levels), widths[-1]
        self.to_vector = nn.Sequential(nn.AvgPool2d(bottom), nn.GELU())
        self.from_vector = nn.Sequential(
            nn.ConvTranspose2d(widest, widest, bottom, bottom), nn.GroupNorm(GROUPS, widest), nn.ReLU()
        )
        # From the deepest level to the first, as the forward pass meets them.
        widths.reverse()
        self.labels = nn.ModuleList(embed(labels, width) if labels else Unlabelled() for width in widths)
        if encoder == "embedding":
            for name, layer in self.labels.named_modules():
                if name.endswith(".0") and isinstance(layer, nn.Linear):  # the first layer of each
                    nn.init.normal_(layer.weight)
                    layer.embeds = True  # type: ignore[assignment]  # its weight does not decay
        self.time = nn.ModuleList(TimeEmbedding(width) for width in widths)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(2 * width, outputs, 2, 2),
                ConvBlock(outputs, outputs, norm),
                ConvBlock(outputs, outputs, norm),
            )
            for width, outputs in zip(widths, [*widths[1:], features], strict=True)
        )
        self.head = nn.Sequential(
            nn.Conv2d(2 * features, features, 3, padding=1),
            nn.GroupNorm(GROUPS, features),
            nn.ReLU(),
            nn.Conv2d(features, 3 * patch**2, 3, padding=1),
        )

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> torch.Tensor:
        t_B1 = ((t_B + 1) / self.timesteps)[:, None]
        start_BCHW = self.start(F.pixel_unshuffle(x_BCHW, self.patch))
        skips = [start_BCHW]
        for down in self.down:
            skips.append(down(skips[-1]))
        h_BCHW = self.from_vector(self.to_vector(skips[-1]))
        for labels, time, up, skip_BCHW in zip(self.labels, self.time, self.up, reversed(skips), strict=False):
            time_BC = time(t_B1).to(h_BCHW.dtype)
            h_BCHW = labels(c_BK)[:, :, None, None] * h_BCHW + time_BC[:, :, None, None]
            h_BCHW = up(torch.cat([h_BCHW, skip_BCHW], dim=1))
        out_BCHW: torch.Tensor = self.head(torch.cat([h_BCHW, start_BCHW], dim=1))
        return F.pixel_shuffle(out_BCHW, self.patch)


class Unlabelled(nn.Module):
    """The factor of no labels: (B, 0) -> (B, 1) of ones."""

    def forward(self, c_BK: torch.Tensor) -> torch.Tensor:
        return c_BK.new_ones(len(c_BK), 1)


class TimeEmbedding(nn.Module):
    """(B, 1) -> (B, width) in float32, at any precision of the network: bf16 has 506 values for 1,000 timesteps."""

    in_fp32 = True  # `precision.working` leaves its weights as they are

    def __init__(self, width: int) -> None:
        super().__init__()
        for index, layer in enumerate(embed(1, width)):
            self.add_module(str(index), layer)  # the names that checkpoints have

    def forward(self, t_B1: torch.Tensor) -> torch.Tensor:
        counted = t_B1.device.type == "meta"  # where FLOP are counted; autocast knows no such device
        with torch.autocast("cpu" if counted else t_B1.device.type, enabled=False):
            embedded_BC = t_B1.float()
            for layer in self.children():
                embedded_BC = layer(embedded_BC)
        return embedded_BC


def embed(inputs: int, width: int) -> nn.Sequential:
    """The original's EmbedFC: (B, inputs) -> (B, width)."""
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


def build(
    image_size: int,
    labels: int,
    timesteps: int,
    features: int = 64,
    levels: int = 3,
    encoder: str = "linear",
    norm: str = "batch",
    patch: int = 1,
) -> ContextUNet:
    """`features` channels at the full size, doubled from the second level on; `levels` halvings of the image, then one
    average over what is left. Two levels are the original for 28 pixels, three one report's for 64. `encoder`
    "linear" starts the labels' first layer as the original does, "embedding" with unit variance, as in `unet`. `norm`
    "batch" is the original's: its statistics mix the noise levels of a batch, and a short training learns to ignore
    its condition; "group" is each image's own. `patch`: squares of so many pixels per side are the channels of one, as
    in `unet`.
    Raises ValueError when patch x 2^levels does not divide the image or 8 does not divide the features.
    """
    require_positive(features=features, levels=levels, patch=patch)
    for name, value, known in (("encoder", encoder, ENCODERS), ("norm", norm, NORMS)):
        if value not in known:
            raise ValueError(f"{name}={value!r} is unknown: write one of {', '.join(known)}.")
    if features % GROUPS:
        raise ValueError(
            f"features={features} must be a multiple of {GROUPS}: write features={-(-features // GROUPS) * GROUPS}."
        )
    if image_size % (stride := patch * 2**levels):
        side = 0 if image_size % patch else image_size // patch
        deepest = (side & -side).bit_length() - 1  # the greatest power of two that divides the side
        smaller = " or patch" if patch > 1 else ""
        instead = f"levels={deepest} or another image_size" if deepest > 0 else f"another image_size{smaller}"
        raise ValueError(
            f"levels={levels} need an image_size that {stride} divides, not {image_size}: write {instead}."
        )
    return ContextUNet(image_size, labels, timesteps, features, levels, encoder, norm, patch)
