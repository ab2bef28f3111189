"""KID, the kernel distance between generated and real images in the features of a network.

Shapes: N generated images, M real ones, D features; distances are unitless and compare within one network only.
Everything is computed in float64, a block of pairs at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runners.process import heartbeat

Features = NDArray[np.floating]
Floats = NDArray[np.float64]

BLOCK = 1024  # rows and columns of the kernel at a time: 8 MB
CHANCE = 1.645  # upper 5 % of a normal distribution
FEWEST = 4  # images of each kind that have a standard error: its estimate averages over four different ones


@dataclass(frozen=True)
class KernelDistance:
    """`value`: KID, smaller is better; it has no bias, and falls below 0 by chance where both kinds of images have one
    distribution. Its standard errors are those of drawing the images, generated and real, anew."""

    value: float
    standard_error: float
    standard_error_if_alike: float  # what it would be, were both kinds of one distribution: 95 % of KIDs within 1.96
    generated: int  # images
    real: int


@dataclass(frozen=True)
class _Sums:
    """Of a kernel matrix, without its diagonal where the images are compared with themselves."""

    rows: Floats  # sums over each row
    columns: Floats
    square: float  # of all entries

    @property
    def total(self) -> float:
        return float(self.rows.sum())


def kernel_distance(generated_ND: Features, real_MD: Features) -> KernelDistance:
    """KID (Binkowski et al. 2018): the unbiased estimate of the squared maximum mean discrepancy for the kernel
    k(x, y) = (x.y / D + 1)^3, over all pairs (Gretton et al. 2012, equation 3) instead of over random subsets.

    The standard errors hold for any N and M; see `_variance`. The images are taken for independent draws: give one
    image of each scene or person. NaN with fewer than 2 images of a kind, where a feature is not finite, and as
    standard errors with fewer than 4.
    """
    if generated_ND.ndim != 2 or real_MD.ndim != 2 or generated_ND.shape[1] != real_MD.shape[1]:
        raise ValueError(f"features of shapes {generated_ND.shape} and {real_MD.shape}: give (N, D) and (M, D).")
    n, m = len(generated_ND), len(real_MD)
    if min(n, m) < 2 or not (np.isfinite(generated_ND).all() and np.isfinite(real_MD).all()):
        return KernelDistance(math.nan, math.nan, math.nan, n, m)
    x, y, xy = _within(generated_ND), _within(real_MD), _between(generated_ND, real_MD)
    value = x.total / (n * (n - 1)) + y.total / (m * (m - 1)) - 2 * xy.total / (n * m)
    if min(n, m) < FEWEST:
        return KernelDistance(value, math.nan, math.nan, n, m)
    alike = max(_second_order(x, y, xy), 0.0)
    error = math.sqrt(_variance(value, _jackknife(x, y, xy), alike))
    return KernelDistance(value, error, math.sqrt(alike), n, m)


def _variance(value: float, jackknife: float, second: float) -> float:
    """The variance of the estimate, in two parts after Hoeffding 1948.

    The first falls as 1 / N and is 0 where the distributions are alike; the second falls as 1 / N^2 and is then all
    that there is. The jackknife counts the first once and the second twice (Efron and Stein 1981); the second has an
    unbiased estimate of its own (as in Sutherland et al. 2017, there for N = M), and taken off once leaves their sum.
    Where KID is no larger than chance allows, beyond 1.645 of its second part's standard deviations
    in 5 %, the estimate of the first part is mostly noise, and left out.
    """
    return max(jackknife - second, second) if value > CHANCE * math.sqrt(second) else second


def _jackknife(x: _Sums, y: _Sums, xy: _Sums) -> float:
    """Variance of the estimate: (N - 1) / N x the sum of squared deviations of the estimates without one image, for
    each kind (Efron and Stein 1981)."""
    n, m = len(x.rows), len(y.rows)
    without_N = (x.total - 2 * x.rows) / ((n - 1) * (n - 2)) - 2 * (xy.total - xy.rows) / ((n - 1) * m)
    without_M = (y.total - 2 * y.rows) / ((m - 1) * (m - 2)) - 2 * (xy.total - xy.columns) / ((m - 1) * n)
    return float((n - 1) * without_N.var() + (m - 1) * without_M.var())


def _second_order(x: _Sums, y: _Sums, xy: _Sums) -> float:
    """Its second part: 2 E h_xx^2 / (N (N - 1)) + 2 E h_yy^2 / (M (M - 1)) + 4 E h_xy^2 / (N M), with
    doubly centred kernels h."""
    n, m = len(x.rows), len(y.rows)
    return 2 * _centred(x) / (n * (n - 1)) + 2 * _centred(y) / (m * (m - 1)) + 4 * _centred_between(xy) / (n * m)


def _centred(x: _Sums) -> float:
    """E h(x, x')^2 = E k(x, x')^2 - 2 E k(x, x') k(x, x'') + E k(x, x') k(x'', x'''), each over different images."""
    n, rows = len(x.rows), float((x.rows**2).sum())
    pairs = x.square / (n * (n - 1))
    triples = (rows - x.square) / (n * (n - 1) * (n - 2))
    quadruples = (x.total**2 - 4 * rows + 2 * x.square) / (n * (n - 1) * (n - 2) * (n - 3))
    return pairs - 2 * triples + quadruples


def _centred_between(xy: _Sums) -> float:
    """E h(x, y)^2, likewise."""
    n, m = len(xy.rows), len(xy.columns)
    rows, columns = float((xy.rows**2).sum()), float((xy.columns**2).sum())
    same_x = (rows - xy.square) / (n * m * (m - 1))
    same_y = (columns - xy.square) / (n * m * (n - 1))
    none = (xy.total**2 - rows - columns + xy.square) / (n * (n - 1) * m * (m - 1))
    return xy.square / (n * m) - same_x - same_y + none


def _within(x_ND: Features) -> _Sums:
    rows, square = np.zeros(len(x_ND)), 0.0
    for at, other, kernel in _blocks(x_ND, x_ND):
        if at == other:
            np.fill_diagonal(kernel, 0)
        rows[at : at + len(kernel)] += kernel.sum(1)
        square += float(np.einsum("ij,ij->", kernel, kernel))
    return _Sums(rows, rows, square)


def _between(x_ND: Features, y_MD: Features) -> _Sums:
    rows, columns, square = np.zeros(len(x_ND)), np.zeros(len(y_MD)), 0.0
    for at, other, kernel in _blocks(x_ND, y_MD):
        rows[at : at + kernel.shape[0]] += kernel.sum(1)
        columns[other : other + kernel.shape[1]] += kernel.sum(0)
        square += float(np.einsum("ij,ij->", kernel, kernel))
    return _Sums(rows, columns, square)


def _blocks(x_ND: Features, y_MD: Features) -> Iterator[tuple[int, int, Floats]]:
    """(first row, first column, kernel of up to 1,024 x 1,024 pairs)."""
    for at in range(0, len(x_ND), BLOCK):
        some_ND = x_ND[at : at + BLOCK].astype(np.float64) / x_ND.shape[1]
        for other in range(0, len(y_MD), BLOCK):
            kernel = some_ND @ y_MD[other : other + BLOCK].astype(np.float64).T
            kernel += 1
            yield at, other, kernel * kernel * kernel  # a power of floats takes ten times as long
            heartbeat.tick()
