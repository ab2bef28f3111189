"""Precision, recall, density and coverage: by hand on a line, against scikit-learn, and in known cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from runners.evaluation import neighbours as module
from runners.evaluation.neighbours import neighbours, radii


def line(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def test_by_hand_on_a_line():
    """Real 0, 1, 2, 3, 4, 20: the 3rd neighbours lie 3, 2, 2, 2, 3, 18 away, the 5th 20, 19, 18, 17, 16, 20.

    Generated 0.5, 6.5, 30, 31, 32: of the real balls, [-3, 3] to [1, 7] and [2, 38]; so all but none lie in one ball:
    .5 in [-3, 3], 6.5 in [1, 7], the others in [2, 38]. Their own 3rd neighbours: 30.5, 24.5, 23.5, 24.5, 25.5 away.
    """
    found = neighbours(line(0.5, 6.5, 30, 31, 32), line(0, 1, 2, 3, 4, 20))
    assert found.precision == 1
    assert found.recall == 1
    # balls of the 5th neighbour: [-20, 20] [-18, 20] [-16, 20] [-14, 20] [-12, 20] [0, 40]
    assert found.density == pytest.approx((6 + 6 + 1 + 1 + 1) / (5 * 5))
    assert found.coverage == 1


def test_samples_of_one_place_are_precise_and_recall_nothing_else():
    real = line(*range(0, 40, 4), 100, 101, 102, 103)
    generated = line(100.2, 100.4, 100.6, 100.8, 101.2, 101.4)
    found = neighbours(generated, real)
    assert found.precision == 1
    assert found.recall == pytest.approx(3 / 14)  # the ball of 100.2 reaches to 100, that of 101.4 to 101 and 102
    far = neighbours(line(-500, -501, -502, -503), real)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def by_sklearn(x: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]


def test_against_a_search_by_scikit_learn(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 5)) * 0.8 + 0.3, rng.normal(size=(90, 5))
    distance = np.sqrt(((x[:, None] - y) ** 2).sum(-1))
    real_3, real_5, own_3 = by_sklearn(y, 3), by_sklearn(y, 5), by_sklearn(x, 3)
    expected = (
        (distance <= real_3).any(1).mean(),
        (distance <= own_3[:, None]).any(0).mean(),
        (distance <= real_5).sum() / (5 * 70),
        (distance <= real_5).any(0).mean(),
    )
    for pairs in (1 << 20, 300):  # one piece, and three rows at a time
        monkeypatch.setattr(module, "PAIRS", pairs)
        found = neighbours(x.astype(np.float32), y.astype(np.float32))
        assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected)
        np.testing.assert_allclose(radii(y, (3, 5))[5], real_5**2)


def test_like_distributions_have_density_one():
    rng = np.random.default_rng(1)
    found = neighbours(rng.normal(size=(400, 4)), rng.normal(size=(400, 4)))
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage > 0.9  # 1 - 2^-5 = .97 in the limit


def test_copies_do_not_shrink_their_own_ball():
    """Four equal images: the 3rd neighbour of each is a copy, 0 away, and the image itself is none."""
    assert radii(line(1, 1, 1, 1, 9), (3,))[3].tolist() == [0, 0, 0, 0, 64]


@pytest.mark.parametrize(("generated", "real", "missing"), [(3, 9, "pr"), (9, 3, "prdc"), (9, 5, "dc"), (1, 9, "pr")])
def test_too_few_images_have_no_number(generated: int, real: int, missing: str):
    rng = np.random.default_rng(2)
    found = neighbours(rng.normal(size=(generated, 2)), rng.normal(size=(real, 2)))
    for name in ("precision", "recall", "density", "coverage"):
        assert np.isnan(getattr(found, name)) == (name[0] in missing), name


def test_features_that_are_no_numbers():
    bad = np.full((9, 2), np.inf)
    assert np.isnan(neighbours(bad, np.eye(9)[:, :2]).precision)
    with pytest.raises(ValueError, match=r"\(9, 2\) and \(9, 9\)"):
        neighbours(bad, np.eye(9))
