"""KID: the estimate against scikit-learn's kernel, and the standard error against what repeated draws do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from runners.evaluation import kernel_distance
from runners.evaluation.kernel_distance import kernel_distance as kid


def by_sklearn(x: np.ndarray, y: np.ndarray) -> float:
    xx, yy, xy = polynomial_kernel(x), polynomial_kernel(y), polynomial_kernel(x, y)  # (x.y / D + 1)^3 is its default
    n, m = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def draws(rng: np.random.Generator, images: int, shift: float = 0.0) -> np.ndarray:
    """Features as a network's after its rectifier: skewed, correlated, 40 of them."""
    mix = np.random.default_rng(7).normal(size=(40, 40)) / 6
    return np.maximum(rng.normal(size=(images, 40)) @ mix + 0.3 + shift, 0)


def test_the_estimate_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = draws(rng, 37), draws(rng, 52, 0.2)
    found = kid(x.astype(np.float32), y.astype(np.float32))
    assert found.value == pytest.approx(by_sklearn(x, y), rel=1e-5)
    assert (found.generated, found.real) == (37, 52)


def test_two_images_of_each_kind_by_hand():
    """One feature: the kernel is (x y + 1)^3. Generated 0 and 1, real 2 and 3: 1 + 343 - 2 (1 + 1 + 27 + 64) / 4."""
    found = kid(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert found.value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)
    assert np.isnan(found.standard_error)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = draws(rng, 60), draws(rng, 41, 0.1)
    whole = kid(x, y)
    monkeypatch.setattr(kernel_distance, "BLOCK", 16)
    small = kid(x, y)
    assert small.value == pytest.approx(whole.value, rel=1e-10)
    assert small.standard_error == pytest.approx(whole.standard_error, rel=1e-10)


def test_the_second_order_terms_by_brute_force():
    """Means over all pairs, triples and quadruples of different images."""
    rng = np.random.default_rng(2)
    k = polynomial_kernel(draws(rng, 6))
    n = range(6)
    pairs = [k[a, b] ** 2 for a in n for b in n if a != b]
    triples = [k[a, b] * k[a, c] for a in n for b in n for c in n if len({a, b, c}) == 3]
    fours = [k[a, b] * k[c, d] for a in n for b in n for c in n for d in n if len({a, b, c, d}) == 4]
    sums = k - np.diag(np.diag(k))
    found = kernel_distance._centred(kernel_distance._Sums(sums.sum(1), sums.sum(0), float((sums**2).sum())))
    assert found == pytest.approx(np.mean(pairs) - 2 * np.mean(triples) + np.mean(fours))
    between = polynomial_kernel(draws(rng, 4), draws(rng, 5))
    x, y = range(4), range(5)
    same_x = [between[a, b] * between[a, d] for a in x for b in y for d in y if b != d]
    same_y = [between[a, b] * between[c, b] for a in x for c in x for b in y if a != c]
    none = [between[a, b] * between[c, d] for a in x for c in x for b in y for d in y if a != c and b != d]
    sums = kernel_distance._Sums(between.sum(1), between.sum(0), float((between**2).sum()))
    right = np.mean(between**2) - np.mean(same_x) - np.mean(same_y) + np.mean(none)
    assert kernel_distance._centred_between(sums) == pytest.approx(right)


def repeated(images: tuple[int, int], shift: float, times: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    found = [kid(draws(rng, images[0], shift), draws(rng, images[1])) for _ in range(times)]
    rows = np.array([(one.value, one.standard_error, one.standard_error_if_alike) for one in found])
    return rows[:, 0], rows[:, 1], rows[:, 2]


@pytest.mark.parametrize("images", [(50, 50), (150, 150), (60, 200)])
def test_standard_errors_of_images_of_one_distribution(images: tuple[int, int]):
    """The estimate is degenerate. 400 draws know their deviation to 4 %; the jackknife alone is 1.4 times as large."""
    values, errors, alike = repeated(images, 0.0)
    sd = values.std(ddof=1)
    assert abs(values.mean()) < 3 * sd / 20  # no bias, however few images
    assert 0.9 < alike.mean() / sd < 1.1
    assert 0.93 <= (np.abs(values) <= 1.96 * alike).mean() <= 0.97
    assert 0.88 < errors.mean() / sd < 1.15
    assert (np.abs(values) <= 1.96 * errors).mean() >= 0.95


@pytest.mark.parametrize(("images", "shift"), [((100, 100), 0.1), ((60, 200), 0.2), ((120, 60), 0.3), ((60, 60), 1.0)])
def test_standard_errors_of_images_of_two_distributions(images: tuple[int, int], shift: float):
    """From KIDs of about their standard deviation to many times that; their mean over the draws is the truth."""
    values, errors, _ = repeated(images, shift)
    assert 0.87 < errors.mean() / values.std(ddof=1) < 1.13
    assert 0.9 <= (np.abs(values - values.mean()) <= 1.96 * errors).mean() <= 0.98


def test_no_number_without_images_or_with_a_feature_that_is_none():
    few, enough = np.ones((1, 3)), np.arange(12.0).reshape(4, 3)
    assert np.isnan(kid(few, enough).value)
    assert np.isnan(kid(np.where(enough == 5, np.nan, enough), enough).value)
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        kid(enough, enough[:, :2])
    assert kid(enough * 0, enough * 0).value == kid(enough * 0, enough * 0).standard_error == 0
