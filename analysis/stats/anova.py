"""Analysis of variance of a balanced design with the training seed as a block.

What the seed brings in every arm is taken out. Each effect is tested against its own interaction with the seed, as in
repeated measures: settings that differ in their sampling half share a training, and one common error would then test a
factor of the training against the small differences between samplings of one training.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from analysis.stats.intervals import Array

_NO_SPREAD = 1e-18  # of a mean square of accuracies: the square of what intervals.py takes for rounding


@dataclass(frozen=True)
class Effect:
    """Of the factors at these positions together: sum of squares, share of the total, and the test of it.

    `error` is the mean square of the interaction with the seed; F and p are NaN where it cannot be estimated.
    """

    positions: tuple[int, ...]
    df: int
    squares: float
    share: float
    df_error: int
    error: float
    F: float
    p: float


@dataclass(frozen=True)
class Analysis:
    """Effects by order of interaction; shares of the seed block and of what seeds and factors do together."""

    effects: list[Effect]
    seed_share: float
    rest_share: float


def analyse(values: Array) -> Analysis:
    """Analysis of variance of `values`, shape (seeds, levels of factor 1, levels of factor 2, ...), all finite.

    Sums of squares of a balanced design, where types 1, 2 and 3 agree (Fisher 1925); eta^2 = SS / SS total.
    """
    from scipy import special

    squares, df = _sums_of_squares(values), _degrees(values.shape)
    total = sum(squares.values())
    share = {axes: found / total if total > 0 else np.nan for axes, found in squares.items()}
    effects = []
    for axes in sorted((axes for axes in squares if 0 not in axes), key=lambda axes: (len(axes), axes)):
        own = (0, *axes)
        error = squares[own] / df[own] if df[own] > 0 else np.nan
        F = squares[axes] / df[axes] / error if error > _NO_SPREAD else np.nan
        p = float(special.fdtrc(df[axes], df[own], F)) if np.isfinite(F) else np.nan
        positions = tuple(axis - 1 for axis in axes)
        effects.append(Effect(positions, df[axes], squares[axes], share[axes], df[own], error, F, p))
    rest = sum(found for axes, found in share.items() if 0 in axes and len(axes) > 1)
    return Analysis(effects, share[(0,)], rest)


def _sums_of_squares(values: Array) -> dict[tuple[int, ...], float]:
    """Every nonempty set of axes -> the sum of squares of what these axes do together beyond their subsets."""
    axes = range(values.ndim)
    component: dict[tuple[int, ...], Array] = {(): values.mean(keepdims=True)}
    for size in range(1, values.ndim + 1):
        for chosen in itertools.combinations(axes, size):
            mean = values.mean(axis=tuple(axis for axis in axes if axis not in chosen), keepdims=True)
            below = itertools.chain.from_iterable(itertools.combinations(chosen, fewer) for fewer in range(size))
            component[chosen] = mean - sum(component[subset] for subset in below)
    return {
        chosen: float((part**2).sum() * values.size / part.size) for chosen, part in component.items() if chosen != ()
    }


def _degrees(shape: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    axes = range(len(shape))
    sets = itertools.chain.from_iterable(itertools.combinations(axes, size) for size in range(1, len(shape) + 1))
    return {chosen: int(np.prod([shape[axis] - 1 for axis in chosen])) for chosen in sets}
