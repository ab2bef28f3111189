"""A study that an earlier version began keeps the baseline of its trainings; another record starts with today's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launch import refused

from study.design import plan as planning
from study.design import registry, scales
from study.record import layout

TODAY = scales.find("laptop").config
BEGUN = TODAY.replace(
    ema_ramp="steps", weight_decay_on="all", ema_halflife_images=640, sampling_seeds=1, guidance_scale=2.0
)
YOUNGER = ("ema_ramp", "weight_decay_on", "noise_seed", "evaluators")  # fields that its version did not have


def begun(record: Path, name: str = "schedules", changes: dict[str, object] | None = None, **fields: object) -> str:
    """A record in which a version before these fields has launched a study; its id."""
    plan = planning.make(name, registry.find(name), "laptop", scales.find("laptop"), planning.Request(changes or {}))
    study = json.loads(plan.as_study("2026-01-01T00:00:00", "command", {}, None).model_dump_json())
    study |= {"baseline": BEGUN.to_dict() | (changes or {})} | fields
    study["baseline"] = {name: value for name, value in study["baseline"].items() if name not in YOUNGER}
    path = layout.study_file(record, plan.study_id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(study))
    return plan.study_id


def dry(record: Path, *arguments: str) -> tuple[dict[str, object], str]:
    """The baseline that the command plans with, and what it says."""
    name = () if "--study" in arguments else ("--study", "schedules")
    done = refused(*name, "--scale", "laptop", "--devices", "cpu", "--json", "--record", record, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["baseline"], done.stderr


def test_the_trainings_baseline_is_kept_and_that_of_the_sampling_is_todays(tmp_path):
    study_id = begun(tmp_path)
    baseline, said = dry(tmp_path, "--seeds", "5")
    assert baseline == BEGUN.replace(sampling_seeds=4, guidance_scale=3.0, schedule="linear").to_dict()
    assert said == (
        f"The study {study_id} was begun with weight_decay_on=all, ema_halflife_images=640, ema_ramp=steps, which "
        "today's laptop scale sets otherwise: it keeps them. A new --record DIR starts with today's.\n"
    )


def test_another_record_and_another_study_start_with_todays(tmp_path):
    begun(tmp_path / "record")
    for record, arguments in ((tmp_path / "new", ()), (tmp_path / "record", ("--study", "guidance"))):
        baseline, said = dry(record, *arguments)
        assert said == ""
        assert {name: baseline[name] for name in YOUNGER} == {name: getattr(TODAY, name) for name in YOUNGER}


def test_what_the_user_sets_goes_before_what_is_kept(tmp_path):
    begun(tmp_path, changes={"lr": 0.001, "ema_ramp": "edm"})
    baseline, said = dry(tmp_path, "--set", "lr=0.001", "--set", "ema_ramp=edm")
    assert (baseline["lr"], baseline["ema_ramp"], baseline["weight_decay_on"]) == (0.001, "edm", "all")
    assert "was begun with weight_decay_on=all, ema_halflife_images=640, which" in said


def test_a_field_alone_is_it(tmp_path):
    begun(tmp_path, baseline=TODAY.replace(weight_decay=0.1, ema_ramp="steps", weight_decay_on="all").to_dict())
    baseline, _ = dry(tmp_path, "--seeds", "2")
    assert baseline == TODAY.replace(weight_decay=0.1, ema_ramp="steps", weight_decay_on="all").to_dict()
    begun(tmp_path / "other", "guidance")
    path = layout.study_file(tmp_path / "other", "guidance-laptop")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"baseline": TODAY.replace(weight_decay=0.1).to_dict()}))
    _, said = dry(tmp_path / "other", "--study", "guidance")
    assert "was begun with weight_decay=0.1, which today's laptop scale sets otherwise: it keeps it." in said


def test_a_study_of_today_says_nothing(tmp_path):
    begun(tmp_path)
    path = layout.study_file(tmp_path, "schedules-laptop")
    study = json.loads(path.read_text())
    for baseline in (TODAY.to_dict(), {}):  # and one whose version recorded no baseline
        path.write_text(json.dumps(study | {"baseline": baseline}))
        found, said = dry(tmp_path)
        assert (found, said) == (TODAY.to_dict(), "")


def test_a_search_keeps_its_sampling_too(tmp_path):
    """Its suggestions are compared with each other, and those that have a score got it so."""
    begun(tmp_path, "search")
    baseline, said = dry(tmp_path, "--study", "search")
    assert baseline == BEGUN.to_dict()
    assert "sampling_seeds=1" in said


@pytest.mark.parametrize("name", ["ladder", "architectures", "dropout"])
def test_studies_whose_arms_come_from_the_baseline_keep_it_in_every_arm(tmp_path, name):
    """One that is grown by a seed trains that seed alone: every training of the old seeds has its old key."""
    begun(tmp_path, name)
    spec, scale = registry.find(name), scales.find("laptop")
    old = scales.Scale(**{**vars(scale), "config": BEGUN})
    before = planning.make(name, spec, "laptop", old, planning.Request())
    from study.cli import growing

    grown, _ = growing.plan_of(registry.asked(name), "laptop", scale, planning.Request(seeds=4), tmp_path)
    assert set(before.train_keys) < set(grown.train_keys)
    assert {trial.seed for trial in grown.trials if trial.train_key not in before.train_keys} == {3}
