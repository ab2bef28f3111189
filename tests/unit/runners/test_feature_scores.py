"""Copies, diversity and FID in features: by hand, in closed form, and what noise does to each."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from runners.evaluation import copies, quality
from runners.evaluation.diversity import diversity, square, views
from runners.evaluation.frechet import frechet

# ---------------------------------------------------------------- copies


def test_distance_to_the_nearest_reference(monkeypatch):
    rng = np.random.default_rng(0)
    x, references = rng.normal(size=(7, 3)), rng.normal(size=(20, 3))
    direct = np.sqrt(((x[:, None] - references) ** 2).mean(-1)).min(1)
    np.testing.assert_allclose(copies.nearest(x, references), direct)
    monkeypatch.setattr(copies, "CHUNK", 6)
    np.testing.assert_allclose(copies.nearest(x.astype(np.float32), references.astype(np.float32)), direct, rtol=1e-5)


def test_the_space_stands_in_the_names():
    found = copies.memorisation(np.array([0.1, 0.9]), np.zeros(2, int), {0: np.linspace(0.4, 1, 19)}, "_features")
    assert found == {
        "nearest_features/generated": pytest.approx(0.5),
        "nearest_features/held_out_matched": pytest.approx(0.7),
        "memorised_features_matched": 0.5,
        "memorised_features_images": 2,
    }


def test_small_classes_are_compared_with_all_images():
    samples, enough = np.array([0, 1, 1]), np.repeat([0, 1], 19)
    assert [group.tolist() for group in copies.matched(samples, enough)] == [samples.tolist(), enough.tolist()]
    short = enough[:-1]
    assert [set(group.tolist()) for group in copies.matched(samples, short)] == [{0}, {0}]
    assert [len(group) for group in copies.matched(samples, short)] == [3, 37]
    assert set(copies.matched(samples[:1], short)[0].tolist()) == {0}  # class 0 alone is asked, and has 19


# ---------------------------------------------------------------- diversity


def test_views_are_made_of_half_the_pixels_each():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, 1, 1], image[0, 1, 2] = 100, 60  # an even and an odd square
    even, odd = (view[0, :, :, 0].tolist() for view in views(image))
    assert even == [[0, 25 * 2, 0, 0], [25 * 2, 100, 25, 0], [0, 25, 0, 0], [0, 0, 0, 0]]
    assert odd[1] == [0, 15, 60, 15 * 2]
    flat = np.full((2, 5, 6, 3), 77, np.uint8)
    assert all((view == flat).all() for view in views(flat))


def test_diversity_by_hand():
    """Both views alike: draws 0, 3 of one feature lie 3 apart, real ones 0, 1, 2 in root mean square sqrt(2)."""
    draws = np.array([[[0.0], [5.0]], [[3.0], [5.0]]])
    real = np.array([[0.0], [1.0], [2.0]])
    found = diversity((draws, draws), [(real, real), (real[:1], real[:1])])
    assert found.generated == pytest.approx(np.sqrt((9 + 0) / 2))
    assert found.real == pytest.approx(np.sqrt(2))
    assert found.ratio == pytest.approx(3 / np.sqrt(2))  # of the first condition, which has real images
    assert found.conditions == 1
    lonely = diversity((draws, draws), [(real[:1], real[:1])] * 2)
    assert np.isnan([lonely.real, lonely.ratio]).all()
    assert lonely.conditions == 0
    with pytest.raises(ValueError, match=r"\(2, 2, 1\).*1 real conditions"):
        diversity((draws, draws), [(real, real)])


def test_the_square_is_the_mean_over_pairs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 6, 4))
    pairs = [((a[i] - a[j]) * (b[i] - b[j])).mean() for i in range(6) for j in range(i)]
    assert square(a, b) == pytest.approx(np.mean(pairs))
    assert np.isnan(square(a[:1], b[:1]))


def test_noise_is_no_diversity_even_in_pixels():
    """Identical pictures plus noise of standard deviation .1: .14 apart in root mean square, 0 in views that share no
    pixel. Pictures that differ lie as far apart as without noise."""
    rng = np.random.default_rng(3)
    pictures = rng.uniform(0.3, 0.7, (1, 8, 8, 3)).repeat(4, 1).repeat(4, 2)  # 32x32 of 4x4 patches
    copies_of_one = ((pictures + rng.normal(0, 0.1, (24, 32, 32, 3))) * 255).round().astype(np.uint8)
    assert quality.diversity(copies_of_one[:4, None]) == pytest.approx(0.14, abs=0.005)
    a, b = (view.reshape(24, -1) / 255.0 for view in views(copies_of_one))
    assert abs(square(a, b)) < 0.02 * 0.14**2
    other = rng.uniform(0.3, 0.7, (24, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    noisy = other + rng.normal(0, 0.1, other.shape)
    clean_square, noisy_square = (
        square(*(view.reshape(24, -1) / 255.0 for view in views((images * 255).round().astype(np.uint8))))
        for images in (other, noisy)
    )
    assert noisy_square == pytest.approx(clean_square, rel=0.05)


# ---------------------------------------------------------------- FID


def test_frechet_distance_of_normal_distributions_in_closed_form():
    """Samples whitened and coloured to have exactly the means and covariances of the closed form; the matrix root by
    scipy, of the product that is not symmetric."""
    rng = np.random.default_rng(4)
    means, roots = rng.normal(size=(2, 5)), rng.normal(size=(2, 5, 5))

    def exact(mean: np.ndarray, root: np.ndarray, images: int) -> np.ndarray:
        x = rng.normal(size=(images, 5))
        x -= x.mean(0)
        white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
        return white @ root.T + mean

    a, b = exact(means[0], roots[0], 40), exact(means[1], roots[1], 60)
    first, second = roots[0] @ roots[0].T, roots[1] @ roots[1].T
    root = scipy.linalg.sqrtm(first @ second).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet(a, b).value == pytest.approx(expected)
    assert frechet(a.astype(np.float32), b.astype(np.float32)).value == pytest.approx(expected, rel=1e-4)
    assert frechet(a, a + 3).value == pytest.approx(5 * 9)
    assert frechet(a, a).value == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_dependent_features_is_stable():
    """Three features that never vary, as of a rectifier that never fires, and copies of the others: the product of the
    covariances has eigenvalues that rounding brings below 0."""
    rng = np.random.default_rng(5)
    a, b = (np.concatenate([x, np.zeros((50, 3)), x], axis=1) for x in rng.normal(size=(2, 50, 3)))
    full, part = frechet(a, b), frechet(a[:, :3], b[:, :3])
    assert full.value == pytest.approx(2 * part.value)
    assert full.reason == ""


def test_frechet_distance_needs_more_images_than_features():
    few = frechet(np.zeros((5, 5)), np.zeros((50, 5)))
    assert np.isnan(few.value)
    assert few.reason == "FID of 5 features needs more than 5 images of each kind, there are 5."
    bad = frechet(np.full((50, 5), np.nan), np.zeros((50, 5)))
    assert np.isnan(bad.value)
    assert bad.reason == "A feature is not finite."
    with pytest.raises(ValueError, match=r"\(5, 5\) and \(5, 4\)"):
        frechet(np.zeros((5, 5)), np.zeros((5, 4)))
