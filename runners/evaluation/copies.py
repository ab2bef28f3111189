"""Copies of training images: how near samples lie to the training images, next to real images of the same kind.

Shapes: N images, M references, D numbers per image (features of a network, or pixels). A group is any integer per
image, which real images and samples share: its number of objects, its class, or 0 where all are alike. Distances are
root mean squares over the D numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from runners.evaluation.neighbours import squared_distances

Rows = NDArray[np.floating]
Floats = NDArray[np.float64]
Groups = NDArray[np.integer]
Indices = NDArray[np.int64]

HELD_OUT = 256  # real images of one group that say how near an image that was not trained on lies to the training set
NEAREST_SHARE = 0.05  # of real images that lie nearer than the limit below which a sample counts as memorised
FEWEST = 19  # of them that make a limit: of m, a further one is the nearest with probability 1 / (m + 1)
CHUNK = 8192  # references at a time


def nearest(x_ND: Rows, references_MD: Rows) -> Floats:
    """Distance of each row to the nearest reference, float64 (N,); infinite without references."""
    best_N = np.full(len(x_ND), np.inf)
    for start in range(0, len(references_MD), CHUNK):
        for rows, square_BM in squared_distances(x_ND, references_MD[start : start + CHUNK]):
            best_N[rows] = np.minimum(best_N[rows], square_BM.min(1))
    distance_N: Floats = np.sqrt(best_N / x_ND.shape[1])
    return distance_N


def matched(group_N: Groups, held_out_M: Groups) -> tuple[Groups, Groups]:
    """The groups of samples and of held-out real images, or one group for all of both, 0, where some sample's group has
    fewer than 19 held-out images and would have no limit: small classes are compared with all images."""
    counts = dict(zip(*np.unique(held_out_M, return_counts=True), strict=True))
    if all(counts.get(group, 0) >= FEWEST for group in np.unique(group_N)):
        return group_N, held_out_M
    return np.zeros_like(group_N), np.zeros_like(held_out_M)


def held_out_rows(group_M: Groups) -> dict[int, Indices]:
    """Group -> positions of its first 256 images: those whose distances make its limit."""
    return {int(group): np.flatnonzero(group_M == group)[:HELD_OUT] for group in np.unique(group_M)}


def limit(held_out_N: Floats) -> float:
    """The distance below which 5 % of further real images are expected: their own quantile at rank .05 (N + 1)
    (Weibull 1939), since numpy's default lies too far inside for so few. NaN for fewer than 19, which have none."""
    return float(np.quantile(held_out_N, NEAREST_SHARE, method="weibull")) if len(held_out_N) >= FEWEST else np.nan


def memorisation(
    distance_N: Floats, group_N: Groups, held_out: Mapping[int, Floats], space: str = ""
) -> dict[str, float]:
    """How near samples lie to the training images, from their distances to the nearest one.

    `held_out`: group -> the same distances of held-out real images. An image of one object on the ground that all share
    lies nearer to any other than an image of three: each sample is compared with real images of its group.
    nearest/generated: mean distance; memorised_matched: share of the samples that lie nearer than the `limit` of their
    group, so that real images have .05 whatever the mix; memorised_images: the samples that have a limit and count;
    nearest/held_out_matched: mean distance of real images in the mix of the samples. NaN where no sample has a limit,
    nearest/held_out_matched where one has none. `space` goes into the names: "_features" makes
    nearest_features/generated, memorised_features_matched and so on.
    """
    limits = {group: limit(distances) for group, distances in held_out.items()}
    limit_N = np.array([limits.get(int(group), np.nan) for group in group_N])
    counts_N = np.isfinite(limit_N)
    expected = [held_out[int(group)].mean() for group in group_N] if counts_N.all() else [np.nan]
    return {
        f"nearest{space}/generated": float(distance_N.mean()),
        f"nearest{space}/held_out_matched": float(np.mean(expected)),
        f"memorised{space}_matched": float((distance_N < limit_N)[counts_N].mean()) if counts_N.any() else np.nan,
        f"memorised{space}_images": int(counts_N.sum()),
    }
