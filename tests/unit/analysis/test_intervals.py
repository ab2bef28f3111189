"""Intervals: numbers computed by hand, printed tables of others, and a simulation of what 95 % promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from analysis.stats import intervals
from analysis.tables import factors as factorial

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


def test_unpaired_noise_by_hand() -> None:
    # .76 and .775 of 72 objects: sqrt((.1824 + .174375) / 72) = .0703931, times 1.959964
    assert intervals.unpaired_noise(0.76, 0.775, 72) == pytest.approx(0.137968, abs=1e-6)
    assert math.isnan(intervals.unpaired_noise(0.76, 0.775, 0))


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


def test_wilson_by_hand() -> None:
    # k = 8, n = 10, z^2 = 3.841459: centre (8 + 1.920729) / 13.841459 = .716740, half width .226577
    assert intervals.wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-5)
    assert intervals.wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(intervals.wilson(0, 0)).all()


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
        assert intervals.wilson(n // 2, n) == pytest.approx(expected)


def verdicts(differences: list[tuple[float, float, float, float, float]], **rule: Any) -> list[str]:
    """Of (difference, low, high, p, p Holm) of each arm."""
    difference, low, high, p, adjusted = np.array(differences).T
    filler = np.zeros(len(differences))
    return intervals.verdicts(intervals.Differences(difference, low, high, filler, p, adjusted, filler, filler), **rule)


def test_verdicts_by_hand() -> None:
    nan = math.nan
    arms = [
        (0.10, 0.05, 0.15, 0.01, 0.02),
        (-0.10, -0.15, -0.05, 0.01, 0.02),
        (0.02, 0.001, 0.039, 0.04, 0.08),  # alone it would be separated; its interval lies inside the margin
        (0.02, -0.031, 0.071, 0.3, 0.6),
        (-0.02, -0.071, 0.031, 0.3, 0.6),
        (0.01, 0.005, 0.015, 0.001, 0.01),  # smaller than the margin, and yet a difference
        (0.03, 0.03, 0.03, nan, nan),  # the same in every seed
        (nan, nan, nan, nan, nan),
    ]
    expected = ["better", "worse", "equivalent", "open", "open", "better", "no error", ""]
    assert verdicts(arms, margin=0.05) == expected
    assert verdicts(arms) == [{"equivalent": "open"}.get(verdict, verdict) for verdict in expected]
    smaller = verdicts(arms, margin=0.05, smaller_is_better=True)
    assert smaller == ["worse", "better", "equivalent", "open", "open", "worse", "no error", ""]
    assert verdicts(arms[3:5], margin=0.071) == ["open", "open"]  # the end itself does not lie inside
    assert verdicts(arms[3:5], margin=0.072) == ["equivalent", "equivalent"]


def test_the_largest_difference_is_the_farther_end() -> None:
    assert intervals.largest_difference(-0.03, 0.01) == 0.03
    assert intervals.largest_difference(0.001, 0.04) == 0.04


# --- plans -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "alpha", "effect"), [(2, 0.05, 1), (3, 0.05, 2), (5, 0.025, 1.68), (34, 0.05, 0.5)])
def test_the_power_is_that_of_statsmodels_where_that_converges(n: int, alpha: float, effect: float) -> None:
    from statsmodels.stats.power import TTestPower

    assert intervals.power_of_t(effect, n, alpha) == pytest.approx(TTestPower().power(effect, n, alpha), abs=1e-8)
    assert intervals.power_of_t(0, n, alpha) == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (3, 11), (4, 29), (5, 2)])
def test_the_detectable_difference_is_found_in_eight_of_ten(n: int, comparisons: int) -> None:
    """Also where statsmodels' solver stops at 10.0 (n = 3, 11 comparisons) or at 4.56 (n = 4, 29)."""
    effect = intervals.detectable_difference(1, n, comparisons=comparisons)
    samples = np.random.default_rng(n).normal(effect, 1, (20_000, n))
    found = np.mean([intervals.paired_t(sample) < 0.05 / comparisons for sample in samples])
    assert found == pytest.approx(0.8, abs=0.012)  # four standard errors


def test_detectable_difference_and_its_inverse() -> None:
    # Cohen 1988, paired t test, two-sided .05, power .8: n = 5 sees d = 1.68, n = 34 sees d = .50
    assert intervals.detectable_difference(1, 5) == pytest.approx(1.68, abs=0.005)
    assert intervals.detectable_difference(0.1, 34) == pytest.approx(0.0495, abs=0.0005)
    assert math.isnan(intervals.detectable_difference(1, 1))
    assert intervals.seeds_needed(0.5, 1) == 34
    assert intervals.seeds_needed(-0.5, 1) == 34
    assert intervals.seeds_needed(0.001, 1) is None
    assert intervals.seeds_needed(0.0, 1) is None
    assert intervals.seeds_needed(0.5, 0.0) == 2


def test_plans_pay_for_the_number_of_comparisons() -> None:
    # statsmodels, TTestPower().solve_power(1, alpha=.05, power=.8) = 9.94; alpha .025: 12.15
    assert intervals.seeds_needed(1, 1) == 10
    assert intervals.seeds_needed(1, 1, comparisons=2) == 13
    assert intervals.detectable_difference(1, 5, comparisons=2) == pytest.approx(2.05, abs=0.005)


@pytest.mark.parametrize(
    ("k", "expected"),
    # 1 / sqrt(pi), 3 / (2 sqrt(pi)) (Jones 1948); Tippett 1925 and Teichroew 1956 for 10 and 20
    [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (10, 1.53875), (20, 1.86748)],
)
def test_the_expected_maximum_of_k_normals(k: int, expected: float) -> None:
    assert intervals.expected_maximum(k) == pytest.approx(expected, abs=1e-5)
    assert intervals.selection_bias(k, 0.04) == pytest.approx(0.04 * expected, abs=1e-6)


def test_the_best_of_two_hundred_is_simulated() -> None:
    best = np.random.default_rng(0).normal(size=(20_000, 200)).max(axis=1)
    assert intervals.expected_maximum(200) == pytest.approx(best.mean(), abs=0.015)
    assert math.isnan(intervals.expected_maximum(0))


# --- one training an arm -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (0, 6, 2 / 64), (1, 8, 20 / 512), (3, 3, 1.0), (2, 5, 2 * (1 + 7 + 21) / 128)],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    first = [True] * 10 + [True] * only_first + [False] * only_second + [False] * 5
    second = [True] * 10 + [False] * only_first + [True] * only_second + [False] * 5
    assert intervals.mcnemar(first, second) == pytest.approx(p)
    with pytest.raises(ValueError, match="one boolean an object"):
        intervals.mcnemar(first, second[1:])


def test_the_bootstrap_of_a_difference_by_hand() -> None:
    # 400 objects, 60 hit by the first alone, 20 by the second alone: mean .1, variance (.2 - .01) / 400
    first = [[True] * 60 + [False] * 20 + [True] * 320]
    second = [[False] * 60 + [True] * 20 + [True] * 320]
    low, high = intervals.bootstrap_difference(first, second)
    half = 1.959964 * math.sqrt(0.19 / 400)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.004)
    assert (low, high) == intervals.bootstrap_difference(first, second)  # seeded
    assert intervals.bootstrap_difference(second, first) == pytest.approx((-high, -low))
    assert np.isnan(intervals.bootstrap_difference(np.empty((1, 0)), np.empty((1, 0)))).all()
    with pytest.raises(ValueError, match="same objects"):
        intervals.bootstrap_difference(first, [second[0][1:]])


def test_passes_stay_with_their_object() -> None:
    """Twenty equal passes tell nothing beyond one; resampling them too would narrow the interval."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 100)) < 0.6
    once = intervals.bootstrap_difference(first, second)
    assert intervals.bootstrap_difference(first.repeat(20, axis=0), second.repeat(20, axis=0)) == pytest.approx(once)


def test_the_bootstrap_covers_95_percent() -> None:
    """200 pairs of trainings on 120 objects of different difficulty, 3 passes each; the true difference is .1."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        ease = rng.beta(2, 2, 120)
        first = rng.random((3, 120)) < 0.2 + 0.7 * ease
        second = rng.random((3, 120)) < 0.1 + 0.7 * ease
        low, high = intervals.bootstrap_difference(first, second)
        hits += low <= 0.1 <= high
    assert 0.9 < hits / 200 < 0.985


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


# --- analysis of variance ----------------------------------------------------------------------------


def test_sums_of_squares_by_hand() -> None:
    """Two seeds x 2 x 2: cells of seed 0 are 1 2 / 3 6, of seed 1 they are 3 2 / 5 10."""
    found = factorial.analyse(np.array([[[1.0, 2], [3, 6]], [[3.0, 2], [5, 10]]]))
    # mean 4; rows 2 and 6: 8 x 4 = 32; columns 3 and 5: 8 x 1 = 8; cells 2 2 / 4 8, interaction +-1: 8 x 1 = 8;
    # seeds 3 and 5: 8; total 9+4+1+4 + 1+4+1+36 = 60; so the rest is 60 - 56 = 4
    assert [effect.squares for effect in found.effects] == pytest.approx([32, 8, 8])
    assert [effect.share for effect in found.effects] == pytest.approx([32 / 60, 8 / 60, 8 / 60])
    assert (found.seed_share, found.rest_share) == pytest.approx((8 / 60, 4 / 60))
    # rows of seed 0: 1.5 4.5, of seed 1: 2.5 7.5: interaction +-.5: 8 x .25 = 2 with 1 df, so F = 32 / 2
    assert found.effects[0].F == pytest.approx(16)  # noqa: SIM300
    # p of F(1, 1) is 1 - 2 / pi x atan(sqrt(F))
    assert found.effects[0].p == pytest.approx(1 - 2 / math.pi * math.atan(4))


@pytest.mark.parametrize("shape", [(3, 2, 3), (5, 3, 4), (2, 2, 2, 3)])
def test_sums_of_squares_against_statsmodels(shape: tuple[int, ...]) -> None:
    """Type 2 with the seed as a block; and the tests against repeated measures."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import AnovaRM, anova_lm

    values = np.random.default_rng(len(shape)).normal(size=shape)
    found = factorial.analyse(values)
    names = ["a", "b", "c"][: len(shape) - 1]
    index = pd.MultiIndex.from_product([range(size) for size in shape], names=["seed", *names])
    data = pd.Series(values.ravel(), index=index, name="y").reset_index()
    crossed = " * ".join(f"C({name})" for name in names)
    table = anova_lm(ols(f"y ~ C(seed) + {crossed}", data).fit(), typ=2)
    repeated = AnovaRM(data, "y", "seed", within=names).fit().anova_table
    total = ((values - values.mean()) ** 2).sum()
    for effect in found.effects:
        parts = [names[position] for position in effect.positions]
        assert effect.squares == pytest.approx(table.loc[":".join(f"C({part})" for part in parts), "sum_sq"])
        assert effect.share == pytest.approx(effect.squares / total)
        assert effect.F == pytest.approx(repeated.loc[":".join(parts), "F Value"])  # noqa: SIM300
        assert effect.p == pytest.approx(repeated.loc[":".join(parts), "Pr > F"])
        assert effect.df_error == repeated.loc[":".join(parts), "Den DF"]
    assert found.seed_share == pytest.approx(table.loc["C(seed)", "sum_sq"] / total)
    assert found.rest_share == pytest.approx(table.loc["Residual", "sum_sq"] / total)


def test_with_two_levels_F_is_the_square_of_the_paired_t() -> None:
    values = np.random.default_rng(7).normal(size=(4, 2, 3))
    effect = factorial.analyse(values).effects[0]
    assert effect.p == pytest.approx(intervals.differences(values.mean(axis=2)).p_t[1])


def test_one_seed_has_shares_and_no_test() -> None:
    found = factorial.analyse(np.array([[[1.0, 2], [3, 6]]]))
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)
    assert np.isnan([effect.p for effect in found.effects]).all()
    assert found.rest_share == 0
    constant = factorial.analyse(np.ones((3, 2, 2)))
    assert np.isnan([value for effect in constant.effects for value in (effect.share, effect.F, effect.p)]).all()
