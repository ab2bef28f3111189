"""Fixtures that the files of faults share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_trainings import (
    NAME,
    RECIPE,
    RENDERED,
    STEPS,
    TRIAL,
    context,
    outcome,
    tiny_evaluator,
    turn,
)

from runners import images as scene_images
from runners.ddpm import trial
from runners.evaluation import evaluator
from runners.process import heartbeat


@pytest.fixture(autouse=True)
def _one_thread_and_no_wish_to_end(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(heartbeat._State, "ending", False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, object]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed") / STEPS.train_key
    list(turn(folder))
    return outcome(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A record with prepared data and an evaluator, without a trial."""
    record = tmp_path_factory.mktemp("prepared")
    for _ in scene_images.prepare(RENDERED, None, 16, record / "cache"):
        pass
    evaluator.save(record / "cache" / NAME, tiny_evaluator().model, RECIPE, {"accuracy": 0.5})
    return record


@pytest.fixture
def record(prepared, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "record"))


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory) -> Path:
    """A record with a complete trial."""
    torch.set_num_threads(1)
    record = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("done") / "record"))
    assert list(trial.run(TRIAL, context(record)))
    return record
