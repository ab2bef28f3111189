"""Looking at a study before its last seed is there: levels of looks that were planned, and what unplanned ones cost.

A look is a verdict: a study that is judged at 3 seeds, grown, and judged again at 5 has two chances to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIGNIFICANT = 0.05
SIMULATED = 20_000  # studies; the standard error of a rate of .1 is .002
GRID = 2001  # points of the density of the cumulated statistic
MOST_SIMULATED = 12  # comparisons: beyond, the rate hardly changes and the simulation takes seconds


@lru_cache(maxsize=256)
def levels(looks: tuple[int, ...], alpha: float = SIGNIFICANT) -> tuple[float, ...]:
    """The nominal two-sided level of each look, at these numbers of seeds, that keeps `alpha` over all of them.

    Lan & DeMets 1983: of alpha, 2 - 2 Phi(z / sqrt(t)) is spent at the share t of the last look's seeds, which is
    O'Brien & Fleming's (1979) boundary for equal steps: little at first, nearly all of it at the end. The levels are
    those of normal statistics, applied to the p of t tests (Pocock 1977); the tests simulate what that costs.
    """
    from scipy import optimize, special

    t = np.asarray(looks, dtype=np.float64) / looks[-1]
    spent = 2 - 2 * special.ndtr(-special.ndtri(alpha / 2) / np.sqrt(t))
    # Density of the cumulated statistic sqrt(t) Z of what has not been stopped yet, on a grid.
    grid = np.linspace(-8, 8, GRID)
    width, density, before = grid[1] - grid[0], np.zeros(GRID), 0.0
    found = []
    for look, share in enumerate(t):
        step = np.sqrt(share - (t[look - 1] if look else 0.0))
        start = density if look else None

        def reached(x: Array, start: Array | None = start, step: float = step) -> Array:
            """Density at x before this look stops anything."""
            if start is None:
                return _normal(x / step) / step
            found: Array = _normal((x[:, None] - grid[None, :]) / step) @ start / step * width
            return found

        arrived = reached(grid)

        def crossing(z: float, arrived: Array = arrived, share: float = share) -> float:
            edge = z * np.sqrt(share)
            return float(2 * np.interp(edge, grid, np.cumsum(arrived[::-1])[::-1] * width - arrived * width / 2))

        wanted = spent[look] - (spent[look - 1] if look else 0.0)
        z = optimize.brentq(lambda z, c=crossing, w=wanted: c(z) - w, 0.5, 7.9)
        density = np.where(np.abs(grid) < z * np.sqrt(share), arrived, 0.0)
        before += wanted
        found.append(float(2 * special.ndtr(-z)))
    return tuple(found)


def _normal(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)  # type: ignore[no-any-return]


def false_verdicts(looks: Sequence[int], comparisons: int, at: Sequence[float] | None = None) -> float:
    """Share of studies without any true difference in which some look calls an arm better or worse.

    Simulated: `comparisons` arms and their common reference with equal spread, paired t tests with Holm's correction
    at every look, at the levels `at` (.05 each where none are given).
    """
    chosen = tuple(at) if at is not None else (SIGNIFICANT,) * len(looks)
    return _simulated(tuple(looks), min(comparisons, MOST_SIMULATED), chosen)


@lru_cache(maxsize=64)
def _simulated(looks: tuple[int, ...], comparisons: int, at: tuple[float, ...]) -> float:
    from scipy import special

    rng = np.random.default_rng(0)
    scores = rng.standard_normal((SIMULATED, looks[-1], comparisons + 1), dtype=np.float32)
    differences = scores[:, :, 1:] - scores[:, :, :1]
    wrong = np.zeros(SIMULATED, dtype=bool)
    for n, level in zip(looks, at, strict=True):
        seen = differences[:, :n]
        t = seen.mean(1) / (seen.std(1, ddof=1) / np.sqrt(n))
        smallest = 2 * special.stdtr(n - 1, -np.abs(t).max(1))
        wrong |= smallest * comparisons < level  # Holm finds something when its first step does
    return float(wrong.mean())
