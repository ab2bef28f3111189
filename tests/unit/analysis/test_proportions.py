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
def test_sign_flips_of_single_objects_are_mcnemars_test(only_first: int, only_second: int, p: float) -> None:
    """Where each object has a picture of its own; by hand, the two tails of a binomial distribution."""
    first = [[True] * 10 + [True] * only_first + [False] * only_second + [False] * 5]
    second = [[True] * 10 + [False] * only_first + [True] * only_second + [False] * 5]
    pictures = np.arange(len(first[0]))
    assert proportions.sign_flip(first, second, pictures) == pytest.approx(p)
    with pytest.raises(ValueError, match="same objects"):
        proportions.sign_flip(first, [second[0][1:]], pictures)


def test_sign_flips_of_pictures_by_hand() -> None:
    """Differences of 3, 2 and -1 hits: of 8 patterns |3+2-1| = 4 and |3+2+1| = 6, each twice, reach 4."""
    first, second = [[True] * 5 + [False]], [[False] * 5 + [True]]
    assert proportions.sign_flip(first, second, [0, 0, 0, 1, 1, 2]) == pytest.approx(0.5)
    assert proportions.sign_flip(first, second, [0, 0, 0, 0, 0, 0]) == 1
    assert np.isnan(proportions.sign_flip(np.empty((1, 0)), np.empty((1, 0)), []))


def test_passes_are_averaged_before_a_sign_is_flipped() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 60)) < np.array([0.7, 0.5])[:, None, None]
    pictures = np.arange(60) // 2
    once = proportions.sign_flip(first, second, pictures)
    assert proportions.sign_flip(first.repeat(20, axis=0), second.repeat(20, axis=0), pictures) == pytest.approx(once)
    assert proportions.sign_flip(first.repeat(3, axis=0), second.repeat(2, axis=0), pictures) == pytest.approx(once)


def test_the_distribution_of_many_pictures_is_exact() -> None:
    """14 pictures by enumeration; 400 by the normal distribution, which they are near."""
    from analysis.stats import intervals

    rng = np.random.default_rng(1)
    pictures = np.repeat(np.arange(14), 3)
    first, second = rng.random((2, 4, 42)) < 0.5
    differences = (first.sum(0) - second.sum(0)).reshape(14, 3).sum(1)
    assert proportions.sign_flip(first, second, pictures) == pytest.approx(intervals.sign_flip(differences))
    many = rng.random((2, 4, 1200)) < np.array([0.52, 0.5])[:, None, None]
    differences = (many[0].sum(0) - many[1].sum(0)).reshape(400, 3).sum(1)
    z = (abs(differences.sum()) - 1) / math.sqrt((differences**2).sum())
    p = math.erfc(z / math.sqrt(2))
    assert proportions.sign_flip(*many, np.repeat(np.arange(400), 3)) == pytest.approx(p, abs=0.002)


@pytest.mark.parametrize("passes", [1, 4])
def test_objects_that_fail_together_make_no_verdict(passes: int) -> None:
    """1,000 pairs of equally good trainings on a list of 12, 24 and 28 pictures of one, two and three objects.

    What a network makes of a condition, and of a picture, holds for its objects: McNemar's test of single objects, and
    with several passes the flips of single pictures, find a difference too often.
    """
    rng = np.random.default_rng(2)
    of = np.repeat(np.arange(64), [1] * 12 + [2] * 24 + [3] * 28)
    pictures = (of + 64 * np.arange(passes)[:, None]).ravel()
    alone = np.arange(len(of))
    found: dict[str, list[float]] = {"conditions": [], "objects": [], "pictures": []}
    for _ in range(1000):
        ease = rng.normal(0.25, 0.7, len(of))
        condition = rng.normal(0, 1, (2, 1, 64))[..., of]
        picture = rng.normal(0, 1, (2, passes, 64))[..., of]
        own = rng.normal(0, 1, (2, passes, len(of)))
        first, second = math.sqrt(0.3) * (condition + picture) + math.sqrt(0.4) * own + ease > 0
        found["conditions"].append(proportions.sign_flip(first, second, of))
        found["objects"].append(proportions.sign_flip(first[:1], second[:1], alone))
        found["pictures"].append(proportions.sign_flip(first.reshape(1, -1), second.reshape(1, -1), pictures))
    false = {unit: float(np.mean(np.array(p) < 0.05)) for unit, p in found.items()}
    assert 0.01 < false["conditions"] <= 0.06, false
    assert false["objects"] > 0.065, false
    assert false["pictures"] > 0.1 or passes == 1, false


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
