"""Memorisation, diversity and denoising errors: by hand, and with networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_train import TINY, images_and_labels

from runners.ddpm import denoising, schedules
from runners.ddpm.noise import noise_digest
from runners.evaluation import copies, quality
from runners.images import Images
from runners.tasks.iclevr.labels import ABOUT

CPU = torch.device("cpu")


def flat(*levels: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def scenes(images: np.ndarray, train: int) -> Images:
    labels = images_and_labels(len(images))[1]
    split = np.arange(train), np.arange(train, len(images))
    return Images(images, labels, *split, {"validation": [("red cube",)] * 9}, "digest", ABOUT)


def test_distance_to_the_nearest_training_image():
    """Flat grays: the distance is the difference of their levels over 255."""
    distances = quality.nearest(flat(10, 100, 255), flat(0, 30, 77, 200, 255), np.array([0, 1, 3, 4]), CPU)
    np.testing.assert_allclose(distances, [10 / 255, 70 / 255, 0], atol=1e-4)


def test_chunks_do_not_matter(monkeypatch):
    images = images_and_labels(24)[0]
    whole = quality.nearest(images[:6], images, np.arange(6, 24), CPU)
    monkeypatch.setattr(quality, "CHUNK", 5)
    np.testing.assert_allclose(quality.nearest(images[:6], images, np.arange(6, 24), CPU), whole, atol=1e-5)
    direct = np.sqrt(((images[:6, None] / 255.0 - images[None, 6:] / 255.0) ** 2).mean((2, 3, 4))).min(1)
    np.testing.assert_allclose(whole, direct, atol=1e-4)


def counted(images: np.ndarray, objects: list[int], train: int) -> Images:
    """Images that show so many objects each, the first `train` of them for training."""
    labels = np.arange(24) < np.array(objects)[:, None]
    split = np.arange(train), np.arange(train, len(images))
    return Images(images, labels, *split, {"validation": [("red cube",)] * 9}, "digest", ABOUT)


def held_out(data: Images) -> dict[int, quality.Floats]:
    """Distances of held-out images, by their number of objects."""
    return quality.held_out_distances(data, data.labels_NK[data.held_out_indices].sum(1), CPU)


def memorised(images: np.ndarray, objects: list[int], data: Images) -> dict[str, float]:
    return quality.memorisation(images, np.array(objects), data, held_out(data), CPU)


def test_a_copy_is_memorised_and_a_new_image_is_not():
    data = counted(images_and_labels(48)[0], [2] * 48, 24)
    training, held_out = data.images_NHWC[:24], data.images_NHWC[24:]
    assert memorised(training[:8], [2] * 8, data)["memorised_matched"] == 1
    assert memorised(training[:8], [2] * 8, data)["nearest/generated"] < 1e-3
    real = memorised(held_out, [2] * 24, data)
    assert real["memorised_matched"] == pytest.approx(1 / 24)  # rank .05 x 25 = 1.25: between the lowest two
    assert real["nearest/generated"] == pytest.approx(real["nearest/held_out_matched"])
    assert real["memorised_images"] == 24


def crowded(rng: np.random.Generator, objects: np.ndarray) -> np.ndarray:
    """Grey pictures with that many random stripes: the more objects, the farther from any other picture."""
    images = np.full((len(objects), 8, 8, 3), 120, np.uint8)
    for image, count in zip(images, objects, strict=True):
        image[: 2 * count] = rng.integers(0, 256, (2 * count, 8, 3))
    return images


def test_real_images_count_as_copies_in_5_percent_whatever_they_show():
    """600 held-out images of one to three objects make the limits; of 3,000 further ones 5 % lie below, in each group.

    One limit for all would have more than 12 % of the images of one object below it, and no other.
    """
    rng = np.random.default_rng(0)
    objects = rng.integers(1, 4, 900)
    data = counted(crowded(rng, objects), objects.tolist(), 300)
    distances = held_out(data)
    assert {count: len(found) for count, found in distances.items()} == {
        count: (objects[300:] == count).sum() for count in (1, 2, 3)
    }
    pooled = np.quantile(np.concatenate(list(distances.values())), 0.05)
    shares = {}
    for count in (1, 2, 3):
        further = crowded(rng, np.full(1000, count))
        found = quality.memorisation(further, np.full(1000, count), data, distances, CPU)
        assert 0.02 <= found["memorised_matched"] <= 0.08, (count, found)  # two standard errors of 200 images
        shares[count] = np.mean(quality.nearest(further, data.images_NHWC, np.arange(300), CPU) < pooled)
    assert shares[1] > 0.12
    assert shares[2] == shares[3] == 0


@pytest.mark.parametrize("images", [19, 40, 85, 256])
def test_a_limit_lets_5_percent_of_real_images_through(images: int):
    """Whatever their number; numpy's default quantile of 19 would let 9 % through."""
    rng = np.random.default_rng(images)
    limits = [copies.limit(rng.random(images)) for _ in range(4000)]  # of uniform distances: the share below
    assert np.mean(limits) == pytest.approx(0.05, abs=0.004)
    assert np.isnan(copies.limit(rng.random(18)))


def test_samples_without_a_limit_are_left_out():
    """30 held-out images of one object, 5 of two, none of three."""
    rng = np.random.default_rng(0)
    objects = np.array([1, 2, 3] * 10 + [1] * 30 + [2] * 5)
    data = counted(crowded(rng, objects), objects.tolist(), 30)
    copies = data.images_NHWC[:6]
    found = memorised(copies, [1, 2, 3] * 2, data)
    assert (found["memorised_matched"], found["memorised_images"]) == (1, 2)
    assert np.isnan(found["nearest/held_out_matched"])
    none = memorised(copies[2:3], [3], data)
    assert none["memorised_images"] == 0
    assert np.isnan(none["memorised_matched"])


def test_diversity_by_hand():
    """Two conditions with three draws each: 0, 51, 102 lie .2, .2 and .4 apart; three equal ones not at all."""
    draws = np.stack([flat(0, 7), flat(51, 7), flat(102, 7)])
    assert quality.diversity(draws) == pytest.approx((0.8 / 3 + 0) / 2)


class Knowing(torch.nn.Module):
    """Knows the images: predicts their x0 plus a constant."""

    def __init__(self, images_NHWC: np.ndarray, offset: float) -> None:
        super().__init__()
        self.x0 = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2) / 127.5 - 1
        self.offset = offset

    def forward(self, x, t, c):
        return self.x0 + self.offset


def test_denoising_errors_are_in_one_unit():
    """A constant error of .2 in [-1, 1] is .1 of white minus black, in every bin and for every schedule."""
    images = (images_and_labels(24)[0] // 2) + 40  # inside the clipping range
    data = scenes(images, 12)
    config = TINY.replace(prediction="x0")
    for schedule in ("linear", "squaredcos_cap_v2"):
        bars = schedules.alpha_bars(schedule, 1000)
        errors = denoising.errors(config, Knowing(images[12:], 0.2), data, bars, CPU)
        assert len(errors) == 8
        assert list(errors.values()) == pytest.approx([0.1] * 8, abs=1e-6)


def test_every_target_means_the_same_x0():
    """A network that knows x0 exactly has no error, whether it answers in eps, v or x0."""
    from runners.ddpm.diffusion import target

    images = images_and_labels(24)[0]
    data = scenes(images, 12)
    bars = schedules.alpha_bars("linear", 1000)

    class Exact(torch.nn.Module):
        def __init__(self, prediction: str) -> None:
            super().__init__()
            self.prediction = prediction

        def forward(self, x, t, c):
            ab = torch.tensor(bars[int(t[0])])
            x0 = torch.from_numpy(images[12:]).permute(0, 3, 1, 2) / 127.5 - 1
            eps = (x - ab.sqrt() * x0) / (1 - ab).sqrt()
            return target(self.prediction, x0, eps, ab)

    for prediction in ("eps", "v", "x0"):
        errors = denoising.errors(TINY.replace(prediction=prediction), Exact(prediction), data, bars, CPU)
        assert max(errors.values()) < 1e-3


def test_a_bin_that_a_schedule_jumps_over_is_left_out():
    data = scenes(images_and_labels(24)[0], 12)
    bars = schedules.alpha_bars("linear", 3)  # three noise levels: at most three bins
    found = denoising.errors(TINY, Knowing(data.images_NHWC[12:], 0.0), data, bars, CPU)
    assert 1 <= len(found) <= 3


def test_noise_digests_pair_trials():
    conditions = [("red cube",), ("blue sphere", "red cube")]
    shape = (3, 4, 4)
    assert noise_digest("test", conditions, 2, shape) == noise_digest("test", conditions, 2, shape)
    others = [("new_test", conditions, 2), ("test", conditions[::-1], 2), ("test", conditions, 1)]
    digests = {noise_digest(*other, shape) for other in others}
    assert len(digests | {noise_digest("test", conditions, 2, shape)}) == 4
