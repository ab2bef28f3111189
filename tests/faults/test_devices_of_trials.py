"""Where and how a trial was computed stands in its folder, also where another trial had made the training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tiny_trainings import TRIAL, context, trial_folder

from runners.ddpm import trial
from runners.process import device


def facts(folder: Path, name: str) -> dict[str, object]:
    return dict(json.loads((folder / f"{name}.json").read_text()))


def test_a_training_belongs_to_the_device_that_made_it(record, monkeypatch):
    """The second trial finds it finished, on another machine."""
    other = TRIAL.replace(guidance_scale=3.0)
    for config, model in ((TRIAL, "GPU A"), (other, "GPU B")):
        monkeypatch.setattr(device, "name", lambda _, model=model: model)
        list(trial.run(config, context(record)))
    results = [facts(record / "trials" / config.trial_key, "result") for config in (TRIAL, other)]
    assert [(result["device/train"], result["device/sample"]) for result in results] == [
        ("GPU A", "GPU A"),
        ("GPU A", "GPU B"),
    ]
    assert facts(record / "trials" / other.trial_key, "environment")["device"] == "GPU B"


def test_a_training_of_an_older_version_has_no_device(record):
    list(trial.run(TRIAL, context(record)))
    (done,) = (record / "cache" / "trainings").glob("*/done.json")
    left = {name: value for name, value in json.loads(done.read_text()).items() if name not in ("device", "arithmetic")}
    done.write_text(json.dumps(left))
    other = TRIAL.replace(guidance_scale=3.0)
    list(trial.run(other, context(record)))
    assert facts(record / "trials" / other.trial_key, "result")["device/train"] == ""


@pytest.mark.parametrize(("at", "deterministic"), [("fp32", False), ("tf32", True)])
def test_a_trial_leaves_no_flag_and_records_those_it_had(record, at, deterministic):
    torch.backends.cuda.matmul.allow_tf32 = True  # of somebody else
    try:
        left = device.arithmetic()
        config = TRIAL.replace(precision=at)
        for _ in trial.run(config, dataclasses.replace(context(record), deterministic=deterministic)):
            pass
        assert device.arithmetic() == left
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    exact = "matmul ieee, convolution ieee"
    network = "matmul tf32, convolution tf32" if at == "tf32" else exact
    rest = "cuDNN default, deterministic yes" if deterministic else "cuDNN fastest, deterministic no"
    environment = facts(record / "trials" / config.trial_key, "environment")
    assert environment["arithmetic/train"] == environment["arithmetic/sample"] == f"{network}, {rest}"
    assert environment["arithmetic/evaluator"] == f"{exact}, {rest}"


def test_a_trial_that_fails_leaves_no_flag(record, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(trial, "score", fail)
    left = device.arithmetic()
    with pytest.raises(OSError, match="no space"):
        list(trial.run(TRIAL, context(record)))
    assert device.arithmetic() == left


def test_warm_up_and_recording_stand_beside_the_seconds_of_sampling(done):
    result = facts(trial_folder(done), "result")
    assert result["seconds/warm_up"] > 0
    assert result["seconds/sample"] > 0
