"""How different the draws of one condition are, in the features of a network, next to real images of the condition.

Shapes: S draws, N conditions, R real images of a condition, D features; images uint8 (N, H, W, 3).

The distance between pictures grows with noise: identical pictures with noise of standard deviation .1 on top lie .14
apart in root mean square over pixels, and noise moves features too. So each image is looked at in two views, made of
one half of its pixels each, and the distance of two images is the product of their differences in the two views. What
an image shows is in both views and counts; noise that is independent from pixel to pixel is in either one alone, and
its products are 0 on average. (Two noisy views of one image, as in Huang et al. 2021.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Features = NDArray[np.floating]


@dataclass(frozen=True)
class Diversity:
    """Root mean square distances per feature between two images of one condition; they compare within one network."""

    generated: float  # over all conditions; NaN with fewer than two draws
    real: float  # over the conditions with two real images or more; NaN without such a condition
    ratio: float  # generated / real, both over the conditions with two real images or more: 1 is as diverse
    conditions: int  # those


def views(images_NHWC: Pixels) -> tuple[Pixels, Pixels]:
    """Two pictures of each image, made of its even and of its odd pixels, as of the squares of a chess board: the other
    half is filled with the means of the four neighbours, which belong to the first half (mirrored at the rim)."""
    padded_NHWC = np.pad(images_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect").astype(np.uint16)
    sums_NHWC = (
        padded_NHWC[:, :-2, 1:-1] + padded_NHWC[:, 2:, 1:-1] + padded_NHWC[:, 1:-1, :-2] + padded_NHWC[:, 1:-1, 2:]
    )
    filled_NHWC = ((sums_NHWC + 2) // 4).astype(np.uint8)
    even_HW1 = (np.indices(images_NHWC.shape[1:3]).sum(0) % 2 == 0)[:, :, None]
    return np.where(even_HW1, images_NHWC, filled_NHWC), np.where(even_HW1, filled_NHWC, images_NHWC)


def diversity(draws: tuple[Features, Features], real: Sequence[tuple[Features, Features]]) -> Diversity:
    """Compare the draws of N conditions with real images of the same ones.

    `draws`: features of both `views` of the draws, (S, N, D) each; `real`: for each of the N conditions the features of
    both views of its real images, (R, D) each, R its own and 0 where there is none.
    """
    if len(real) != draws[0].shape[1] or draws[0].shape != draws[1].shape:
        shapes = f"{draws[0].shape} and {draws[1].shape}"
        raise ValueError(
            f"draws of shapes {shapes} and {len(real)} real conditions: give (S, N, D) twice and N of them."
        )
    generated_N = np.array(
        [square(a_SD, b_SD) for a_SD, b_SD in zip(*(np.moveaxis(d, 1, 0) for d in draws), strict=True)]
    )
    real_N = np.array([square(a_RD, b_RD) for a_RD, b_RD in real])
    with_real_N = np.isfinite(real_N)
    real_square = _mean(real_N[with_real_N])
    shared = _mean(generated_N[with_real_N])
    ratio = _root(shared / real_square) if real_square > 0 else np.nan
    return Diversity(_root(_mean(generated_N)), _root(real_square), ratio, int(with_real_N.sum()))


def square(a_SD: Features, b_SD: Features) -> float:
    """Mean over the pairs of S images of (a_i - a_j).(b_i - b_j) / D, which has no bias and may fall below 0: twice the
    covariance of the views. NaN with fewer than two images."""
    if len(a_SD) < 2:
        return np.nan
    a_SD, b_SD = a_SD.astype(np.float64), b_SD.astype(np.float64)
    products = (a_SD - a_SD.mean(0)) * (b_SD - b_SD.mean(0))
    return float(2 * products.sum() / (len(a_SD) - 1) / a_SD.shape[1])


def _mean(square_N: NDArray[np.float64]) -> float:
    return float(square_N.mean()) if len(square_N) else np.nan


def _root(value: float) -> float:
    """0 for what chance brought below 0."""
    return float(np.sqrt(max(value, 0.0))) if np.isfinite(value) else np.nan
