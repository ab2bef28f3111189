"""What accuracy does not see: copies of training images, and samples that are all alike.

Shapes: N images, M references, D numbers per image; images uint8 (N, H, W, 3). Distances are root mean squares over
pixels and channels on a scale where white minus black is 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from runners.images import Images
from runners.process import heartbeat

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# Real images of one number of objects that say how near an image that was not trained on lies to the training set.
HELD_OUT = 256
NEAREST_SHARE = 0.05  # of real images that lie nearer than the limit below which a sample counts as memorised
FEWEST = 19  # of them that make a limit: of m, a further one is the nearest with probability 1 / (m + 1)
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


def held_out_distances(real: Images, device: torch.device) -> dict[int, Floats]:
    """Number of objects -> distances of the first 256 held-out real images with as many to the nearest training image.

    An image of one object on the ground that all share lies nearer to any other than an image of three: real images
    are compared with samples of as many objects.
    """
    training_MHWC = real.images_NHWC[real.train_indices]
    objects_N = real.labels_NK[real.held_out_indices].sum(1)
    of_count = {int(count): real.held_out_indices[objects_N == count][:HELD_OUT] for count in np.unique(objects_N)}
    return {count: nearest(real.images_NHWC[rows], training_MHWC, device) for count, rows in of_count.items()}


def limit(held_out_N: Floats) -> float:
    """The distance below which 5 % of further real images are expected: their own quantile at rank .05 (N + 1)
    (Weibull 1939), since numpy's default lies too far inside for so few. NaN for fewer than 19, which have none."""
    return float(np.quantile(held_out_N, NEAREST_SHARE, method="weibull")) if len(held_out_N) >= FEWEST else np.nan


def memorisation(
    images_NHWC: Pixels, objects_N: Counts, real: Images, held_out: Mapping[int, Floats], device: torch.device
) -> dict[str, float]:
    """How near samples, each asked for with so many objects, lie to the training images.

    `held_out`: the `held_out_distances` of the same images.
    nearest/generated: mean distance to the nearest one. memorised_matched: share of the samples that lie nearer to one
    than the `limit` of real images with as many objects, so that real images have .05 whatever the mix;
    memorised_images: the samples that have a limit and count; nearest/held_out_matched: mean distance of real images
    in the mix of the samples. NaN where no sample has a limit, nearest/held_out_matched where one has none.
    """
    distance_N = nearest(images_NHWC, real.images_NHWC[real.train_indices], device)
    limits = {count: limit(distances) for count, distances in held_out.items()}
    limit_N = np.array([limits.get(int(count), np.nan) for count in objects_N])
    counts_N = np.isfinite(limit_N)
    expected = [held_out[int(count)].mean() for count in objects_N] if counts_N.all() else [np.nan]
    return {
        "nearest/generated": float(distance_N.mean()),
        "nearest/held_out_matched": float(np.mean(expected)),
        "memorised_matched": float((distance_N < limit_N)[counts_N].mean()) if counts_N.any() else np.nan,
        "memorised_images": int(counts_N.sum()),
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
