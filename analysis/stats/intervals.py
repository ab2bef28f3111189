"""Intervals and tests over arrays of shape (seeds, arms): pure functions, no files, no frames.

The unit of analysis is the training run: objects and sampling passes are averaged before they come here. Rows are
paired: seed s of every arm shares its data order and noise. NaN stands for a trial that is not complete.
scipy is imported where it is used, so that importing this module is cheap.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.verdict import Outcome, Verdict

Array = NDArray[np.float64]

LEVEL = 0.95
ENUMERATED = 20  # seeds up to which the 2^n sign flips are all visited (a million sums)
MOST_SEEDS = 1000  # a plan beyond this is no plan
SIGNIFICANT = 1 - LEVEL
_NO_SPREAD = 1e-9  # of accuracies in [0, 1]: rounding of equal differences, six orders below one object


@dataclass(frozen=True)
class Means:
    """Per arm, each of shape (arms,): complete seeds, their mean and its t interval."""

    n: NDArray[np.int64]
    mean: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Differences:
    """Per arm minus its reference, each of shape (arms,); NaN without a reference and where either is incomplete.

    `p_t` is the paired t test, `p_holm` the same adjusted over the family of arms, `p_flip` the exact sign-flip
    test, `rho` the correlation that pairing by seed makes use of, `sd` the spread of the differences.
    """

    difference: Array
    low: Array
    high: Array
    sd: Array
    p_t: Array
    p_holm: Array
    p_flip: Array
    rho: Array


def t_interval(values: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of `values`, shape (n,) (Student 1908); NaN for n < 2."""
    from scipy import special

    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return np.nan, np.nan
    half = special.stdtrit(len(sample) - 1, (1 + level) / 2) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)


def means(values: ArrayLike, level: float = LEVEL) -> Means:
    """Mean and t interval of every column of `values`, shape (seeds, arms); NaN are left out and n says so."""
    from scipy import special

    array = _seeds_by_arms(values)
    known = np.isfinite(array)
    n = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is the NaN of a column without numbers
        mean = np.where(known, array, 0).sum(axis=0) / n
        sd = np.sqrt((np.where(known, array - mean, 0) ** 2).sum(axis=0) / (n - 1))
        half = special.stdtrit(np.maximum(n - 1, 1), (1 + level) / 2) * sd / np.sqrt(n)
    return Means(n=n, mean=mean, low=mean - half, high=mean + half)


def differences(values: ArrayLike, references: int | ArrayLike = 0, level: float = LEVEL) -> Differences:
    """Every column of `values`, shape (seeds, arms), minus the column of its reference, seed by seed.

    `references`: of shape (arms,) the column that each arm is compared with, -1 for none; or one column for all.
    The family of the Holm adjustment is every arm with a reference, the incomplete ones included (as p = 1), so
    that a p does not grow when the last trial arrives.
    """
    columns = _seeds_by_arms(values)
    arms = np.arange(columns.shape[1])
    against = np.broadcast_to(np.asarray(references, dtype=np.int64), arms.shape)
    compared = (against >= 0) & (against != arms)
    paired = columns - columns[:, np.where(compared, against, arms)]
    whole = compared & np.isfinite(paired).all(axis=0)

    def each(function: Callable[[int], float]) -> Array:
        return np.array([function(int(arm)) if whole[arm] else np.nan for arm in arms])

    intervals = [t_interval(paired[:, arm], level) if whole[arm] else (np.nan, np.nan) for arm in arms]
    p_t = each(lambda arm: paired_t(paired[:, arm]))
    return Differences(
        difference=each(lambda arm: paired[:, arm].mean()),
        low=np.array([low for low, _ in intervals]),
        high=np.array([high for _, high in intervals]),
        sd=each(lambda arm: paired[:, arm].std(ddof=1) if len(paired) > 1 else np.nan),
        p_t=p_t,
        p_holm=holm(p_t, int(compared.sum())),
        p_flip=each(lambda arm: sign_flip(paired[:, arm])),
        rho=each(lambda arm: correlation(columns[:, arm], columns[:, against[arm]])),
    )


def paired_t(paired: ArrayLike) -> float:
    """Two-sided p of the t test on differences of shape (n,) (Student 1908).

    NaN for n < 2, and for differences without spread: accuracies are counts, so a few equal ones are chance, and
    an infinite t would be a verdict made of rounding.
    """
    from scipy import special

    sample = np.asarray(paired, dtype=np.float64)
    if len(sample) < 2 or np.ptp(sample) < _NO_SPREAD:
        return np.nan
    t = sample.mean() / (sample.std(ddof=1) / np.sqrt(len(sample)))
    return float(2 * special.stdtr(len(sample) - 1, -abs(t)))


def outcomes(found: Differences, margin: float = np.nan, smaller_is_better: bool = False) -> list[Outcome]:
    """What the numbers of each arm allow to say of it.

    BETTER or WORSE: the Holm-adjusted paired t test at .05; else EQUIVALENT: the paired interval lies inside
    (-margin, margin); else INCONCLUSIVE. ZERO_VARIANCE: nothing to estimate an error from (one seed, or the same
    difference in every seed). NOT_COMPARED: no difference.
    """
    better = (found.difference < 0) if smaller_is_better else (found.difference > 0)
    rules = {
        Outcome.NOT_COMPARED: np.isnan(found.difference),
        Outcome.ZERO_VARIANCE: np.isnan(found.p_t),
        Outcome.BETTER: (found.p_holm < SIGNIFICANT) & better,
        Outcome.WORSE: found.p_holm < SIGNIFICANT,
        Outcome.EQUIVALENT: (found.low > -margin) & (found.high < margin),
    }
    first = np.select(list(rules.values()), range(len(rules)), len(rules))
    return [[*rules, Outcome.INCONCLUSIVE][index] for index in first]


def verdicts(
    found: Differences, planned: int, margin: float = np.nan, smaller_is_better: bool = False, comparisons: int = 1
) -> list[Verdict]:
    """The `outcomes` of arms of which `planned` seeds are complete, with what their wording needs: the margin, and of
    an inconclusive one the seeds that a verdict at the margin would take in a family of so many comparisons."""
    made = []
    for outcome, sd in zip(outcomes(found, margin, smaller_is_better), found.sd, strict=True):
        seeds = None
        if outcome is Outcome.INCONCLUSIVE:
            needed = seeds_needed(margin, float(sd), comparisons=comparisons)
            seeds = None if needed is None else max(needed, planned + 1)
        made.append(Verdict(outcome, planned, planned, margin=margin, seeds=seeds))
    return made


def largest_difference(low: float, high: float) -> float:
    """The largest difference that an interval is compatible with: its end that is farther from zero."""
    return max(abs(low), abs(high))


def sign_flip(paired: ArrayLike) -> float:
    """Two-sided p of differences of shape (n,) under all 2^n sign changes (Fisher 1935); above n = 20 sampled.

    Exact whatever the distribution, as long as it is symmetric under the null hypothesis.
    """
    sample = np.asarray(paired, dtype=np.float64)
    if len(sample) == 0:
        return np.nan
    observed = abs(sample.sum()) - 1e-9 * np.abs(sample).sum()  # sums in another order round differently
    if len(sample) > ENUMERATED:
        signs = _signs(len(sample))
        return float((1 + np.count_nonzero(np.abs(signs @ sample) >= observed)) / (1 + len(signs)))
    sums = np.zeros(1)
    for value in sample:
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(np.abs(sums) >= observed))


@lru_cache(maxsize=1)  # 0.8 MB per seed, and every arm of a study has as many
def _signs(n: int) -> Array:
    """100,000 draws of n signs, always the same."""
    return np.random.default_rng(0).choice((-1.0, 1.0), size=(100_000, n))


def smallest_sign_flip(n: int) -> float:
    """The smallest two-sided p that n differences can reach: 2 / 2^n, so .25 at n = 3 and .0625 at n = 5."""
    return min(1.0, 2.0 ** (1 - n)) if n > 0 else np.nan


def fewest_for_sign_flip(comparisons: int = 1) -> int:
    """The seeds from which on the sign-flip test can confirm a verdict in a family of so many comparisons: its smallest
    p times their number, the first step of Holm, is below .05. 6 for one comparison, 7 for two, 8 for four."""
    n = 1
    while max(1, comparisons) * smallest_sign_flip(n) >= SIGNIFICANT:
        n += 1
    return n


def holm(p: ArrayLike, family: int | None = None) -> Array:
    """Step-down adjusted p (Holm 1979) of shape (k,); NaN stays NaN, and up to `family` counts as p = 1."""
    # Not statsmodels' multipletests, the oracle of the tests: it collects all garbage in each call, 30 ms.
    given = np.asarray(p, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    order = np.argsort(given, kind="stable")[: np.isfinite(given).sum()]  # NaN sorts last
    factors = max(family or 0, len(order)) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1)
    return adjusted


def correlation(arm: ArrayLike, baseline: ArrayLike) -> float:
    """Pearson's rho of two columns of shape (n,); NaN below n = 3 (two points always lie on a line)."""
    pair = np.asarray([arm, baseline], dtype=np.float64)
    if pair.shape[1] < 3 or np.ptp(pair, axis=1).min() < _NO_SPREAD:
        return np.nan
    return float(np.corrcoef(pair[0], pair[1])[0, 1])


# --- plans -------------------------------------------------------------------------------------------


def power_of_t(effect: float, n: int, alpha: float = SIGNIFICANT) -> float:
    """Power of the two-sided paired t test of n >= 2 differences whose mean is `effect` of their standard deviations.

    P(|z + effect sqrt(n)| > t s) over a normal z and an independent s = chi / sqrt(n - 1): the non-central t as an
    integral over z. The closed forms of scipy and statsmodels give NaN or a wrong number where alpha and n are small.
    """
    from scipy import special

    df, t = n - 1, -special.stdtrit(n - 1, alpha / 2)
    z = np.linspace(-9, 9, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    reach = np.abs(z + effect * np.sqrt(n)) / t  # the largest s that still leaves |T| above t
    return float(density @ special.gammainc(df / 2, df * reach**2 / 2))


def detectable_difference(sd: float, n: int, power: float = 0.8, comparisons: int = 1) -> float:
    """The difference that a paired t test of n seeds finds with `power` (Cohen 1988); `sd` is of the differences.

    At .05 / comparisons: the first step of Holm, and so a lower bound of its power. 1.68 sd at n = 5, 80 % and one
    comparison. NaN for n < 2.
    """
    from scipy import optimize

    if n < 2 or not np.isfinite(sd):
        return np.nan
    alpha, top = SIGNIFICANT / comparisons, 1.0
    while power_of_t(top, n, alpha) < power:
        top *= 2
    return float(sd * optimize.brentq(lambda effect: power_of_t(effect, n, alpha) - power, 0, top))


def seeds_needed(difference: float, sd: float, power: float = 0.8, comparisons: int = 1) -> int | None:
    """Seeds with which a paired t test at .05 / comparisons would find `difference` with `power`; None beyond 1,000.

    A plan, not a result: difference and sd are themselves estimates from few seeds.
    """
    if not (np.isfinite(difference) and np.isfinite(sd) and abs(difference) > _NO_SPREAD):
        return None
    effect, alpha = abs(difference) / max(sd, _NO_SPREAD), SIGNIFICANT / comparisons
    planned = range(2, MOST_SEEDS + 1)
    enough = bisect.bisect_left(planned, power, key=lambda n: power_of_t(effect, n, alpha))
    return planned[enough] if enough < len(planned) else None


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


def _seeds_by_arms(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"Values of shape {array.shape} must have the shape (seeds, arms).")
    return array
