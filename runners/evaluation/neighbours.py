"""Precision and recall, density and coverage: generated and real images as balls that reach to their neighbours.

Shapes: N generated images, M real ones, D features. Distances are Euclidean, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.process import heartbeat

Features = NDArray[np.floating]
Floats = NDArray[np.float64]

MANIFOLD = 3  # neighbours, of precision and recall: Kynkaanniemi et al. 2019
DENSITY = 5  # neighbours, of density and coverage: Naeem et al. 2020
PAIRS = 1 << 20  # distances at a time: 8 MB


@dataclass(frozen=True)
class Neighbours:
    """All are shares but `density`, which is about 1 where both kinds of images have one distribution. Each depends on
    the numbers of images: compare at equal ones. NaN with too few images for the neighbours."""

    precision: float  # of the generated images, those that lie in the manifold of the real ones
    recall: float  # of the real images, those that lie in the manifold of the generated ones
    density: float  # real balls around a generated image, over the neighbours that make them
    coverage: float  # of the real images, those with a generated image in their ball


def neighbours(generated_ND: Features, real_MD: Features) -> Neighbours:
    """Improved precision and recall (Kynkaanniemi et al. 2019), whose manifold is the union of balls
    that reach to the 3rd nearest image of the same kind, and density and coverage (Naeem et al.
    2020), whose balls reach to the 5th nearest real image. A ball holds its rim: an exact copy lies in one.

    NaN where a feature is not finite.
    """
    if generated_ND.ndim != 2 or real_MD.ndim != 2 or generated_ND.shape[1] != real_MD.shape[1]:
        raise ValueError(f"features of shapes {generated_ND.shape} and {real_MD.shape}: give (N, D) and (M, D).")
    n, m = len(generated_ND), len(real_MD)
    if min(n, m) == 0 or not (np.isfinite(generated_ND).all() and np.isfinite(real_MD).all()):
        return Neighbours(np.nan, np.nan, np.nan, np.nan)
    centre_D = real_MD.mean(0, dtype=np.float64)  # distances lose no digits to a mean that all images share
    x_ND, y_MD = generated_ND - centre_D, real_MD - centre_D
    generated_3N = radii(x_ND, (MANIFOLD,))[MANIFOLD]
    real = radii(y_MD, (MANIFOLD, DENSITY))

    precise, balls = 0, 0
    recalled_M, covered_M = np.zeros(m, dtype=bool), np.zeros(m, dtype=bool)
    for rows, square_BM in squared_distances(x_ND, y_MD):
        precise += int((square_BM <= real[MANIFOLD]).any(1).sum())
        recalled_M |= (square_BM <= generated_3N[rows, None]).any(0)
        inside_BM = square_BM <= real[DENSITY]
        balls += int(inside_BM.sum())
        covered_M |= inside_BM.any(0)
    enough_3, enough_5 = min(n, m) > MANIFOLD, m > DENSITY
    return Neighbours(
        precision=precise / n if enough_3 else np.nan,
        recall=float(recalled_M.mean()) if enough_3 else np.nan,
        density=balls / (DENSITY * n) if enough_5 else np.nan,
        coverage=float(covered_M.mean()) if enough_5 else np.nan,
    )


def radii(x_ND: Features, neighbours: tuple[int, ...]) -> dict[int, Floats]:
    """k -> squared distance of each row to its k-th nearest other row, (N,); infinite for k >= N."""
    found = {k: np.full(len(x_ND), np.inf) for k in neighbours}
    wanted = [k for k in neighbours if k < len(x_ND)]
    for rows, square_BN in squared_distances(x_ND, x_ND) if wanted else ():
        square_BN.partition(wanted, axis=1)
        for k in wanted:
            found[k][rows] = square_BN[:, k]  # after itself
    return found


def squared_distances(x_ND: Features, y_MD: Features) -> Iterator[tuple[slice, Floats]]:
    """(rows of x, their squared distances to all M rows of y, float64), about a million pairs at a time."""
    step = max(1, PAIRS // len(y_MD))
    y_MD = y_MD.astype(np.float64, copy=False)
    y_M = np.einsum("md,md->m", y_MD, y_MD)
    for start in range(0, len(x_ND), step):
        rows = slice(start, min(start + step, len(x_ND)))
        x_BD = x_ND[rows].astype(np.float64, copy=False)
        square_BM = x_BD @ y_MD.T
        square_BM *= -2
        square_BM += np.einsum("bd,bd->b", x_BD, x_BD)[:, None]
        square_BM += y_M
        yield rows, np.maximum(square_BM, 0, out=square_BM)
        heartbeat.tick()
