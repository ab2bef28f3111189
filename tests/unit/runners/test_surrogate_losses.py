"""What a surrogate can be trained for besides label sets: classes, and the turns of images without labels; and what
its features make of noise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from test_surrogate import coloured_squares

from runners.evaluation import diversity, quality, recognition, surrogate
from runners.evaluation.networks import ResNet18
from runners.evaluation.pretext import rotated, rotations
from runners.evaluation.surrogate import RECIPES, SMOKE, Recipe, Report

TINY = Recipe(width=8, stem="half", total_images=3_200, batch_size=32, mirror=False, seed=3)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small networks are fastest on one, and several tests at a time do not fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def one_square_each(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the coloured squares every second image, which shows one: four classes."""
    images, labels = coloured_squares(2 * count)
    return images[::2], labels[::2, :4]


def last_report(images: np.ndarray, labels: np.ndarray, recipe: Recipe) -> Report:
    rows = np.arange(len(images))
    *_, last = surrogate.train(images, labels, rows[: len(rows) * 5 // 6], rows[len(rows) * 5 // 6 :], recipe)
    assert last.model is not None
    assert last.held_out is not None
    return last


# ---------------------------------------------------------------- classes


@pytest.fixture(scope="module")
def of_classes() -> Report:
    return last_report(*one_square_each(600), dataclasses.replace(TINY, loss="classes"))


def test_a_surrogate_of_classes_learns(of_classes: Report):
    held_out = of_classes.held_out
    assert held_out is not None
    assert set(held_out) == {"images", "accuracy", "ece", "ece_if_calibrated", "accuracy_distorted"}
    assert held_out["images"] == 100
    assert held_out["accuracy"] > 0.95  # chance is .25
    assert held_out["accuracy_distorted"] > 0.9
    assert 0 < held_out["ece"] < 0.1
    assert of_classes.loss < 0.5


def test_its_outputs_are_a_distribution_over_its_classes(of_classes: Report):
    assert of_classes.model is not None
    probability_NK = recognition.probabilities(of_classes.model, one_square_each(20)[0])
    assert probability_NK.shape == (20, 4)
    np.testing.assert_allclose(probability_NK.sum(1), 1, rtol=1e-5)
    assert recognition.probabilities(of_classes.model, np.empty((0, 16, 16, 3), np.uint8)).shape == (0, 4)


def test_one_class_per_image(of_classes: Report):
    images, labels = coloured_squares(60)
    with pytest.raises(ValueError, match="one class per image"):
        last_report(images, labels, dataclasses.replace(SMOKE, loss="classes"))


def test_its_file_says_what_it_was_trained_for(tmp_path: Path, of_classes: Report):
    assert of_classes.model is not None
    recipe = dataclasses.replace(TINY, loss="classes")
    surrogate.save(tmp_path / "s.safetensors", of_classes.model, recipe, {"accuracy": 0.5})
    model, loaded, _ = surrogate.load(tmp_path / "s.safetensors")
    assert loaded == recipe
    images = one_square_each(10)[0]
    before, after = (recognition.probabilities(one, images) for one in (of_classes.model, model))
    np.testing.assert_allclose(after, before, rtol=1e-5)


# ---------------------------------------------------------------- rotations


def test_all_four_turns_of_every_image():
    images = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
    x_BCHW = torch.from_numpy(images).permute(0, 3, 1, 2)
    turned_BCHW, turns_B = rotations(x_BCHW)
    assert turns_B.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for turned_CHW, turns, image in zip(turned_BCHW, turns_B, [*x_BCHW] * 4, strict=True):
        assert torch.equal(turned_CHW, torch.rot90(image, int(turns), (1, 2)))
    in_memory_NHWC, hot_NK = rotated(images)
    assert np.array_equal(in_memory_NHWC, turned_BCHW.permute(0, 2, 3, 1).numpy())
    assert hot_NK.argmax(1).tolist() == turns_B.tolist()
    channels_last = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert rotations(channels_last)[0].is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(AssertionError, match="another shape"):
        rotations(torch.zeros(2, 3, 4, 5))


def test_a_surrogate_of_images_without_labels_learns_which_way_is_up():
    """A band in the upper half; mirroring leaves it there. Labels are none, and K is 0."""
    rng = np.random.default_rng(0)
    images = np.full((600, 16, 16, 3), 120, np.uint8)
    for image in images:
        top = rng.integers(0, 4)
        image[top : top + 4] = rng.integers(160, 255, 3)
    recipe = dataclasses.replace(TINY, loss="rotations", mirror=True)
    last = last_report(images, np.empty((600, 0), bool), recipe)
    assert last.held_out is not None
    assert set(last.held_out) == {"images", "accuracy", "accuracy_distorted"}
    assert last.held_out["images"] == 100
    assert last.held_out["accuracy"] > 0.85  # chance is .25
    assert last.model is not None
    assert recognition.probabilities(last.model, images[:3]).shape == (3, 4)
    assert recognition.features(last.model, images[:3]).shape == (3, 64)


# ---------------------------------------------------------------- what stays as it was


def test_without_mirroring_no_picture_is_flipped_and_nothing_else_changes():
    x_BCHW = recognition.as_inputs(coloured_squares(64)[0])
    on = dataclasses.replace(RECIPES[16], zoom=0.05)
    off = dataclasses.replace(on, mirror=False)
    mirrored, plain = (surrogate.distort(x_BCHW, one, torch.Generator().manual_seed(4)) for one in (on, off))
    same_B = (mirrored == plain).flatten(1).all(1)
    assert 20 < int(same_B.sum()) < 44  # those that were not flipped, to the last bit
    none = dataclasses.replace(off, noise=0, blur=0, shift=0, zoom=0, brightness=0, tint=0)
    torch.testing.assert_close(surrogate.distort(x_BCHW, none, torch.Generator()), x_BCHW, atol=1e-5, rtol=0)


def test_files_of_earlier_versions_are_those_of_sets_and_the_other_way_round(tmp_path: Path):
    """They name neither the loss nor the mirroring; and a file of sets that mirrors names neither today."""
    path = tmp_path / "s.safetensors"
    surrogate.save(path, ResNet18(SMOKE.width, SMOKE.stem), SMOKE, {"accuracy": 0.5})
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    fields = json.loads(metadata["recipe"])
    assert set(fields) == {field.name for field in dataclasses.fields(Recipe)} - {"loss", "mirror"}
    save_file(state, path, metadata | {"recipe": json.dumps(fields)})
    model, recipe, _ = surrogate.load(path)
    assert (recipe.loss, recipe.mirror) == ("sets", True)
    assert isinstance(model.fc[1], torch.nn.Sigmoid)
    save_file(state, path, metadata | {"recipe": json.dumps(fields | {"loss": "colours"})})
    with pytest.raises(ValueError, match="no surrogate evaluator"):
        surrogate.load(path)


def test_more_held_out_images_than_are_distorted_at_a_time(monkeypatch: pytest.MonkeyPatch):
    images, labels = one_square_each(50)
    recipe = dataclasses.replace(TINY, loss="classes")
    model = ResNet18(8, "half", 4, "softmax")
    whole = surrogate.held_out_scores(model, images, labels, recipe)
    monkeypatch.setattr(surrogate, "SCORED", 16)
    parts = surrogate.held_out_scores(model, images, labels, recipe)
    assert parts["accuracy"] == whole["accuracy"]
    assert parts["accuracy_distorted"] == pytest.approx(whole["accuracy_distorted"], abs=0.2)


def test_unknown_head_is_refused():
    with pytest.raises(ValueError, match='"sigmoid" or "softmax"'):
        ResNet18(head="tanh")


def test_features_are_what_the_head_is_given():
    model, images = ResNet18(8, "half").eval(), coloured_squares(5)[0]
    features_ND = recognition.features(model, images, batch_size=2)
    assert features_ND.dtype == np.float32
    with torch.no_grad():
        head = model.fc(torch.from_numpy(features_ND)).numpy()
    np.testing.assert_allclose(head, recognition.probabilities(model, images), rtol=1e-5)


EVALUATION = Path(surrogate.__file__).parent
OF_A_TASK = {"official.py"}


@pytest.mark.parametrize("file", sorted(path.name for path in EVALUATION.glob("*.py") if path.name not in OF_A_TASK))
def test_what_scores_images_knows_no_task(file: str):
    assert "runners.tasks" not in (EVALUATION / file).read_text()


# ---------------------------------------------------------------- noise in its features


@pytest.mark.slow
def test_noise_is_no_diversity_in_the_features_of_a_trained_surrogate():
    """The recipe of 16 pixels on scikit-learn's digits. Four draws of each class: the same picture four times, with
    noise of standard deviation .1 on top; then different real pictures, with the noise and without."""
    digits = load_digits()
    images = np.repeat((digits.images * 15.9).astype(np.uint8)[..., None], 3, 3).repeat(2, 1).repeat(2, 2)
    labels = np.eye(10, dtype=bool)[digits.target]
    recipe = dataclasses.replace(RECIPES[16], total_images=12_000, mirror=False, loss="classes")
    model = last_report(images, labels, recipe).model
    assert model is not None
    rng = np.random.default_rng(0)
    held_out = [images[-300:][digits.target[-300:] == label][:24] for label in range(10)]

    def noisy(pictures_NHWC: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, 0.1 * 255, pictures_NHWC.shape)
        return (pictures_NHWC + noise).round().clip(0, 255).astype(np.uint8)

    def seen(pictures_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a_NHWC, b_NHWC = diversity.views(pictures_NHWC)
        return recognition.features(model, a_NHWC), recognition.features(model, b_NHWC)

    def compared(draws: list[np.ndarray]) -> diversity.Diversity:
        a, b = zip(*map(seen, draws), strict=True)
        return diversity.diversity((np.stack(a, 1), np.stack(b, 1)), [seen(pictures) for pictures in held_out])

    same = [noisy(np.repeat(pictures[:1], 24, 0)) for pictures in held_out]
    others = [pictures[:24] for pictures in held_out]
    in_pixels = quality.diversity(np.stack(same, 1)) / quality.diversity(np.stack(others, 1))
    in_features = np.mean(
        [
            recognition.features(model, one).var(0).sum() / recognition.features(model, other).var(0).sum()
            for one, other in zip(same, others, strict=True)
        ]
    )
    assert in_pixels > 0.3
    assert in_features**0.5 > 0.1  # features alone do not see past noise
    assert compared(same).ratio < 0.08
    assert compared(others).ratio == pytest.approx(1)
    assert compared([noisy(one) for one in others]).ratio == pytest.approx(1, abs=0.1)
