"""Intervals and tests over arrays of shape (seeds, arms): pure functions, no files, no frames.

The unit of analysis is the training run: objects and sampling passes are averaged before they come here. Rows are
paired: seed s of every arm shares its data order and noise. NaN stands for a trial that is not complete.
scipy is imported where it is used, so that importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.stats import planning
from analysis.stats.planning import SIGNIFICANT
from analysis.verdict import Outcome, Verdict

Array = NDArray[np.float64]

LEVEL = 0.95
ENUMERATED = 20  # seeds up to which the 2^n sign flips are all visited (a million sums)
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
    """Comparisons of a study, each array of shape (comparisons,): one per arm with its reference, then the contrasts.

    NaN where an arm has no reference, and where one of the arms is incomplete. `se` is the standard error of the
    difference and `df` its degrees of freedom, `sd` the spread of the per-seed differences. `p_t` is the paired t test,
    `p_holm` the same adjusted over the `family` (every comparison, the incomplete ones included), `p_flip` the exact
    sign-flip test, `rho` the correlation that pairing by seed makes use of.
    """

    difference: Array
    low: Array
    high: Array
    sd: Array
    se: Array
    df: Array
    p_t: Array
    p_holm: Array
    p_flip: Array
    rho: Array
    family: int

    def part(self, chosen: slice) -> Differences:
        """Some of the comparisons; the family stays what it was."""
        arrays = {name: value[chosen] for name, value in vars(self).items() if name != "family"}
        return Differences(**arrays, family=self.family)


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


def differences(
    values: ArrayLike,
    references: int | ArrayLike = 0,
    level: float = LEVEL,
    contrasts: ArrayLike = (),
    flips: bool = True,
) -> Differences:
    """Every column of `values`, shape (seeds, arms), minus the column of its reference, seed by seed; then contrasts.

    `references`: of shape (arms,) the column that each arm is compared with, -1 for none; or one column for all.
    `contrasts`: weights of shape (contrasts, arms), each row summing to 0. `flips`: with the sign-flip test, which
    takes long for many comparisons of many seeds. The family of the Holm adjustment is every
    arm with a reference and every contrast, the incomplete ones included (as p = 1), so that a p does not grow when
    the last trial arrives.
    """
    columns = _seeds_by_arms(values)
    weights = weights_of(columns.shape[1], references, contrasts)
    counted = np.asarray(weights.any(axis=1))
    paired = np.stack([_combined(columns, row) for row in weights], axis=1)
    whole = counted & np.isfinite(paired).all(axis=0)

    def each(function: Callable[[Array], float]) -> Array:
        return np.array([function(paired[:, k]) if whole[k] else np.nan for k in range(len(weights))])

    n = len(columns)
    sd = each(lambda one: one.std(ddof=1) if n > 1 else np.nan)
    difference, se = each(np.mean), sd / np.sqrt(n)
    half = _quantile(level, n) * se
    p_t, pairs = each(paired_t), [np.flatnonzero(row) for row in weights]
    return Differences(
        difference=difference,
        low=difference - half,
        high=difference + half,
        sd=sd,
        se=se,
        df=np.where(whole, n - 1.0, np.nan),
        p_t=p_t,
        p_holm=holm(p_t, int(counted.sum())),
        p_flip=each(sign_flip) if flips else np.full(len(weights), np.nan),
        rho=np.array(
            [
                correlation(columns[:, two[0]], columns[:, two[1]]) if ok and len(two) == 2 else np.nan
                for two, ok in zip(pairs, whole, strict=True)
            ]
        ),
        family=int(counted.sum()),
    )


def weights_of(arms: int, references: int | ArrayLike, contrasts: ArrayLike = ()) -> Array:
    """What `differences` compares, as weights of shape (comparisons, arms): 1 for an arm and -1 for its reference, then
    the contrasts; zeros for an arm without a reference."""
    columns = np.arange(arms)
    against = np.broadcast_to(np.asarray(references, dtype=np.int64), columns.shape)
    compared = (against >= 0) & (against != columns)
    of_arms = np.eye(arms) - np.eye(arms)[np.where(compared, against, columns)]
    return np.concatenate([of_arms, np.asarray(contrasts, dtype=np.float64).reshape(-1, arms)])


def _combined(columns: Array, weights: Array) -> Array:
    """The weighted sum of the arms that have a weight, seed by seed; what has none may be incomplete."""
    used = np.flatnonzero(weights)
    return np.sum(columns[:, used] * weights[used], axis=1)  # type: ignore[no-any-return]


def _quantile(level: float, n: int) -> float:
    """Student's t at (1 + level) / 2; NaN for n < 2."""
    from scipy import special

    return float(special.stdtrit(n - 1, (1 + level) / 2)) if n > 1 else np.nan


def without_spread(values: ArrayLike) -> bool:
    """Whether two or more values are equal but for rounding, so that no error can be estimated from them."""
    sample = np.asarray(values, dtype=np.float64)
    return len(sample) > 1 and bool(np.ptp(sample) < _NO_SPREAD)


def paired_t(paired: ArrayLike) -> float:
    """Two-sided p of the t test on differences of shape (n,) (Student 1908).

    NaN for n < 2, and for differences without spread: accuracies are counts, so a few equal ones are chance, and
    an infinite t would be a verdict made of rounding.
    """
    from scipy import special

    sample = np.asarray(paired, dtype=np.float64)
    if len(sample) < 2 or without_spread(sample):
        return np.nan
    t = sample.mean() / (sample.std(ddof=1) / np.sqrt(len(sample)))
    return float(2 * special.stdtr(len(sample) - 1, -abs(t)))


def equivalence(found: Differences, margin: float) -> Array:
    """p of two one-sided t tests against -margin and +margin (Schuirmann 1987), adjusted over the family by Holm's
    procedure; NaN without a margin."""
    from scipy import special

    with np.errstate(divide="ignore", invalid="ignore"):
        t = (margin - np.abs(found.difference)) / found.se
    p = np.where(np.isnan(found.p_t), np.nan, special.stdtr(found.df, -t))
    return holm(p, found.family)


def outcomes(
    found: Differences, margin: float = np.nan, smaller_is_better: bool = False, level: float = SIGNIFICANT
) -> list[Outcome]:
    """What the numbers of each comparison allow to say of it.

    BETTER or WORSE: the Holm-adjusted paired t test at `level`; else EQUIVALENT: the Holm-adjusted test of
    `equivalence` at `level`; else INCONCLUSIVE. ZERO_VARIANCE: nothing to estimate an error from (one seed, or the same
    difference in every seed). NOT_COMPARED: no difference.
    """
    better = (found.difference < 0) if smaller_is_better else (found.difference > 0)
    rules = {
        Outcome.NOT_COMPARED: np.isnan(found.difference),
        Outcome.ZERO_VARIANCE: np.isnan(found.p_t),
        Outcome.BETTER: (found.p_holm < level) & better,
        Outcome.WORSE: found.p_holm < level,
        Outcome.EQUIVALENT: equivalence(found, margin) < level,
    }
    first = np.select(list(rules.values()), range(len(rules)), len(rules))
    return [[*rules, Outcome.INCONCLUSIVE][index] for index in first]


def verdicts(
    found: Differences,
    planned: int,
    margin: float = np.nan,
    smaller_is_better: bool = False,
    level: float = SIGNIFICANT,
) -> list[Verdict]:
    """The `outcomes` of comparisons of which `planned` seeds are complete, with what their wording needs: the margin,
    whether a difference is smaller than it, and of an inconclusive one the seeds that a verdict would take."""
    inside, needed = equivalence(found, margin) < level, seeds_to_decide(found, margin, level)
    seeds = (
        max(needed[0] or 0, planned + 1) if needed[0] else None,
        max(needed[1] or 0, planned + 1) if needed[1] else None,
    )
    return [
        Verdict(outcome, planned, planned, margin=margin, seeds=seeds, within=bool(within))
        for outcome, within in zip(outcomes(found, margin, smaller_is_better, level), inside, strict=True)
    ]


def seeds_to_decide(found: Differences, margin: float, level: float = SIGNIFICANT) -> tuple[int | None, int | None]:
    """Seeds that a verdict at the margin takes, at the pooled spread and at the upper end of its 95 % interval."""
    sd, df = pooled(found)
    ends = sd, planning.sd_interval(sd, df)[1]
    few, many = (
        planning.seeds_to_decide(float(margin), float(f"{end:.3g}"), max(1, found.family), level=level) for end in ends
    )
    return few, many


def pooled(found: Differences) -> tuple[float, float]:
    """The pooled standard deviation of the comparisons, and its degrees of freedom; NaN without any."""
    known = found.sd[np.isfinite(found.sd)]
    if not len(known):
        return np.nan, np.nan
    n = int(found.df[np.isfinite(found.df)].max()) + 1
    return float(np.sqrt((known**2).mean())), planning.pooled_df(n, len(known))


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


def _seeds_by_arms(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"Values of shape {array.shape} must have the shape (seeds, arms).")
    return array
