"""The split of a score's variance, and the prediction of a published value."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.stats import intervals, variance


def test_the_split_by_hand():
    """Two trainings of one arm, two passes: means .5 and .7, so 2 x .02 between them; within .02 and .02."""
    found = variance.split([[[0.4, 0.6]], [[0.6, 0.8]]])
    assert found.sampling == pytest.approx(np.sqrt(0.02))
    assert found.training == pytest.approx(np.sqrt((0.04 - 0.02) / 2))
    assert (found.passes, found.df) == (2, 1)
    assert found.sd(1) == pytest.approx(np.sqrt(0.03))
    assert found.sd(2) == pytest.approx(np.sqrt(0.02))
    assert found.share() == pytest.approx(2 / 3)
    assert found.share(2) == pytest.approx(1 / 2)


def test_a_negative_estimate_counts_as_none():
    found = variance.split([[[0.4, 0.6]], [[0.6, 0.4]]])
    assert found.training == 0
    assert found.share() == 1
    assert found.share_interval(4)[1] == pytest.approx(1)


def test_one_pass_or_one_seed_has_no_split():
    assert variance.split(np.ones((3, 2, 1))) is None
    assert variance.split(np.ones((1, 2, 4))) is None


def test_incomplete_trials_are_left_out():
    whole = np.random.default_rng(0).normal(size=(3, 2, 4))
    holed = np.concatenate([whole, np.full((1, 2, 4), np.nan)])
    assert variance.split(holed) == variance.split(whole)


@pytest.mark.parametrize(("training", "sampling"), [(0.011, 0.029), (0.03, 0.01)])
def test_the_interval_of_the_share_covers_it(training, sampling):
    """2,000 studies of three arms, three seeds, four passes."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(2000):
        scores = rng.normal(0, training, (3, 3, 1)) + rng.normal(0, sampling, (3, 3, 4))
        found = variance.split(scores)
        true = sampling**2 / (training**2 + sampling**2)
        covered.append(found.low <= true <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_conditions_by_hand():
    """Two conditions of one object, one hit: p = .5, rest -+.5: sqrt(2 / 1 x .5) / 2 = .5."""
    assert variance.of_conditions([1, 0], [1, 1]) == pytest.approx(0.5)
    assert np.isnan(variance.of_conditions([1], [1]))
    hits = np.random.default_rng(0).binomial(1, 0.6, 10_000)
    assert variance.of_conditions(hits, np.ones(10_000)) == pytest.approx(np.sqrt(0.24 / 10_000), rel=0.02)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_an_exact_repetition_is_predicted(n):
    """4,000 reports of one training each, of the very setting: the interval of the mean holds ever fewer of them."""
    rng, of_mean, predicted = np.random.default_rng(n), [], []
    for _ in range(4000):
        own = rng.binomial(72 * 4, np.clip(0.6 + rng.normal(0, 0.03, n), 0, 1)) / (72 * 4)
        theirs = rng.binomial(72, np.clip(0.6 + rng.normal(0, 0.03), 0, 1)) / 72
        low, high = intervals.t_interval(own)
        of_mean.append(low <= theirs <= high)
        half = variance.prediction_half_width(float(own.std(ddof=1)), n, theirs, 72)
        predicted.append(abs(theirs - own.mean()) <= half)
    assert np.mean(of_mean) < 0.8
    assert 0.94 <= np.mean(predicted) <= 0.99


def test_the_prediction_by_hand():
    # t(.975, 2) = 4.302653: (.086053)^2 x 4 / 3 + 1.959964^2 x .24 / 72
    assert variance.prediction_half_width(0.02, 3, 0.6, 72) == pytest.approx(0.150593, abs=1e-5)
    assert variance.prediction_half_width(0.02, 3, 0.6, np.nan) == pytest.approx(0.0993654, abs=1e-5)
    assert np.isnan(variance.prediction_half_width(0.02, 1, 0.6, 72))
