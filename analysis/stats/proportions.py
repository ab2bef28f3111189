"""Shares of objects: what one evaluation resolves, and what may be said of two trainings on the same objects.

Pure functions over counts and booleans. Nothing here says anything about other trainings of the same setting.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats.intervals import LEVEL

RESAMPLES = 10_000  # of a bootstrap: its ends repeat to a hundredth of their distance


def unpaired_noise(p1: float, p2: float, objects: float, level: float = LEVEL) -> float:
    """Half the 95 % interval of a difference of two shares, each of `objects` independent objects (Wald, unpaired).

    What the difference of two single evaluations means before any training is repeated; NaN for no objects.
    """
    from scipy import special

    if not objects > 0:
        return np.nan
    return float(special.ndtri((1 + level) / 2) * np.sqrt((p1 * (1 - p1) + p2 * (1 - p2)) / objects))


def wilson(k: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share of k in n independent objects (Wilson 1927); NaN for n = 0."""
    # Not statsmodels' proportion_confint, the oracle of the tests: importing it takes longer than a page of numbers.
    from scipy import special

    if not n > 0:
        return np.nan, np.nan
    z, p = special.ndtri((1 + level) / 2), k / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return float((middle - half) / (1 + z**2 / n)), float((middle + half) / (1 + z**2 / n))


def sign_flip(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> float:
    """Exact two-sided p of two trainings on the same objects, under all sign changes of the clusters' differences
    (Fisher 1935); 1 where no cluster differs.

    Outcomes are booleans of shape (sampling seeds, objects), the first axis of any length. `clusters`, of shape
    (objects,), names what is flipped together, in all passes: objects that fail together are one observation. McNemar's
    test (1947) takes them for several, and finds too much. Nothing is drawn: differences are counts, so that the
    distribution of their sum is a product of polynomials. Raises ValueError for other shapes.
    """
    a, b = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    _check(a, b)
    if a.size == 0 or b.size == 0:
        return np.nan
    passes = math.lcm(len(a), len(b))
    paired = a.sum(axis=0) * (passes // len(a)) - b.sum(axis=0) * (passes // len(b))
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    differences = np.zeros(len(names), dtype=np.int64)
    np.add.at(differences, of, paired)
    differences = differences[differences != 0] // max(1, int(np.gcd.reduce(differences)))
    chances = np.ones(1)  # of the sums -s to s, by steps of 1
    for size in np.abs(differences):
        either = np.zeros((2, len(chances) + 2 * size))
        either[0, : len(chances)] = either[1, 2 * size :] = chances / 2
        chances = either.sum(axis=0)
    sums = np.arange(len(chances)) - len(chances) // 2
    return float(min(1, chances[np.abs(sums) >= abs(differences.sum())].sum()))


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of accuracy(first) - accuracy(second), two trainings on the same objects.

    Outcomes are of shape (K sampling seeds, objects). Objects are resampled, with all of their passes in both arms;
    `clusters` of shape (objects,) names what is resampled together (the objects of one picture fail together).
    Raises ValueError for other shapes.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    _check(a, b)
    if a.size == 0 or b.size == 0:
        return np.nan, np.nan
    paired = a.mean(axis=0) - b.mean(axis=0)
    names = np.arange(len(paired)) if clusters is None else np.asarray(clusters)
    _, of = np.unique(names, return_inverse=True)
    sums, sizes = np.bincount(of, paired), np.bincount(of)
    drawn = _drawn(len(sizes), seed)
    resampled = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        shapes = f"{first.shape} and {second.shape}"
        raise ValueError(f"Outcomes of shape {shapes} must be (sampling seeds, objects), same objects.")


@lru_cache(maxsize=1)  # every arm of a list has as many pictures
def _drawn(clusters: int, seed: int) -> NDArray[np.int64]:
    """RESAMPLES draws with replacement, always the same."""
    return np.random.default_rng(seed).integers(clusters, size=(RESAMPLES, clusters))
