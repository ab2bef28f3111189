"""What accuracy does not see: copies of training images, and samples that are all alike.

Shapes: N images, M references, D numbers per image; images uint8 (N, H, W, 3). Distances are root mean squares over
pixels and channels on a scale where white minus black is 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from runners.evaluation import copies
from runners.images import Images
from runners.prepared import release
from runners.process import heartbeat

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Indices = NDArray[np.int64]

CHUNK = 2048  # reference images at a time: 100 MB at 64x64


def nearest(images_NHWC: Pixels, references_MHWC: Pixels, rows_M: Indices, device: torch.device) -> Floats:
    """Distance of each image to the nearest one of the references' rows, float64 (N,). They are read in chunks: a
    memory map stays on the disk."""
    a_ND = _rows(images_NHWC, device)
    best_N = torch.full((len(a_ND),), torch.inf, device=device)
    for start in range(0, len(rows_M), CHUNK):
        b_MD = _rows(references_MHWC[rows_M[start : start + CHUNK]], device)
        square_NM = (a_ND**2).sum(1, keepdim=True) - 2 * a_ND @ b_MD.T + (b_MD**2).sum(1)
        best_N = torch.minimum(best_N, square_NM.min(1).values)
        release(references_MHWC)
        heartbeat.tick()
    distance_N: Floats = (best_N.clamp(min=0) / a_ND.shape[1]).sqrt().double().cpu().numpy()
    return distance_N


def held_out_distances(real: Images, group_N: Counts, device: torch.device) -> dict[int, Floats]:
    """Group -> distances of the first 256 held-out real images of it to the nearest training image.

    `group_N`: of each held-out image, any number that samples have too. An image of one object on the ground that all
    share lies nearer to any other than an image of three: real images are compared with samples of as many objects.
    """
    return {
        group: nearest(real.images_NHWC[real.held_out_indices[some]], real.images_NHWC, real.train_indices, device)
        for group, some in copies.held_out_rows(group_N).items()
    }


def memorisation(
    images_NHWC: Pixels, group_N: Counts, real: Images, held_out: Mapping[int, Floats], device: torch.device
) -> dict[str, float]:
    """How near samples, each of a group, lie to the training images (`copies.memorisation`).

    `held_out`: the `held_out_distances` of the same images.
    """
    return copies.memorisation(nearest(images_NHWC, real.images_NHWC, real.train_indices, device), group_N, held_out)


def diversity(images_SNHWC: Pixels) -> float:
    """Mean distance over all pairs of the S draws of a condition, averaged over the N conditions."""
    rows_SND = images_SNHWC.reshape(*images_SNHWC.shape[:2], -1) / 255.0
    distances = [
        np.sqrt(((rows_SND[i] - rows_SND[j]) ** 2).mean(-1))
        for i in range(len(rows_SND))
        for j in range(i + 1, len(rows_SND))
    ]
    return float(np.mean(distances))


def _rows(images_NHWC: Pixels, device: torch.device) -> torch.Tensor:
    """float32 (N, D) in [0, 1]."""
    # In place: at 64x64 a chunk's copy would take another 100 MB.
    return torch.from_numpy(np.array(images_NHWC)).to(device).flatten(1).float().div_(255)
