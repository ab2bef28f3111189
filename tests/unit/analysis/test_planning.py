"""Plans: power, the seeds that a verdict takes, and how well a spread is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import intervals, planning


@pytest.mark.parametrize(("n", "alpha", "effect"), [(2, 0.05, 1), (3, 0.05, 2), (5, 0.025, 1.68), (34, 0.05, 0.5)])
def test_the_power_is_that_of_statsmodels_where_that_converges(n: int, alpha: float, effect: float) -> None:
    from statsmodels.stats.power import TTestPower

    assert planning.power_of_t(effect, n, alpha) == pytest.approx(TTestPower().power(effect, n, alpha), abs=1e-8)
    assert planning.power_of_t(0, n, alpha) == pytest.approx(alpha, abs=1e-6)


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (3, 11), (4, 29), (5, 2)])
def test_the_detectable_difference_is_found_in_eight_of_ten(n: int, comparisons: int) -> None:
    """Also where statsmodels' solver stops at 10.0 (n = 3, 11 comparisons) or at 4.56 (n = 4, 29)."""
    effect = planning.detectable_difference(1, n, comparisons=comparisons)
    samples = np.random.default_rng(n).normal(effect, 1, (20_000, n))
    found = np.mean([intervals.paired_t(sample) < 0.05 / comparisons for sample in samples])
    assert found == pytest.approx(0.8, abs=0.012)  # four standard errors


def test_detectable_difference_and_its_inverse() -> None:
    # Cohen 1988, paired t test, two-sided .05, power .8: n = 5 sees d = 1.68, n = 34 sees d = .50
    assert planning.detectable_difference(1, 5) == pytest.approx(1.68, abs=0.005)
    assert planning.detectable_difference(0.1, 34) == pytest.approx(0.0495, abs=0.0005)
    assert math.isnan(planning.detectable_difference(1, 1))


def test_a_spread_of_few_seeds_is_hardly_known() -> None:
    # chi square, 2 df: .0506 and 7.378; 10 df: 3.247 and 20.48
    assert planning.sd_interval(1, 2) == pytest.approx((0.5207, 6.2847), abs=1e-4)
    assert planning.sd_interval(0.04, 10) == pytest.approx((0.04 * 0.6987, 0.04 * 1.7549), abs=1e-5)
    assert all(math.isnan(end) for end in planning.sd_interval(1, 0))


def test_differences_from_one_reference_say_less_together() -> None:
    """The pooled variance of k differences with one reference varies as that of `pooled_df` degrees of freedom."""
    rng, n, k = np.random.default_rng(0), 3, 4
    scores = rng.normal(size=(20_000, n, k + 1))
    pooled = (scores[:, :, 1:] - scores[:, :, :1]).var(axis=1, ddof=1).mean(axis=1)
    seen = 2 * pooled.mean() ** 2 / pooled.var()
    assert seen == pytest.approx(planning.pooled_df(n, k), rel=0.05)
    assert planning.pooled_df(3, 1) == 2
    assert planning.pooled_df(3, 0) == 0


@pytest.mark.parametrize(("n", "comparisons"), [(3, 2), (5, 2), (5, 4)])
def test_the_size_printed_from_a_pilot_is_found_in_eight_of_ten(n: int, comparisons: int) -> None:
    """2,000 pilots estimate the spread, and a study of the printed size follows each: 80 % on average. As if the
    pilot's spread were the true one, it is .67 at n = 3."""
    rng, found, promised = np.random.default_rng(n + comparisons), [], []
    df = planning.pooled_df(n, comparisons)
    for _ in range(2000):
        pilot = rng.normal(size=(n, comparisons + 1))
        sd = math.sqrt((pilot[:, 1:] - pilot[:, :1]).var(axis=0, ddof=1).mean())
        sizes = [planning.detectable_difference(sd, n, comparisons=comparisons, df=one) for one in (df, np.inf)]
        study = rng.normal(size=n) - rng.normal(size=n)
        for size, share in zip(sizes, (found, promised), strict=True):
            share.append(intervals.paired_t(study + size) < 0.05 / comparisons)
    assert 0.75 <= np.mean(found) <= 0.85, f"{np.mean(found):.1%} of studies find the printed size"
    assert np.mean(promised) < np.mean(found) - 0.02, f"{np.mean(promised):.1%}, taking the spread for the true one"


@pytest.mark.parametrize(("margin", "n"), [(1.5, 5), (1.0, 10), (0.6, 30)])
def test_the_power_of_equivalence_is_simulated(margin: float, n: int) -> None:
    samples = np.random.default_rng(n).normal(size=(20_000, n))
    mean, se = samples.mean(axis=1), samples.std(axis=1, ddof=1) / np.sqrt(n)
    from scipy import stats

    found = np.mean(np.abs(mean) + stats.t.ppf(0.95, n - 1) * se < margin)
    assert planning.power_of_equivalence(margin, n) == pytest.approx(found, abs=0.012)


def test_seeds_to_decide_find_a_difference_and_its_absence() -> None:
    """A difference of 1 sd takes 10 seeds (statsmodels: 9.94), its absence 11 by two one-sided tests."""
    assert planning.power_of_t(1, 10) >= 0.8 > planning.power_of_t(1, 9)
    assert planning.power_of_equivalence(1, 11) >= 0.8 > planning.power_of_equivalence(1, 10)
    assert planning.seeds_to_decide(1, 1) == 11
    assert planning.seeds_to_decide(1, 1, comparisons=2) > 11
    assert planning.seeds_to_decide(0.5, 0.0) == 2
    assert planning.seeds_to_decide(0.001, 1) is None
    assert planning.seeds_to_decide(math.nan, 1) is None


def test_plans_pay_for_the_number_of_comparisons() -> None:
    assert planning.detectable_difference(1, 5, comparisons=2) == pytest.approx(2.05, abs=0.005)


@pytest.mark.parametrize(
    ("k", "expected"),
    # 1 / sqrt(pi), 3 / (2 sqrt(pi)) (Jones 1948); Tippett 1925 and Teichroew 1956 for 10 and 20
    [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (10, 1.53875), (20, 1.86748)],
)
def test_the_expected_maximum_of_k_normals(k: int, expected: float) -> None:
    assert planning.expected_maximum(k) == pytest.approx(expected, abs=1e-5)
    assert planning.selection_bias(k, 0.04) == pytest.approx(0.04 * expected, abs=1e-6)


def test_the_best_of_two_hundred_is_simulated() -> None:
    best = np.random.default_rng(0).normal(size=(20_000, 200)).max(axis=1)
    assert planning.expected_maximum(200) == pytest.approx(best.mean(), abs=0.015)
    assert math.isnan(planning.expected_maximum(0))
