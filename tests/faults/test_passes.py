"""More sampling passes of a trial that is there: only the new ones are drawn, and damage never enters a result."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_trainings import RECIPE, TRIAL, context, flip, shorten, trial_folder

from runners.ddpm import earlier_passes as passes
from runners.ddpm import trial
from runners.evaluation import evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import Note, Progress
from runners.process import files

MORE = TRIAL.replace(sampling_seeds=3)
OWN = ("seconds/", "images_per_second", "peak_memory_mb", "sampled/")  # of a trial, not of its setting
IMAGES = 264  # of a pass over the four lists
EVALUATIONS = 4  # two steps, guided


def folder_of(record: Path, config=MORE) -> Path:
    return record / "trials" / config.trial_key


def result(record: Path, config=MORE) -> dict[str, object]:
    found: dict[str, object] = files.read_json(folder_of(record, config) / "result.json")
    return found


def run(record: Path, config=MORE) -> tuple[list[str], int]:
    """What a trial says, and how many images it says that it draws."""
    events = list(trial.run(config, context(record)))
    texts = [event.text for event in events if isinstance(event, Note)]
    return texts, max(event.total for event in events if isinstance(event, Progress))


def same(one: Path, other: Path, config=MORE) -> None:
    """Two folders of a trial hold the same: scores, outcomes, pictures, tables."""
    found = [result(record, config) for record in (one, other)]
    kept = [{name: value for name, value in each.items() if not name.startswith(OWN)} for each in found]
    assert kept[0] == kept[1]
    folders = [folder_of(record, config) for record in (one, other)]
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        if name.suffix == ".npz":
            arrays = [np.load(folder / name) for folder in folders]
            assert arrays[0].files == arrays[1].files
            assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0].files), name
        elif name.name not in ("result.json", "metrics.jsonl", "environment.json", files.MANIFEST):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory) -> Path:
    """A record whose trial has drawn all three passes itself."""
    record = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "record"))
    assert run(record) == ([], 3 * IMAGES)
    return record


@pytest.fixture
def begun(done, tmp_path) -> Path:
    """A record with a complete trial of one pass."""
    return Path(shutil.copytree(done, tmp_path / "record"))


def test_only_the_new_passes_are_drawn_and_the_result_is_the_same(begun, whole):
    texts, drawn = run(begun)
    assert texts == [f"1 of the 3 sampling passes are those of {TRIAL.trial_key}"]
    assert drawn == 2 * IMAGES
    same(begun, whole)
    found, before = result(begun), result(begun, TRIAL)
    assert found["sampled/from"] == TRIAL.trial_key
    assert found["sampled/passes_before"] == 1
    assert found["sampled/forwards"] == 2 * IMAGES * EVALUATIONS
    assert result(whole)["sampled/forwards"] == 3 * IMAGES * EVALUATIONS
    assert "sampled/from" not in result(whole)
    assert float(found["seconds/sample"]) > float(before["seconds/sample"]) > 0


def test_the_trial_with_most_passes_is_the_one_that_is_gone_on_from(begun, whole):
    run(begun, TRIAL.replace(sampling_seeds=2))
    assert run(begun)[1] == IMAGES
    assert result(begun)["sampled/from"] == TRIAL.replace(sampling_seeds=2).trial_key
    same(begun, whole)


def looked_for(record: Path, config=MORE, weights: object = None) -> tuple[passes.Earlier | None, list[str]]:
    """What a trial that is about to sample finds."""
    begun, sha256 = trial._begun(config, context(record)), weights or result(record, TRIAL)["weights_sha256"]
    return passes.find(config, record, str(sha256), begun.evaluators, begun.images, begun.device)


def test_another_setting_is_not_gone_on_from(begun):
    """Noise of another draw, another scale of guidance, no more passes than are there."""
    for other in (MORE.replace(noise_seed=1), MORE.replace(guidance_scale=3.0), TRIAL):
        assert looked_for(begun, other) == (None, [])
    earlier, said = looked_for(begun)
    assert earlier is not None
    assert (earlier.trial_key, earlier.passes, said) == (TRIAL.trial_key, 1, [])


def test_looking_costs_the_same_in_any_record(begun, monkeypatch):
    """Keys are computed; no folder is listed."""
    monkeypatch.setattr(Path, "glob", None)
    monkeypatch.setattr(Path, "iterdir", None)
    assert looked_for(begun)[0] is not None


def edited(folder: Path, **changes: object) -> None:
    """A result of a trial that was made otherwise, with all digests in order."""
    path = folder / "result.json"
    path.write_text(json.dumps(files.read_json(path) | changes))
    files.write_manifest(folder)


def seen_otherwise(folder: Path) -> None:
    path = folder / "outcomes.npz"
    arrays = dict(np.load(path))
    arrays["test_probability"] = 1 - arrays["test_probability"] ** 2
    np.savez_compressed(path, **arrays)
    files.write_manifest(folder)


def lacking(folder: Path, name: str) -> None:
    path = folder / "outcomes.npz"
    np.savez_compressed(path, **{key: value for key, value in np.load(path).items() if key != name})
    files.write_manifest(folder)


def without_pictures(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    files.write_manifest(folder)


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "a picture has changed": (lambda folder: flip(folder / "images/test/3.png"), "images/test/3.png is changed"),
    "outcomes are cut short": (lambda folder: shorten(folder / "outcomes.npz"), "outcomes.npz is changed"),
    "no digests, and outcomes cut short": (
        lambda folder: ((folder / files.MANIFEST).unlink(), shorten(folder / "outcomes.npz")),
        "BadZipFile",
    ),
    "pictures were left out": (without_pictures, "FileNotFoundError"),
    "an older version kept no outputs": (lambda folder: lacking(folder, "test_probability"), "KeyError"),
    "other weights": (lambda folder: edited(folder, weights_sha256="0"), "weights_sha256 is not that of this trial"),
    "other data": (lambda folder: edited(folder, data_digest="0"), "data_digest is not that of this trial"),
    "another evaluator": (
        lambda folder: edited(folder, evaluator_held_out_accuracy=0.25),
        "evaluator_held_out_accuracy is not that of this trial",
    ),
    "another evaluator of the same accuracy": (seen_otherwise, "another evaluator scored its pictures of test"),
}


@pytest.mark.parametrize("case", HARM)
def test_what_is_damaged_or_was_made_otherwise_is_not_used(begun, done, case):
    harm, words = HARM[case]
    harm(trial_folder(begun))
    earlier, (said,) = looked_for(begun, weights=result(done, TRIAL)["weights_sha256"])
    assert earlier is None
    assert said.startswith(f"the passes of the trial {TRIAL.trial_key} are not used: ")
    assert words in said


def test_damage_is_drawn_again(begun, whole):
    flip(trial_folder(begun) / "outcomes.npz")
    texts, drawn = run(begun)
    assert texts == [f"the passes of the trial {TRIAL.trial_key} are not used: outcomes.npz is changed"]
    assert drawn == 3 * IMAGES
    same(begun, whole)


def test_several_evaluators_score_the_same_samples(begun, whole):
    """Scores are means over them, each one's accuracy is kept, and more passes are taken over with all of them."""
    both = TRIAL.replace(evaluators=2)
    own = dataclasses.replace(context(begun), inputs={})
    for number, path in enumerate(trial.evaluator_places(both, own)):
        torch.manual_seed(number)
        model = ResNet18(width=4, stem="half").eval()
        with torch.no_grad():
            model.fc[0].bias += 9 * number * torch.linspace(0, 1, 24)  # the second one names the last labels
        evaluator.save(path, model, dataclasses.replace(RECIPE, seed=number), {"accuracy": 0.5 + number / 10})
    assert list(trial.prepare(both, own)) == []
    for config in (TRIAL.replace(weights="raw"), both.replace(weights="raw"), both, both.replace(sampling_seeds=2)):
        events = list(trial.run(config, own))
    assert max(event.total for event in events if isinstance(event, Progress)) == IMAGES
    one, two = (result(begun, TRIAL.replace(weights="raw", evaluators=count)) for count in (1, 2))
    for name in ("validation", "test", "new_test", "unseen"):
        each = [float(two[f"accuracy_evaluator_{number}/{name}"]) for number in (0, 1)]
        assert each[0] == one[f"accuracy/{name}"]
        assert two[f"accuracy/{name}"] == pytest.approx(sum(each) / 2)
        assert two[f"objects/{name}"] == one[f"objects/{name}"]
    assert two["accuracy_evaluator_0/unseen"] != two["accuracy_evaluator_1/unseen"]
    assert (two["evaluator_held_out_accuracy"], two["evaluator_1_held_out_accuracy"]) == (0.5, 0.6)
    assert "evaluator_1_held_out_accuracy" not in one
    assert not any(name.startswith("accuracy_evaluator") for name in one)
    arrays = np.load(folder_of(begun, both.replace(sampling_seeds=2)) / "outcomes.npz")
    assert arrays["test"].shape == arrays["test_evaluator_1"].shape == (2, 32, 24)
    before = np.load(folder_of(begun, both) / "outcomes.npz")
    assert np.array_equal(before["test_evaluator_1_probability"][0], arrays["test_evaluator_1_probability"][0])
