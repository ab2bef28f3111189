"""Shares of objects: numbers computed by hand, statsmodels, and a simulation of what 95 % promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import proportions


def test_unpaired_noise_by_hand() -> None:
    # .76 and .775 of 72 objects: sqrt((.1824 + .174375) / 72) = .0703931, times 1.959964
    assert proportions.unpaired_noise(0.76, 0.775, 72) == pytest.approx(0.137968, abs=1e-6)
    assert math.isnan(proportions.unpaired_noise(0.76, 0.775, 0))


def test_wilson_by_hand() -> None:
    # k = 8, n = 10, z^2 = 3.841459: centre (8 + 1.920729) / 13.841459 = .716740, half width .226577
    assert proportions.wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-5)
    assert proportions.wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(proportions.wilson(0, 0)).all()


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (0, 6, 2 / 64), (1, 8, 20 / 512), (3, 3, 1.0), (2, 5, 2 * (1 + 7 + 21) / 128)],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    first = [True] * 10 + [True] * only_first + [False] * only_second + [False] * 5
    second = [True] * 10 + [False] * only_first + [True] * only_second + [False] * 5
    assert proportions.mcnemar(first, second) == pytest.approx(p)
    with pytest.raises(ValueError, match="one boolean per object"):
        proportions.mcnemar(first, second[1:])


def test_the_bootstrap_of_a_difference_by_hand() -> None:
    # 400 objects, 60 hit by the first alone, 20 by the second alone: mean .1, variance (.2 - .01) / 400
    first = [[True] * 60 + [False] * 20 + [True] * 320]
    second = [[False] * 60 + [True] * 20 + [True] * 320]
    low, high = proportions.bootstrap_difference(first, second)
    half = 1.959964 * math.sqrt(0.19 / 400)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.004)
    assert (low, high) == proportions.bootstrap_difference(first, second)  # seeded
    assert proportions.bootstrap_difference(second, first) == pytest.approx((-high, -low))
    assert np.isnan(proportions.bootstrap_difference(np.empty((1, 0)), np.empty((1, 0)))).all()
    with pytest.raises(ValueError, match="same objects"):
        proportions.bootstrap_difference(first, [second[0][1:]])


def test_passes_stay_with_their_object() -> None:
    """Twenty equal passes tell nothing beyond one; resampling them too would narrow the interval."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 100)) < 0.6
    once = proportions.bootstrap_difference(first, second)
    assert proportions.bootstrap_difference(first.repeat(20, axis=0), second.repeat(20, axis=0)) == pytest.approx(once)


def test_the_bootstrap_covers_95_percent() -> None:
    """200 pairs of trainings on 120 objects of different difficulty, 3 passes each; the true difference is .1."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        ease = rng.beta(2, 2, 120)
        first = rng.random((3, 120)) < 0.2 + 0.7 * ease
        second = rng.random((3, 120)) < 0.1 + 0.7 * ease
        low, high = proportions.bootstrap_difference(first, second)
        hits += low <= 0.1 <= high
    assert 0.9 < hits / 200 < 0.985
