"""A whole trial of domain adaptation on the built-in digits: its folder, its keys, and that it can be done again."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_domains import TINY, context, save_npz, value_of

from runners import dann
from runners.dann import domains, outcomes, scoring, trainings
from runners.dann import folder as folders
from runners.experiment import Curve, Progress, find
from runners.process import files
from runners.process.files import read_json, read_lines

METHODS = ("source_only", "dann", "target_only")


def finish(config: dann.Config, record: Path, **inputs: str) -> list:
    torch.set_num_threads(1)
    place = context(record, **inputs)
    return [*dann.prepare(config, place), *dann.run(config, place)]


def trial(config: dann.Config, record: Path) -> Path:
    return record / "trials" / config.trial_key


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    """A record of all methods; read it, do not write to it."""
    root = tmp_path_factory.mktemp("record")
    for method in METHODS:
        finish(TINY.replace(method=method), root)
    return root


@pytest.mark.parametrize("method", METHODS)
def test_a_folder_holds_all_that_a_reader_needs(record, method):
    config = TINY.replace(method=method)
    place = trial(config, record)
    assert files.damaged(place) == {}
    assert dann.Config.from_dict(read_json(place / "config.json")) == config
    result, task = read_json(place / "result.json"), read_json(place / "task.json")
    assert set(config.task.scores()) <= set(result)
    assert all(isinstance(value, str | int | float) for value in result.values())
    assert 0 <= result["accuracy_oracle/target_test"] <= 1
    assert "oracle" in result["oracle_rule"]
    assert result["checkpoint_rule"] == "weights of the last training step, no selection"
    assert ("domain_accuracy/validation" in result) == (method == "dann")
    assert result["proxy_a_distance"] == pytest.approx(2 * (2 * result["domain_accuracy/probe"] - 1))
    assert task["labels"] == list("0123456789")
    assert task["kind"] == "class"
    assert result["data_digest"] == domains.digest("digits")
    assert task["domains"] == {"source": "photo", "target": "plain"}
    assert task["lists"] == [dataclasses.asdict(one) for one in config.task.lists]
    assert read_json(place / "environment.json")["threads"] == "1"


def test_outcomes_are_those_of_the_scores(record):
    place = trial(TINY, record)
    result, conditions = read_json(place / "result.json"), read_json(place / "conditions.json")
    labels = read_json(place / "task.json")["labels"]
    with np.load(place / "outcomes.npz") as found, (place / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
        for name in ("source_validation", "target_test", "target_validation"):
            named_N = found[name][0].argmax(1)
            asked_N = np.array([labels.index(label) for (label,) in conditions[name]])
            assert (named_N == asked_N).mean() == pytest.approx(result[f"accuracy/{name}"])
            hits = sum(int(row["hits"]) for row in rows if row["list"] == name)
            assert hits == (named_N == asked_N).sum()
            np.testing.assert_allclose(found[f"{name}_probability"].sum(-1), 1, atol=1e-5)


def test_all_methods_keep_the_features_of_the_same_points(record):
    points = []
    for method in METHODS:
        with np.load(trial(TINY.replace(method=method), record) / "domain_features.npz") as arrays:
            assert set(arrays.files) == {"features", "classes", "predicted", "domain", "point"}
            assert arrays["features"].shape[0] == len(arrays["classes"]) == 153 + 270
            assert set(arrays["domain"]) == {"photo", "plain"}
            points.append((arrays["domain"], arrays["point"], arrays["classes"]))
    for other in points[1:]:
        assert all(np.array_equal(*pair) for pair in zip(points[0], other, strict=True))


def test_points_are_drawn_alike_where_not_all_are_kept(record, tmp_path, monkeypatch):
    monkeypatch.setattr(outcomes, "POINTS", 50)
    copy = shutil.copytree(record, tmp_path / "record")
    points = []
    for method in METHODS[:2]:
        config = TINY.replace(method=method)
        shutil.rmtree(trial(config, copy))
        finish(config, copy)
        with np.load(trial(config, copy) / "domain_features.npz") as arrays:
            points.append(arrays["point"])
    assert len(points[0]) == 100
    assert np.array_equal(*points)


def test_the_curve_of_a_trial_is_that_of_its_training(record):
    lines = read_lines(trial(TINY, record) / "metrics.jsonl")
    assert lines == read_lines(record / "cache" / "trainings" / TINY.train_key / "curve.jsonl")
    assert lines[-1]["accuracy/source_validation"] == pytest.approx(
        read_json(trial(TINY, record) / "result.json")["accuracy/source_validation"]
    )


def test_a_finished_trial_is_not_done_again_and_a_lost_one_trains_nothing(record, tmp_path):
    copy = tmp_path / "record"
    shutil.copytree(record, copy)
    assert finish(TINY, copy) == []
    before = read_json(trial(TINY, copy) / "result.json")
    shutil.rmtree(trial(TINY, copy))
    events = finish(TINY, copy)
    assert [type(event) for event in events] == [Curve, Progress, Progress]
    after = read_json(trial(TINY, copy) / "result.json")
    timed = {"seconds/sample", "peak_memory_mb"}
    assert {k: v for k, v in before.items() if k not in timed} == {k: v for k, v in after.items() if k not in timed}


def test_a_stopped_trial_leaves_its_training_and_no_folder(tmp_path):
    place = context(tmp_path)
    list(dann.prepare(TINY, place))
    events = dann.run(TINY, place)
    next(events)
    events.close()
    assert not list((tmp_path / "trials").iterdir())
    assert (place.cache / "trainings" / TINY.train_key / "state.pt").is_file()
    assert any(isinstance(event, Curve) for event in finish(TINY, tmp_path))
    assert trial(TINY, tmp_path).is_dir()


def test_a_study_may_vary_the_target_beyond_what_was_prepared(tmp_path):
    place = context(tmp_path)
    list(dann.prepare(TINY, place))
    street = TINY.replace(target="street", total_images=64)
    list(dann.run(street, place))
    assert read_json(trial(street, tmp_path) / "task.json")["domains"]["target"] == "street"


def test_a_target_without_labels_is_adapted_to_and_not_scored(tmp_path):
    root, record = tmp_path / "domains", tmp_path / "record"
    root.mkdir()
    save_npz(root / "named.npz")
    save_npz(root / "unnamed.npz", seed=1, y=None)
    data = str(value_of(folders.read({"data": str(root)})).changes["data"])
    config = TINY.replace(data=data, source="named", target="unnamed", total_images=128)
    finish(config, record, data=str(root))
    result = read_json(trial(config, record) / "result.json")
    assert [name for name in result if name.startswith("accuracy")] == [
        "accuracy/source_validation",
        "accuracy_macro/source_validation",
    ]
    assert "has no labels" in result["warnings"]
    with np.load(trial(config, record) / "domain_features.npz") as arrays:
        assert set(arrays["classes"][arrays["domain"] == "unnamed"]) == {-1}


# --- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["source_only", "target_only"])
@pytest.mark.parametrize(
    "change",
    [{"lambda_max": 0.5}, {"lambda_gamma": 5.0}, {"lambda_schedule": "constant"}, {"domain_lr_quirk": True}],
    ids=str,
)
def test_a_training_on_labels_alone_knows_no_lambda(method, change):
    config = TINY.replace(method=method)
    assert config.replace(**change).train_key == config.train_key
    assert config.replace(**change).trial_key == config.trial_key
    assert TINY.replace(**change).train_key != TINY.train_key


def test_gamma_says_nothing_where_lambda_is_constant_or_0():
    for change in ({"lambda_schedule": "constant"}, {"lambda_max": 0.0}):
        config = TINY.replace(**change)
        assert config.replace(lambda_gamma=3.0).train_key == config.train_key
    assert TINY.replace(lambda_gamma=3.0).train_key != TINY.train_key


def test_every_other_field_has_a_key_of_its_own():
    changes = [
        *({"method": method} for method in METHODS if method != TINY.method),
        {"target": "street"},
        {"channels": "grey"},
        {"image_size": 28},
        {"optimiser": "adam"},
        {"seed": 1},
    ]
    keys = {TINY.replace(**change).train_key for change in changes} | {TINY.train_key}
    assert len(keys) == len(changes) + 1


# --- the contract ----------------------------------------------------------------------------------------


def test_the_package_is_an_experiment():
    assert find("dann") is dann
    assert set(dann.SCALES) == {"smoke", "laptop", "gpu", "paper"}
    for fields in dann.SCALES.values():
        dann.check(dann.Config().replace(**fields))


def test_adaptation_costs_the_target_s_images_too():
    costs = {method: dann.cost(TINY.replace(method=method)) for method in METHODS}
    assert costs["source_only"] == costs["target_only"]
    # Of one image, 2 x multiply-adds: the features 2 (300 x 12^2 + 600 x 2^2), the label head 2 (6 x 100 + 100 x 100 +
    # 100 x 10), the domain head 2 (6 x 100 + 100 x 2).
    features, label, domain = 91_200, 23_200, 1_600
    assert costs["source_only"].train_flop == 3 * 640 * (features + label)
    assert costs["dann"].train_flop == 3 * 640 * (2 * features + label + 2 * domain)
    assert costs["dann"].checkpoint_bytes == 4 * costs["dann"].parameters


def test_steps_for_a_benchmark_are_endless():
    executed, steps = dann.steps(TINY, "cpu", "auto")
    assert executed == "plainly"
    assert [next(steps) for _ in range(3)] == [32] * 3


def test_a_folder_s_own_domains_are_the_baseline_s(tmp_path):
    for seed, name in enumerate(("a", "mnist_m", "usps")):
        save_npz(tmp_path / f"{name}.npz", seed=seed)
    found = value_of(dann.read({"data": str(tmp_path)}))
    config = dann.Config().replace(**found.changes)
    assert dann.at_scale(config, "smoke") == {"source": "mnist_m", "target": "usps"}
    assert (
        found.sentences(config.replace(source="a", target="usps"))[-1]
        == "Where the study names no others, the classifier is adapted from a to usps."
    )
    assert dann.at_scale(dann.Config(), "smoke") == {}


def test_a_probe_tells_domains_apart_that_differ_and_no_others():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(2, 400, 5)).astype(np.float32)
    assert scoring.probe_accuracy(near, far) == pytest.approx(0.5, abs=0.08)
    assert scoring.probe_accuracy(near, far + 5) == 1.0


def test_files_of_a_training_are_checked(record, tmp_path):
    folder = shutil.copytree(record / "cache" / "trainings" / TINY.train_key, tmp_path / TINY.train_key)
    assert dann.training_damage(folder) == ""
    facts = read_json(folder / "done.json")
    (folder / "done.json").write_text(json.dumps(facts | {"sha256": {trainings.LAST: "0"}}))
    assert "last.safetensors" in dann.training_damage(folder)
