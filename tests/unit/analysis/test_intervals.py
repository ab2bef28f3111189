"""Intervals: numbers computed by hand, printed tables of others, and a simulation of what 95 % promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import intervals, proportions

# Three seeds (rows), three arms (columns); the first is the baseline.
VALUES = [[0.60, 0.70, 0.55], [0.62, 0.73, 0.60], [0.58, 0.69, 0.59]]


def test_t_interval_by_hand() -> None:
    # 1, 2, 3: mean 2, sd 1, t(.975, 2 df) = 4.3027, half width 4.3027 / sqrt(3) = 2.4841
    assert intervals.t_interval([1, 2, 3]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    # t(.95, 2 df) = 2.9200, half width 1.6859
    assert intervals.t_interval([1, 2, 3], level=0.9) == pytest.approx((2 - 1.6859, 2 + 1.6859), abs=1e-4)


def test_means_by_hand() -> None:
    found = intervals.means(VALUES)
    assert found.n.tolist() == [3, 3, 3]
    assert found.mean == pytest.approx([0.60, 0.706667, 0.58], abs=1e-6)
    # sd .02, half width 4.3027 x .02 / sqrt(3) = .04968
    assert (found.low[0], found.high[0]) == pytest.approx((0.60 - 0.04968, 0.60 + 0.04968), abs=1e-5)


def test_means_leave_holes_out_and_say_so() -> None:
    found = intervals.means([[0.6, math.nan], [0.8, 0.5]])
    assert found.n.tolist() == [2, 1]
    assert found.mean == pytest.approx([0.7, 0.5])
    assert np.isnan(found.low).tolist() == [False, True]


def test_differences_by_hand() -> None:
    found = intervals.differences(VALUES)
    # second arm: .10, .11, .11: mean .106667, sd .0057735, half width .0143422, t = 32
    assert found.difference[1] == pytest.approx(0.106667, abs=1e-6)
    assert (found.low[1], found.high[1]) == pytest.approx((0.092325, 0.121009), abs=1e-6)
    # two-sided p of t with 2 df is 1 - t / sqrt(2 + t^2) = 1 - 32 / sqrt(1026) = .00097513
    assert found.p_t[1] == pytest.approx(0.00097513, abs=1e-8)
    # third arm: -.05, -.02, +.01: mean -.02, sd .03, t = -1.154701, p = 1 - 1.154701 / sqrt(3.333333) = .367544
    assert found.p_t[2] == pytest.approx(0.367544, abs=1e-6)
    # Holm: the smaller p twice, the larger once
    assert found.p_holm[1:] == pytest.approx([2 * 0.00097513, 0.367544], abs=1e-6)
    assert np.isnan([found.difference[0], found.p_t[0], found.p_holm[0], found.p_flip[0], found.rho[0]]).all()


def test_an_arm_with_a_hole_is_compared_with_nothing_but_still_counts_in_the_family() -> None:
    found = intervals.differences([[*VALUES[0], 0.9], [*VALUES[1], math.nan], [*VALUES[2], 0.9]])
    assert np.isnan([found.difference[3], found.low[3], found.p_t[3], found.p_flip[3], found.p_holm[3]]).all()
    assert found.p_holm[1] == pytest.approx(3 * 0.00097513, abs=1e-6)


def test_another_column_may_be_the_baseline() -> None:
    found = intervals.differences(VALUES, 1)
    assert found.difference[0] == pytest.approx(-0.106667, abs=1e-6)
    assert np.isnan(found.difference[1])


def test_every_column_may_have_its_own_reference() -> None:
    """A ladder: the third against the second, the second against the first, the first and the fourth against none."""
    fourth = [[*line, value] for line, value in zip(VALUES, (0.1, 0.2, 0.3), strict=True)]
    found = intervals.differences(fourth, [-1, 0, 1, -1])
    # third minus second: -.15 -.13 -.10: mean -.126667, sd .0251661, t = -8.717798
    assert found.difference == pytest.approx([math.nan, 0.106667, -0.126667, math.nan], abs=1e-6, nan_ok=True)
    assert found.sd[2] == pytest.approx(0.0251661, abs=1e-7)
    # p = 1 - 8.717798 / sqrt(2 + 76) = .012904
    assert found.p_t[2] == pytest.approx(0.012904, abs=1e-6)
    # Holm over two comparisons, not three: the smaller p twice, the larger once
    assert found.p_holm[1:3] == pytest.approx([2 * 0.00097513, 0.012904], abs=1e-6)
    # rho with the reference, not with the first column
    assert found.rho[2] == pytest.approx(np.corrcoef([0.55, 0.60, 0.59], [0.70, 0.73, 0.69])[0, 1])


def test_a_hole_in_a_reference_stops_its_comparisons_alone() -> None:
    values = [[0.60, 0.70, 0.55, 0.6], [0.62, math.nan, 0.60, 0.7], [0.58, 0.69, 0.59, 0.7]]
    found = intervals.differences(values, [-1, 0, 1, 0])
    assert np.isfinite(found.difference).tolist() == [False, False, False, True]
    # differences 0, .08, .12: mean .066667, sd .0611010, t = 1.889822, p = 1 - 1.889822 / sqrt(5.571429) = .199356
    assert found.p_holm[3] == pytest.approx(3 * 0.199356, abs=1e-5)


def test_one_seed_gives_no_interval_and_no_exception() -> None:
    means, paired = intervals.means(VALUES[:1]), intervals.differences(VALUES[:1])
    assert means.mean == pytest.approx(VALUES[0])
    assert np.isnan([means.low, means.high]).all()
    assert paired.difference[1] == pytest.approx(0.1)
    assert np.isnan([paired.low[1], paired.high[1], paired.sd[1], paired.p_t[1], paired.p_holm[1]]).all()


def test_differences_without_spread_have_no_p() -> None:
    # One object of 72 more in each of three trainings: t would be infinite, and the verdict made of rounding.
    assert math.isnan(intervals.paired_t([0.7 - 0.6, 0.5 - 0.4, 0.3 - 0.2]))
    assert math.isnan(intervals.paired_t([0, 0, 0]))


@pytest.mark.parametrize(
    ("paired", "p"),
    [
        ([1, 2, 3], 0.25),  # 2 of 8 sign patterns reach |6|
        ([1, 2, -3], 1.0),  # the sum is 0
        ([3, 2, -1], 0.5),  # |3+2+1| = 6, |3+2-1| = 4, |3-2+1| = 2, |3-2-1| = 0, each twice: 4 of 8 reach 4
        ([1] * 5, 0.0625),
        ([1] * 8, 0.0078125),
        ([0.1] * 10, 2 / 1024),  # added one by one it is .9999999999999999, by numpy 1.0: the same sum
        ([5], 1.0),
    ],
)
def test_sign_flip_by_hand(paired: list[float], p: float) -> None:
    assert intervals.sign_flip(paired) == pytest.approx(p)


def test_sign_flip_above_twenty_is_sampled_and_repeatable() -> None:
    weak = np.random.default_rng(1).normal(0.2, 1, 25)
    assert intervals.sign_flip(weak) == intervals.sign_flip(weak)
    assert intervals.sign_flip(weak) == pytest.approx(intervals.paired_t(weak), abs=0.02)
    assert 0 < intervals.sign_flip(np.ones(25)) < 1e-4


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (3, 0.25), (5, 0.0625), (8, 0.0078125)])
def test_smallest_sign_flip_is_what_unanimous_seeds_reach(n: int, p: float) -> None:
    assert intervals.smallest_sign_flip(n) == p == intervals.sign_flip(np.arange(1, n + 1))


@pytest.mark.parametrize(("comparisons", "seeds"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (8, 9)])
def test_the_seeds_of_a_sign_flip_test_grow_with_its_family(comparisons: int, seeds: int) -> None:
    """2 / 2^n times the comparisons is below .05: Holm adjusts the smallest p by all of them."""
    assert intervals.fewest_for_sign_flip(comparisons) == seeds
    family = max(1, comparisons)
    for n, enough in ((seeds - 1, False), (seeds, True)):
        alike = np.arange(1, n + 1)[:, None] * np.append(0, np.ones(family))
        adjusted = intervals.holm(intervals.differences(alike).p_flip, family)
        assert bool(np.nanmin(adjusted) < intervals.SIGNIFICANT) is enough


def test_holm_by_hand() -> None:
    # sorted .01 x 4, .02 x 3, .03 x 2 (raised to the .06 before it), .20
    assert intervals.holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert intervals.holm([0.01, math.nan], family=3)[0] == pytest.approx(0.03)
    assert math.isnan(intervals.holm([0.01, math.nan])[1])
    assert intervals.holm([math.nan]).tolist() == pytest.approx([math.nan], nan_ok=True)


def test_correlation_by_hand() -> None:
    # deviations (-1, 0, 1) and (-1, 1, 0): 1 / sqrt(2 x 2)
    assert intervals.correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert math.isnan(intervals.correlation([1, 2], [1, 3]))
    assert math.isnan(intervals.correlation([1, 2, 3], [5, 5, 5]))


def test_the_arithmetic_is_scipys_and_statsmodels() -> None:
    """What is written out here for its speed, against the slow functions of others."""
    from scipy import stats
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

    rng = np.random.default_rng(3)
    for n in (2, 3, 8, 30):
        sample, other = rng.normal(0.3, 1, (2, n))
        assert intervals.paired_t(sample) == pytest.approx(stats.ttest_1samp(sample, 0).pvalue)
        if n > 2:
            assert intervals.correlation(sample, other) == pytest.approx(stats.pearsonr(sample, other).statistic)
        p = rng.uniform(0, 0.2, n).round(2)
        assert intervals.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
        expected = proportion_confint(n // 2, n, method="wilson")
        assert proportions.wilson(n // 2, n) == pytest.approx(expected)


def compared(lines: list[tuple[float, float, float, float]], family: int = 1) -> intervals.Differences:
    """Of (difference, standard error at 4 degrees of freedom, p, p Holm) of each comparison."""
    difference, se, p, adjusted = np.array(lines).T
    arrays = {name: np.zeros(len(lines)) for name in ("low", "high", "sd", "p_flip", "rho")}
    own = {"difference": difference, "se": se, "p_t": p, "p_holm": adjusted, "df": np.full(len(lines), 4.0)}
    return intervals.Differences(**arrays, **own, family=family)


def test_outcomes_by_hand() -> None:
    nan = math.nan
    found = compared(
        [
            (0.10, 0.018, 0.005, 0.01),
            (-0.10, 0.018, 0.005, 0.01),
            (0.02, 0.009, 0.09, 0.18),  # t = 3.33 from the margin: one-sided p .0145
            (0.02, 0.015, 0.25, 0.5),  # t = 2: .058
            (0.01, 0.002, 0.007, 0.01),  # smaller than the margin, and yet a difference
            (0.03, 0.0, nan, nan),  # the same in every seed
            (nan, nan, nan, nan),
        ]
    )
    p = intervals.equivalence(found, 0.05)
    one_sided = [0.99498, 0.99498, 0.014508, 0.058058, 0.0000187]  # scipy.stats.t.sf((.05 - |d|) / se, 4)
    assert p[:5] == pytest.approx(np.minimum(intervals.holm(one_sided), 1), abs=1e-4)
    assert np.isnan(p[5:]).all()
    alone = [
        intervals.outcomes(compared([line]), 0.05)[0].value
        for line in [(0.02, 0.009, 0.09, 0.18), (0.02, 0.015, 0.25, 0.5)]
    ]
    assert alone == ["equivalent", "inconclusive"]
    expected = ["better", "worse", "inconclusive", "inconclusive", "better", "zero variance", "not compared"]
    assert [outcome.value for outcome in intervals.outcomes(found, 0.05)] == expected  # Holm: .0145 x 4 > .05
    assert [outcome.value for outcome in intervals.outcomes(found)] == expected
    smaller = [outcome.value for outcome in intervals.outcomes(found, 0.05, smaller_is_better=True)]
    assert smaller == ["worse", "better", "inconclusive", "inconclusive", "worse", "zero variance", "not compared"]
    within = [verdict.within for verdict in intervals.verdicts(found, 5, 0.05)]
    assert within == [False, False, False, False, True, False, False]
    assert str(intervals.verdicts(found, 5, 0.05)[4]) == "better, by less than the margin (±0.05)"
    # At the level of an early look the same numbers say less.
    early = [outcome.value for outcome in intervals.outcomes(found, 0.05, level=0.0056)]
    assert early[:2] == ["inconclusive", "inconclusive"]


def test_contrasts_join_the_family_of_the_arms() -> None:
    values = np.array([[0.50, 0.60, 0.51, 0.59], [0.52, 0.63, 0.55, 0.60], [0.49, 0.58, 0.50, 0.61]])
    weights = [[0, 1, -1, 0], [1, -1, -1, 1]]
    found = intervals.differences(values, 0, contrasts=weights)
    paired = values[:, 1] - values[:, 2]
    assert found.difference[4] == pytest.approx(paired.mean())
    assert (found.low[4], found.high[4]) == pytest.approx(intervals.t_interval(paired))
    assert found.p_t[4] == pytest.approx(intervals.paired_t(paired))
    assert found.rho[4] == pytest.approx(intervals.correlation(values[:, 1], values[:, 2]))
    assert found.difference[5] == pytest.approx((values @ weights[1]).mean())
    assert np.isnan(found.rho[5])
    assert found.family == 5
    known = [1, 2, 3, 4, 5]
    assert found.p_holm[known] == pytest.approx(intervals.holm(found.p_t[known]))
    alone = intervals.differences(values, 0)
    assert np.isnan(alone.difference[0])
    assert alone.difference[1:] == pytest.approx(found.difference[1:4])
    assert (alone.p_holm[1:] <= found.p_holm[1:4]).all()


def test_a_contrast_with_an_incomplete_arm_is_not_made_and_still_counts() -> None:
    values = np.array([[0.5, 0.6, 0.55], [0.52, 0.63, np.nan], [0.49, 0.57, 0.56]])
    found = intervals.differences(values, 0, contrasts=[[0, 1, -1]])
    assert np.isnan(found.difference[2:]).all()
    assert found.family == 3
    assert found.p_holm[1] == pytest.approx(3 * found.p_t[1])


def test_the_largest_difference_is_the_farther_end() -> None:
    assert intervals.largest_difference(-0.03, 0.01) == 0.03
    assert intervals.largest_difference(0.001, 0.04) == 0.04


@pytest.mark.parametrize("n", [3, 5])
def test_the_paired_interval_covers_95_percent(n: int) -> None:
    """3,000 studies of two arms whose seeds are correlated (rho .8) and whose true difference is .05."""
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(3000):
        luck = rng.normal(0, 0.04, n)
        arms = np.stack([0.6 + luck + rng.normal(0, 0.02, n), 0.65 + luck + rng.normal(0, 0.02, n)], axis=1)
        low, high = intervals.t_interval(arms[:, 1] - arms[:, 0])
        hits += low <= 0.05 <= high
    assert 0.93 < hits / 3000 < 0.97


def test_the_shape_is_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(seeds, arms\)"):
        intervals.means([0.1, 0.2])
