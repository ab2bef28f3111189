"""FID, the Frechet distance between two normal distributions fitted to features of images.

Only for a network whose weights the user gives: FIDs compare where the network, the numbers of images and their
preparation are the same, as with the Inception network of the literature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frechet:
    """`value` is NaN where there is a `reason`, one sentence."""

    value: float
    reason: str = ""


def frechet(a_ND: Features, b_MD: Features) -> Frechet:
    """|mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)), A and B the covariances (Heusel et al. 2017, equation 6).

    (A B)^(1/2) has the trace of (A^(1/2) B A^(1/2))^(1/2), whose argument is symmetric: its eigenvalues are real, and
    what rounding brings below 0 is 0. No value for N <= D or M <= D images, whose covariances are singular, nor where a
    feature is not finite. It is biased upwards by the number of images (Binkowski et al. 2018): KID is not.
    """
    if a_ND.ndim != 2 or b_MD.ndim != 2 or a_ND.shape[1] != b_MD.shape[1]:
        raise ValueError(f"features of shapes {a_ND.shape} and {b_MD.shape}: give (N, D) and (M, D).")
    fewest, size = min(len(a_ND), len(b_MD)), a_ND.shape[1]
    if fewest <= size:
        return Frechet(
            np.nan, f"FID of {size} features needs more than {size} images of each kind, there are {fewest}."
        )
    if not (np.isfinite(a_ND).all() and np.isfinite(b_MD).all()):
        return Frechet(np.nan, "A feature is not finite.")
    a_ND, b_MD = a_ND.astype(np.float64), b_MD.astype(np.float64)
    a_DD, b_DD = np.atleast_2d(np.cov(a_ND.T)), np.atleast_2d(np.cov(b_MD.T))
    value_D, vector_DD = np.linalg.eigh(a_DD)
    root_DD = (vector_DD * np.sqrt(np.maximum(value_D, 0))) @ vector_DD.T
    product_D = np.linalg.eigvalsh(root_DD @ b_DD @ root_DD)
    means = float(((a_ND.mean(0) - b_MD.mean(0)) ** 2).sum())
    spread = float(np.trace(a_DD) + np.trace(b_DD) - 2 * np.sqrt(np.maximum(product_D, 0)).sum())
    return Frechet(means + max(spread, 0.0))
