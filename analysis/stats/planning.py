"""Plans: power of the paired t test and of the equivalence test, the seeds that they take, and how well a spread from a
few seeds is known. Pure functions; scipy is imported where it is used.

Differences and margins may be in any unit; an `effect` is in standard deviations of the paired differences.
"""

from __future__ import annotations

import bisect
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SIGNIFICANT = 0.05
POWER = 0.8
MOST_SEEDS = 1000  # a plan beyond this is no plan
QUANTILES = 100  # of the sampling distribution of a standard deviation, over which a power is averaged
SHARED = 0.25  # squared correlation of two differences with one reference: rho = .5
_NO_SPREAD = 1e-9  # of accuracies in [0, 1]: rounding of equal differences, six orders below one object


# --- how well a spread is known --------------------------------------------------------------------------


def sd_interval(sd: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of the true standard deviation of normal numbers, estimated as `sd` with `df` degrees of freedom (chi
    square; .52 to 6.3 times it at df = 2). NaN for df < 1."""
    from scipy import special

    if not df >= 1:
        return np.nan, np.nan
    return tuple(sd * float(np.sqrt(df / special.chdtri(df, tail))) for tail in ((1 - level) / 2, (1 + level) / 2))  # type: ignore[return-value]


def pooled_df(n: int, comparisons: int) -> float:
    """Degrees of freedom of the pooled variance of `comparisons` series of n differences with one common reference.

    Their variances are correlated (rho^2 = .25), so that they say less than as many independent ones (Satterthwaite
    1946)."""
    return comparisons * (n - 1) / (1 + (comparisons - 1) * SHARED) if comparisons > 0 else 0.0


@cache
def _relative_sd(df: float) -> Array:
    """QUANTILES of s / sigma for a standard deviation s with `df` degrees of freedom; 1 where it is known."""
    from scipy import special

    if not np.isfinite(df):
        return np.ones(1)
    tail = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.sqrt(special.chdtri(df, tail) / df)  # type: ignore[no-any-return]


# --- the test of a difference ----------------------------------------------------------------------------


def power_of_t(effect: ArrayLike, n: int, alpha: float = SIGNIFICANT) -> Array:
    """Power of the two-sided paired t test of n >= 2 differences whose mean is `effect` (any shape) of their standard
    deviations.

    P(|z + effect sqrt(n)| > t s) over a normal z and an independent s = chi / sqrt(n - 1): the non-central t as an
    integral over z. The closed forms of scipy and statsmodels give NaN or a wrong number where alpha and n are small.
    """
    from scipy import special

    df, t = n - 1, -special.stdtrit(n - 1, alpha / 2)
    z = np.linspace(-9, 9, 4001 if np.ndim(effect) == 0 else 1001)  # many effects are averaged over: 1e-5 is enough
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    shift = np.asarray(effect, dtype=np.float64)[..., None] * np.sqrt(n)
    reach = np.abs(z + shift) / t  # the largest s that still leaves |T| above t
    return special.gammainc(df / 2, df * reach**2 / 2) @ density  # type: ignore[no-any-return]


def detectable_difference(
    sd: float, n: int, power: float = POWER, comparisons: int = 1, df: float = np.inf, level: float = SIGNIFICANT
) -> float:
    """The difference that a paired t test of n seeds finds with `power` (Cohen 1988); `sd` is of the differences.

    At `level` / comparisons: the first step of Holm, and so a lower bound of its power. 1.68 sd at n = 5, 80 % and one
    comparison. With `df`, the degrees of freedom of `sd`, the power is the average over what the true sd may be, so
    that the promise holds for a spread that is itself an estimate. NaN for n < 2.
    """
    if n < 2 or not np.isfinite(sd):
        return np.nan
    return sd * _detectable_effect(n, power, level / comparisons, float(df))


@lru_cache(maxsize=4096)
def _detectable_effect(n: int, power: float, alpha: float, df: float) -> float:
    from scipy import optimize

    relative, top = _relative_sd(df), 1.0

    def lacking(effect: float) -> float:
        return float(power_of_t(effect * relative, n, alpha).mean() - power)

    while lacking(top) < 0:
        top *= 2
    return float(optimize.brentq(lacking, 0, top))


# --- the test of equivalence -----------------------------------------------------------------------------


def power_of_equivalence(margin: float, n: int, alpha: float = SIGNIFICANT) -> float:
    """Power of two one-sided t tests at `alpha` (Schuirmann 1987) of n >= 2 differences without a true one; `margin` in
    their standard deviations.

    P(|z| < margin sqrt(n) - t s) over a normal z and s = chi / sqrt(n - 1), as an integral over s.
    """
    from scipy import special

    df, t = n - 1, -special.stdtrit(n - 1, alpha)
    s = np.sqrt(special.chdtri(df, (np.arange(1000) + 0.5) / 1000) / df)
    room = np.maximum(margin * np.sqrt(n) - t * s, 0)
    return float((2 * special.ndtr(room) - 1).mean())


@lru_cache(maxsize=4096)
def seeds_to_decide(
    margin: float, sd: float, comparisons: int = 1, power: float = POWER, level: float = SIGNIFICANT
) -> int | None:
    """Seeds with which a study would decide at the margin: find a difference as large as it with `power`, and call a
    difference of none equivalent with `power`, each at `level` / comparisons. None beyond 1,000, or without a margin.

    The observed difference is not asked: the power for it is only its p in other words (Hoenig & Heisey 2001).
    """
    if not (np.isfinite(margin) and np.isfinite(sd) and margin > _NO_SPREAD):
        return None
    effect, alpha = margin / max(sd, _NO_SPREAD), level / comparisons

    def decided(n: int) -> float:
        return min(float(power_of_t([effect], n, alpha)[0]), power_of_equivalence(effect, n, alpha))

    planned = range(2, MOST_SEEDS + 1)
    enough = bisect.bisect_left(planned, power, key=decided)
    return planned[enough] if enough < len(planned) else None


# --- what is chosen looks better than it is ----------------------------------------------------------------


@cache
def expected_maximum(k: int) -> float:
    """Expected largest of k standard normals, by integration of x d(Phi(x)^k): 1.867 for k = 20. NaN for k < 1."""
    from scipy import integrate, stats

    if k < 1:
        return np.nan
    value, _ = integrate.quad(lambda x: x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1), -12, 12, limit=200)
    return float(value)


def selection_bias(k: int, sd: float) -> float:
    """How much better the best of k equally good settings looks than it is, when one score has the spread `sd`."""
    return expected_maximum(k) * sd
