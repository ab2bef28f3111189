"""What accuracy does not see: copies of training images, and samples that are all alike.

Shapes: N images, M references, D numbers per image; images uint8 (N, H, W, 3). Distances are root mean squares over
pixels and channels on a scale where white minus black is 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from runners.process import heartbeat
from runners.tasks.iclevr.images import Images

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

HELD_OUT = 256  # real images that say how near an image that was not trained on lies to the training set
NEAREST_SHARE = 0.05  # of them that lie nearer than the limit below which a sample counts as memorised
CHUNK = 2048  # reference images at a time: 100 MB at 64x64


def nearest(images_NHWC: Pixels, references_MHWC: Pixels, device: torch.device) -> Floats:
    """Distance of each image to the nearest reference, float64 (N,)."""
    a_ND = _rows(images_NHWC, device)
    best_N = torch.full((len(a_ND),), torch.inf, device=device)
    for start in range(0, len(references_MHWC), CHUNK):
        b_MD = _rows(references_MHWC[start : start + CHUNK], device)
        square_NM = (a_ND**2).sum(1, keepdim=True) - 2 * a_ND @ b_MD.T + (b_MD**2).sum(1)
        best_N = torch.minimum(best_N, square_NM.min(1).values)
        heartbeat.tick()
    distance_N: Floats = (best_N.clamp(min=0) / a_ND.shape[1]).sqrt().double().cpu().numpy()
    return distance_N


def memorisation(images_NHWC: Pixels, real: Images, device: torch.device) -> dict[str, float]:
    """nearest/generated and nearest/held_out: mean distance to the nearest training image; memorised: share of the
    images that lie nearer to one than 95 % of held-out real images do (.05 is what real images have)."""
    training_MHWC = real.images_NHWC[real.train_indices]
    held_out_N = nearest(real.images_NHWC[real.held_out_indices[:HELD_OUT]], training_MHWC, device)
    generated_N = nearest(images_NHWC, training_MHWC, device)
    limit = np.quantile(held_out_N, NEAREST_SHARE)
    return {
        "nearest/generated": float(generated_N.mean()),
        "nearest/held_out": float(held_out_N.mean()),
        "memorised": float((generated_N < limit).mean()),
    }


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
    return torch.from_numpy(np.array(images_NHWC)).to(device).flatten(1).float() / 255
