"""What another evaluator would have changed: differences scored by several evaluators, crossed with the seeds.

The pictures of each training are scored by the same evaluators, which differ in their seed alone. A paired difference
d of seed s by evaluator e is then mu + S_s + E_e + I_se, with independent random effects. Its mean over seeds and
evaluators has the variance sigma_S^2 / n + sigma_E^2 / N + sigma_I^2 / (n N), of which an interval over seeds alone has
the first and the last part: it is about these evaluators. Pure functions over arrays (seeds, evaluators).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats.intervals import LEVEL, Array, Differences, holm

_NO_SPREAD = 1e-9  # of accuracies in [0, 1]: rounding of equal differences, six orders below one object


@dataclass(frozen=True)
class Crossed:
    """The mean of differences over seeds and evaluators, its standard error with `df` degrees of freedom, its t
    interval and the two-sided p of no difference. All but the mean are NaN for one seed, or without any spread."""

    mean: float
    error: float
    df: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Share:
    """The standard deviation of a difference between evaluators, and its interval; NaN for one seed."""

    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class _Squares:
    """Mean squares of the two-way layout without replication (Searle, Casella & McCulloch 1992, section 4.5)."""

    seeds: float
    evaluators: float
    interaction: float


def columns(metric: str, known: Collection[str]) -> list[str]:
    """The columns of a metric by evaluator, in order of their numbers: "accuracy/test" -> "accuracy_evaluator_0/test"
    and so on; empty where the trials had one evaluator, or the metric is not kept by evaluator."""
    score, slash, name = metric.partition("/")
    found: list[str] = []
    while (column := f"{score}_evaluator_{len(found)}{slash}{name}") in known:
        found.append(column)
    return found


def crossed(paired: ArrayLike, level: float = LEVEL) -> Crossed:
    """Mean, interval and test of paired differences of shape (n seeds, N evaluators), N >= 2, without NaN.

    The variance is (MS_S + MS_E - MS_I) / (n N), unbiased in the crossed random-effects model. Where the evaluators
    happen to agree it would be below MS_S / (n N), that of the seeds alone, which then takes its place. Its degrees of
    freedom are Satterthwaite's (1946), and not fewer than the smaller of n - 1 and N - 1.
    """
    from scipy import special

    array = _seeds_by_evaluators(paired)
    n, count = array.shape
    mean, squares = float(array.mean()), _squares(array)
    if squares is None or max(np.ptp(array.mean(axis=1)), np.ptp(array.mean(axis=0))) < _NO_SPREAD:
        return Crossed(mean, np.nan, np.nan, np.nan, np.nan, np.nan)
    total, df = squares.seeds, float(n - 1)
    if squares.evaluators > squares.interaction:
        total = squares.seeds + squares.evaluators - squares.interaction
        parts = squares.seeds**2 / (n - 1) + squares.evaluators**2 / (count - 1)
        df = max(total**2 / (parts + squares.interaction**2 / ((n - 1) * (count - 1))), min(n, count) - 1)
    error = float(np.sqrt(total / (n * count)))
    half = special.stdtrit(df, (1 + level) / 2) * error
    p = 2 * special.stdtr(df, -abs(mean) / error)
    return Crossed(mean, error, df, float(mean - half), float(mean + half), float(p))


def share(paired: Sequence[ArrayLike], level: float = LEVEL) -> Share:
    """How much a difference moves between evaluators, pooled over the differences of several arms, each of shape
    (n seeds, N evaluators).

    sigma_E^2 = (MS_E - MS_I) / n, 0 where that is below 0; the interval is Williams' (1962). Arms share the evaluators
    and often the reference, so that together they count as one: the interval covers at least as often as it says.
    """
    from scipy import special

    arrays = [_seeds_by_evaluators(each) for each in paired]
    found = [squares for array in arrays if (squares := _squares(array)) is not None]
    if not found:
        return Share(np.nan, np.nan, np.nan)
    n, count = arrays[0].shape
    between = float(np.mean([squares.evaluators for squares in found]))
    within = float(np.mean([squares.interaction for squares in found]))
    df, rest, tail = count - 1, (n - 1) * (count - 1), (1 - level) / 2

    def end(probability: float) -> float:
        chi, f = 2 * special.gammaincinv(df / 2, probability), special.fdtri(df, rest, probability)
        return float(np.sqrt(max(0.0, df * (between - within * f) / (n * chi))))

    return Share(float(np.sqrt(max(0.0, (between - within) / n))), end(1 - tail), end(tail))


def held(found: Differences, values: Array | None, weights: Array, level: float = LEVEL) -> Differences:
    """Comparisons whose intervals, p and adjusted p hold the evaluators' share.

    `values`: the scores by evaluator, (seeds, arms, evaluators); None leaves everything as it is. `weights`: those of
    `intervals.weights_of`. A comparison with a NaN among its scores keeps the interval over seeds.
    """
    if values is None:
        return found
    names = ("low", "high", "se", "df", "p_t")
    changed = {name: getattr(found, name).copy() for name in names}
    for k, paired in pairs(values, weights).items():
        if np.isfinite(found.p_t[k]):
            one = crossed(paired, level)
            for name, value in zip(names, (one.low, one.high, one.error, one.df, one.p), strict=True):
                changed[name][k] = value
    return replace(found, **changed, p_holm=holm(changed["p_t"], found.family))


def pairs(values: Array, weights: Array) -> dict[int, Array]:
    """Comparison -> its differences, (seeds, evaluators), of the comparisons of which all scores are known."""
    found = {}
    for k, row in enumerate(weights):
        used = np.flatnonzero(row)
        paired = np.tensordot(values[:, used], row[used], axes=([1], [0]))
        if len(used) and np.isfinite(paired).all():
            found[k] = paired
    return found


def _squares(array: Array) -> _Squares | None:
    """None for one seed, which leaves nothing to tell seeds, evaluators and their interaction apart."""
    n, count = array.shape
    if n < 2:
        return None
    mean, of_seed, of_evaluator = array.mean(), array.mean(axis=1), array.mean(axis=0)
    rest = array - of_seed[:, None] - of_evaluator + mean
    return _Squares(
        seeds=float(count * ((of_seed - mean) ** 2).sum() / (n - 1)),
        evaluators=float(n * ((of_evaluator - mean) ** 2).sum() / (count - 1)),
        interaction=float((rest**2).sum() / ((n - 1) * (count - 1))),
    )


def _seeds_by_evaluators(paired: ArrayLike) -> Array:
    array = np.asarray(paired, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(f"Differences of shape {array.shape} must have the shape (seeds, 2 or more evaluators).")
    return array
