"""`--keep-checkpoints`: which weights stay, on a record of which only the files matter."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import synthetic_record

from runners.ddpm.config import TrialConfig
from runners.process.files import read_json, write_json
from study.design import plan as planning
from study.design import registry, scales
from study.record.schema import Keep
from study.scheduling.retention import Retention

BASELINE = TrialConfig(total_images=64_000, timesteps=500)  # the synthetic_record's


@pytest.fixture
def record(tmp_path) -> Path:
    """Nine complete trials of three schedules, each with the weights of its training."""
    root = synthetic_record.make(tmp_path)
    for path in (root / "trials").glob("*/config.json"):
        folder = root / "cache" / "trainings" / TrialConfig.from_dict(read_json(path)).train_key
        folder.mkdir(parents=True)
        for name in ("done.json", "ema.safetensors", "raw.safetensors"):
            (folder / name).write_text("{}")
    return root


def plan(root: Path, keep: Keep) -> planning.Plan:
    """The synthetic_record's plan, and its study.json as a launch with `keep` writes it."""
    row = dataclasses.replace(scales.find("smoke"), config=BASELINE)
    made = planning.make("schedules", registry.find("schedules"), "smoke", row, planning.Request(seeds=3, keep=keep))
    path = root / "studies" / "schedules-smoke" / "study.json"
    write_json(path, read_json(path) | {"keep_checkpoints": keep})
    return made


def kept(root: Path) -> set[str]:
    return {path.parent.name for path in (root / "cache" / "trainings").glob("*/ema.safetensors")}


def key(schedule: str, seed: int) -> str:
    return BASELINE.replace(schedule=schedule, seed=seed).train_key


@pytest.mark.parametrize(("keep", "count"), [("all", 9), ("best", 1), ("none", 0)])
def test_what_stays(record, keep, count):
    Retention(plan(record, keep), record)
    assert len(kept(record)) == count
    assert len(list((record / "cache" / "trainings").glob("*/done.json"))) == 9  # digests and treatment stay
    if keep == "best":
        assert kept(record) == {key("squaredcos_cap_v2", 2)}  # .85, the highest of the nine


def test_weights_of_trials_that_are_still_to_be_run_stay(tmp_path, record):
    import shutil

    missing = BASELINE.replace(schedule="cosine").at_seed(1, 1)
    shutil.rmtree(record / "trials" / missing.trial_key)
    Retention(plan(record, "none"), record)
    assert kept(record) == {missing.train_key}


def test_weights_that_another_study_keeps_stay(record):
    study = read_json(record / "studies/schedules-smoke/study.json")
    mine = [trial for trial in study["trials"] if trial["arm"] == "schedule=linear"]
    write_json(record / "studies/other-smoke/study.json", study | {"study_id": "other-smoke", "trials": mine})
    Retention(plan(record, "none"), record)
    assert kept(record) == {key("linear", seed) for seed in range(3)}


def test_each_end_deletes_what_it_makes_unwanted(tmp_path, record):
    """With `best`, the weights of the best so far stay; a better one that arrives frees those of the one before."""
    import shutil

    late = BASELINE.replace(schedule="squaredcos_cap_v2").at_seed(2, 2)  # .85, the best of all
    folder = record / "trials" / late.trial_key
    shutil.move(folder, tmp_path / "later")
    made = plan(record, "best")
    retention = Retention(made, record)
    assert kept(record) == {key("squaredcos_cap_v2", 1), late.train_key}  # .81, and the one that is still to be run
    shutil.move(tmp_path / "later", folder)
    (trial,) = (one for one in made.trials if one.key == late.trial_key)
    retention.end(trial, 0.85)
    assert kept(record) == {late.train_key}


def test_a_study_that_was_launched_within_a_tick_of_the_clock_keeps_its_weights(record, monkeypatch):
    """Some file systems count in seconds, and copies keep times: study.json is another file all the same."""
    monkeypatch.setattr(Retention, "_release", lambda *_: None)
    retention = Retention(plan(record, "none"), record)
    path = record / "studies/other-smoke/study.json"
    study = read_json(record / "studies/schedules-smoke/study.json") | {"study_id": "other-smoke"}
    write_json(path, study | {"trials": [], "keep_checkpoints": "all"})
    times = path.stat().st_mtime_ns
    assert retention._kept_by_others() == set()
    write_json(path, study | {"keep_checkpoints": "all"})
    os.utime(path, ns=(times, times))
    assert retention._kept_by_others() == kept(record)
