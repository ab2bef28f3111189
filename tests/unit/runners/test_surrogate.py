"""The surrogate evaluator: what it learns, that it is repeatable, and that a record keeps the one it has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from runners.evaluation import evaluator, recognition, surrogate
from runners.evaluation.networks import ResNet18
from runners.evaluation.surrogate import RECIPES, SMOKE, Recipe, Report
from runners.experiment import ExecutionContext
from runners.process.files import write_json

TINY = Recipe(width=8, stem="half", total_images=6_400, batch_size=64, seed=3)


def coloured_squares(count: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """One or two squares on grey, each with its own colour of four, so that labels 0-3 can be told apart at once."""
    rng = np.random.default_rng(0)
    colours = np.array([[220, 30, 30], [30, 200, 30], [40, 40, 220], [220, 210, 30]], dtype=np.uint8)
    images = np.full((count, size, size, 3), 120, dtype=np.uint8)
    labels = np.zeros((count, 24), dtype=np.bool_)
    for index in range(count):
        chosen = rng.permutation(4)[: 1 + index % 2]
        for label, left in zip(chosen, rng.permutation([1, 9]), strict=False):
            top = rng.integers(2, size - 8)
            images[index, top : top + 6, left : left + 6] = colours[label]
            labels[index, label] = True
    return images, labels


def train(recipe: Recipe) -> list[Report]:
    images, labels = coloured_squares(600)
    return list(surrogate.train(images, labels, np.arange(500), np.arange(500, 600), recipe))


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return train(TINY)


def test_a_surrogate_learns(reports: list[Report]) -> None:
    last = reports[-1]
    assert last.model is not None
    assert not last.model.training
    assert last.held_out is not None
    assert last.held_out["images"] == 100
    assert last.held_out["accuracy"] > 0.95  # chance is below .5: 4 labels, 1 or 2 asked
    assert last.held_out["accuracy_distorted"] > 0.9
    total = (50 * last.held_out["accuracy_1"] + 100 * last.held_out["accuracy_2"]) / 150
    assert last.held_out["accuracy"] == pytest.approx(total)


def test_progress_is_reported(reports: list[Report]) -> None:
    assert 50 <= len(reports) <= 150
    seen = [report.images_seen for report in reports]
    assert seen == sorted(set(seen))
    assert seen[-1] == TINY.total_images == reports[-1].total_images
    assert all(report.model is None and report.held_out is None for report in reports[:-1])
    assert all(report.images_per_second > 0 for report in reports)
    assert np.mean([report.loss for report in reports[-5:]]) < 0.3 * reports[0].loss


def test_same_seed_same_weights() -> None:
    recipe = dataclasses.replace(SMOKE, total_images=256)
    first, again, other = (train(dataclasses.replace(recipe, seed=seed))[-1].model for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(dataclasses.replace(SMOKE, total_images=64))
    assert torch.equal(torch.rand(3), expected)


def test_held_out_images_are_not_trained_on() -> None:
    images, labels = coloured_squares(80)
    recipe = dataclasses.replace(SMOKE, total_images=256)
    train_rows, held_out_rows = np.arange(0, 60), np.arange(60, 80)
    first = list(surrogate.train(images, labels, train_rows, held_out_rows, recipe))[-1].model
    images[60:] = 0
    again = list(surrogate.train(images, labels, train_rows, held_out_rows, recipe))[-1].model
    assert first is not None
    assert again is not None
    assert torch.equal(first.fc[0].weight, again.fc[0].weight)  # type: ignore[arg-type]


def test_distortions_are_per_image_and_bounded() -> None:
    x_BCHW = recognition.as_inputs(np.repeat(coloured_squares(1)[0], 64, axis=0))
    distorted = surrogate.distort(x_BCHW, RECIPES[16], torch.Generator().manual_seed(0))
    assert distorted.shape == x_BCHW.shape
    assert distorted.abs().max() <= 1
    assert len({image.numpy().tobytes() for image in distorted}) == 64
    assert 0.01 < (distorted - x_BCHW).abs().mean() < 0.3


def test_without_strength_only_the_flip_is_left() -> None:
    recipe = Recipe(8, "half", 64, noise=0, blur=0, shift=0, zoom=0, brightness=0, tint=0)
    x_BCHW = recognition.as_inputs(coloured_squares(32)[0])
    distorted = surrogate.distort(x_BCHW, recipe, torch.Generator().manual_seed(0))
    same = (distorted - x_BCHW).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (distorted - x_BCHW.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 5 < int(mirrored.sum()) < 27


@pytest.mark.parametrize(("size", "nearest"), [(8, 16), (16, 16), (24, 32), (32, 32), (64, 64), (128, 64)])
def test_recipe_of_the_nearest_size(size: int, nearest: int) -> None:
    assert surrogate.recipe_for(size) == RECIPES[nearest]


def test_recipe_for_specks_is_refused() -> None:
    with pytest.raises(ValueError, match="16, 32 or 64"):
        surrogate.recipe_for(4)


@pytest.mark.parametrize("size", RECIPES)
def test_every_recipe_builds_its_network(size: int) -> None:
    recipe = RECIPES[size]
    model = ResNet18(recipe.width, recipe.stem).eval()
    assert model(torch.zeros(1, 3, size, size)).shape == (1, 24)


def test_surrogate_round_trip(tmp_path: Path, reports: list[Report]) -> None:
    model, held_out = reports[-1].model, reports[-1].held_out
    assert model is not None
    assert held_out is not None
    path = tmp_path / "cache" / "surrogate.safetensors"
    surrogate.save(path, model, TINY, held_out)
    loaded, recipe, numbers = surrogate.load(path)
    assert (recipe, numbers) == (TINY, held_out)
    assert [entry.name for entry in path.parent.iterdir()] == ["surrogate.safetensors"]
    images, labels = coloured_squares(50)
    x_NCHW = recognition.as_inputs(images)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x_NCHW), model(x_NCHW))
    assert recognition.accuracy(recognition.predict(loaded, images, labels), labels) > 0.9


def test_other_files_are_no_surrogate(tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"nothing of the kind")
    for name in ("other.safetensors", "absent.safetensors"):
        with pytest.raises(ValueError, match="no surrogate evaluator"):
            surrogate.load(tmp_path / name)


FIELDS = {"data": "rendered", "image_size": 16, "evaluator": "stand_in"}


def earlier_record(root: Path, reports: list[Report], accuracy: float) -> ExecutionContext:
    """A record of a version that named the surrogate after the program's text: two surrogates, and a trial that one of
    them has scored. Of today's version there is the second one of several, which happens to be as accurate."""
    model, held_out = reports[-1].model, reports[-1].held_out
    assert model is not None
    assert held_out is not None
    first, second = dataclasses.replace(TINY, seed=0), dataclasses.replace(TINY, seed=1)
    surrogate.save(root / "cache" / "evaluator-0123456789ab.safetensors", model, first, held_out)
    other = held_out | {"accuracy": 0.123}
    surrogate.save(root / "cache" / "evaluator-000000000000.safetensors", model, first, other)
    surrogate.save(root / "cache" / "evaluator-000000000001.safetensors", model, second, held_out)
    write_json(root / "trials" / "a" / "config.json", FIELDS)
    write_json(root / "trials" / "a" / "result.json", {"evaluator_held_out_accuracy": accuracy})
    return ExecutionContext(str(root), "cpu")


def test_the_surrogate_that_scored_a_record_goes_on_scoring_it(tmp_path: Path, reports: list[Report]) -> None:
    assert reports[-1].held_out is not None
    context = earlier_record(tmp_path, reports, reports[-1].held_out["accuracy"])
    path = evaluator.place("rendered", 16, "stand_in", context)
    assert evaluator.adopt(path, FIELDS, context)
    assert path.read_bytes() == (tmp_path / "cache" / "evaluator-0123456789ab.safetensors").read_bytes()
    assert evaluator.load(str(path)).facts["evaluator_held_out_accuracy"] == reports[-1].held_out["accuracy"]


def test_no_surrogate_of_other_trials_is_taken_over(tmp_path: Path, reports: list[Report]) -> None:
    context = earlier_record(tmp_path, reports, accuracy=0.5)
    path = evaluator.place("rendered", 16, "stand_in", context)
    assert not evaluator.adopt(path, FIELDS, context)
    assert not evaluator.adopt(path, FIELDS | {"image_size": 32}, context)
    assert not path.exists()


def test_a_surrogate_is_named_after_what_makes_it(tmp_path: Path) -> None:
    context = ExecutionContext(str(tmp_path), "cpu")
    settings = [("rendered", 16, "stand_in"), ("rendered", 32, "stand_in"), ("rendered", 16, "stand_in(size='smoke')")]
    places = {evaluator.place(*setting, context) for setting in settings}
    assert len(places) == 3
    numbered = {evaluator.place(*settings[0], context, number) for number in range(3)}
    assert len(numbered) == 3
    assert numbered & places == {evaluator.place(*settings[0], context)}
    own = ExecutionContext(str(tmp_path), "cpu", inputs={"evaluator": "checkpoint.pth"})
    assert evaluator.place("rendered", 64, "checkpoint(sha256='x')", own) == Path("checkpoint.pth")


def test_the_surrogate_is_the_one_of_this_version() -> None:
    """A change of what is trained changes these numbers: then raise surrogate.VERSION, and put the new ones here."""
    model = train(dataclasses.replace(SMOKE, total_images=64))[-1].model
    assert surrogate.VERSION == 1
    assert model is not None
    np.testing.assert_allclose(float(model.conv1.weight.detach().abs().sum()), 33.021, rtol=1e-3)
