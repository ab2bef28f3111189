"""Other ways to look at the same numbers, never the verdict: a moderated t test, and which arm is ranked first.

Shapes: (seeds, arms), complete arms only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats import planning

Array = NDArray[np.float64]

DRAWS = 100_000  # of the arms' means; the standard error of a probability of .5 is .0016


@dataclass(frozen=True)
class Prior:
    """What all arms say of a variance: `variance` with the weight of `df` degrees of freedom (inf: one for all)."""

    df: float
    variance: float


def prior(variances: ArrayLike, df: int) -> Prior:
    """Moments of log variances, each with `df` degrees of freedom (Smyth 2004, section 6.2; limma's fitFDist)."""
    from scipy import optimize, special

    known = np.asarray(variances, dtype=np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    if len(known) < 2:
        return Prior(0.0, float(known[0]) if len(known) else np.nan)
    e = np.log(known) - special.digamma(df / 2) + np.log(df / 2)
    excess = e.var(ddof=1) - special.polygamma(1, df / 2)
    if excess <= 0:
        return Prior(np.inf, float(np.exp(e.mean())))
    half = optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-6, 1e6)
    return Prior(2 * half, float(np.exp(e.mean() + special.digamma(half) - np.log(half))))


def moderated_t(paired: ArrayLike) -> Array:
    """Two-sided p of paired differences, shape (seeds, comparisons), whose variances are drawn towards each other's
    (Smyth 2004, section 4; the differences have one reference).

    NaN for fewer than two seeds or two comparisons, or without spread.
    """
    from scipy import special

    differences = np.asarray(paired, dtype=np.float64)
    n, comparisons = differences.shape
    if n < 2 or comparisons < 2:
        return np.full(comparisons, np.nan)
    df, variances = n - 1, differences.var(axis=0, ddof=1)
    common = prior(variances, df)
    weight = 1.0 if np.isinf(common.df) else common.df / (common.df + df)
    moderated = weight * common.variance + (1 - weight) * variances
    # No more degrees of freedom than the variances have together: with one reference they are no independent ones.
    total = min(common.df + df, planning.pooled_df(n, comparisons))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = differences.mean(axis=0) / np.sqrt(moderated / n)
    return np.asarray(np.where(moderated > 0, 2 * special.stdtr(total, -np.abs(t)), np.nan))


def ranked_first(scores: ArrayLike, smaller_is_better: bool = False) -> Array:
    """For each arm of `scores`, shape (seeds, arms), the probability that its true mean is the best, shape (arms,).

    Arms and seeds as in a two-way analysis of variance with one error for all; flat priors, so that the true means are
    the observed ones plus an error of t (Box & Tiao 1973, section 2.11). Sampled with a fixed seed. NaN for one seed or
    arm.
    """
    array = np.asarray(scores, dtype=np.float64)
    n, arms = array.shape
    if n < 2 or arms < 2:
        return np.full(arms, np.nan)
    rest = array - array.mean(axis=0) - array.mean(axis=1, keepdims=True) + array.mean()
    df = (n - 1) * (arms - 1)
    error = np.sqrt((rest**2).sum() / df / n)
    rng = np.random.default_rng(0)
    scale = np.sqrt(df / rng.chisquare(df, (DRAWS, 1)))
    means = array.mean(axis=0) + error * scale * rng.standard_normal((DRAWS, arms))
    best = (means.argmin(axis=1) if smaller_is_better else means.argmax(axis=1)).astype(np.int64)
    return np.bincount(best, minlength=arms) / DRAWS
