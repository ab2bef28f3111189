"""What a network learns from images without labels: by how many quarter turns they were turned.

Shapes in names: B batch, N images, H = W height and width, C channels (RGB).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TURNS = 4  # classes: 0, 90, 180 and 270 degrees


def rotations(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """All four rotations of each square image, (4 B, C, H, W) in the memory format of the images, and their numbers of
    quarter turns counterclockwise, int64 (4 B,): the upright images come first.

    The copies of an image stand in one batch, as in Gidaris et al. 2018, where that learns better than one turn at
    random. Whatever else is done to an image comes before: mirrored after a quarter turn, it would look like a
    mirrored one after three.
    """
    assert x_BCHW.shape[2] == x_BCHW.shape[3], "a turned picture has another shape"
    turned = torch.cat([torch.rot90(x_BCHW, turns, (2, 3)) for turns in range(TURNS)])
    if x_BCHW.is_contiguous(memory_format=torch.channels_last):
        turned = turned.contiguous(memory_format=torch.channels_last)
    return turned, torch.arange(TURNS, device=x_BCHW.device).repeat_interleave(len(x_BCHW))


def rotated(images_NHWC: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """`rotations` of images in memory, uint8 (4 N, H, W, C), and the turns one-hot, bool (4 N, 4)."""
    turned = np.concatenate([np.rot90(images_NHWC, turns, (1, 2)) for turns in range(TURNS)])
    return turned, np.repeat(np.eye(TURNS, dtype=bool), len(images_NHWC), axis=0)
