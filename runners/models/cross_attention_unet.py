"""The UNet that attends to one token an object (Rombach et al. 2022, sec. 3.3), as diffusers' UNet2DConditionModel.

Shapes: B batch, K labels, L = 1 + K tokens, D token width, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from runners.models import require_positive
from runners.models.unet import CHANNELS, blocks, check


class CrossAttentionUNet(nn.Module):
    """eps, v or x0 of (x_BCHW, t_B, c_BK). The tokens of absent labels are masked, the null token never is: a condition
    of zeros attends to the null token alone and means "unconditional".
    """

    def __init__(self, unet: nn.Module, labels: int, token_width: int, patch: int) -> None:
        super().__init__()
        self.unet = unet
        self.tokens_LD = nn.Parameter(torch.randn(1 + labels, token_width))  # row 0 is the null token
        self.patch = patch

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> torch.Tensor:
        h_BCHW = F.pixel_unshuffle(x_BCHW, self.patch)
        present_BL = F.pad(c_BK, (1, 0), value=1.0)
        h_BCHW = self.unet(
            h_BCHW,
            t_B,
            encoder_hidden_states=self.tokens_LD.expand(len(x_BCHW), -1, -1),
            encoder_attention_mask=present_BL,  # 0 becomes a score of -10,000: a weight of exactly 0, in bf16 too
            return_dict=False,
        )[0]
        return F.pixel_shuffle(h_BCHW, self.patch)


def build(
    image_size: int,
    labels: int,
    channels: tuple[int, ...] = CHANNELS,
    layers: int = 2,
    attention: tuple[int, ...] = (-4, -3, -2),
    groups: int = 32,
    token_width: int = 128,
    head_width: int = 32,
    patch: int = 1,
) -> CrossAttentionUNet:
    """A UNet2DConditionModel over `image_size / patch` pixels.

    `channels` per level; `layers` residual blocks a level, each followed by a transformer block (self-attention,
    cross-attention, feed-forward) at the levels of `attention` and in the middle; `head_width` of each attention head.
    ValueError as in `unet`, and when `head_width` does not divide the width of a level with attention.
    """
    check(image_size, channels, layers, attention, groups, patch)
    require_positive(token_width=token_width, head_width=head_width)
    attended = [channels[level] for level in (*attention, -1)]  # the middle has the width of the last level
    if any(width % head_width for width in attended):
        raise ValueError(
            f"head_width={head_width} must divide the widths with attention, {', '.join(map(str, attended))}: "
            f"write head_width={min(attended)} or another divisor of them all."
        )
    from diffusers import UNet2DConditionModel  # 2 s to import: only when a network is built

    down, up = blocks(channels, attention, "CrossAttn")
    unet: Any = UNet2DConditionModel(  # type: ignore[no-untyped-call]
        sample_size=image_size // patch,
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        layers_per_block=layers,
        block_out_channels=channels,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=groups,
        cross_attention_dim=token_width,
        # Of this class alone, "attention_head_dim" is the NUMBER of heads (diffusers issue 2011), one a level.
        attention_head_dim=tuple(max(1, width // head_width) for width in channels),
    )
    return CrossAttentionUNet(unet, labels, token_width, patch)
