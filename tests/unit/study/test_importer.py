"""The records of two machines become one; what cannot be trusted is not taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import synthetic_record
from indexed import STUDY, index, run

from runners.ddpm.config import TrialConfig
from runners.process.files import read_json, write_json, write_manifest
from study.record import importer, reader


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The record of another machine, with seeds 2 to 4 of the same study."""
    root = synthetic_record.make(tmp_path / "other", seeds=(2, 3, 4))
    for folder in (root / "trials").iterdir():
        write_manifest(folder)
    return root


def test_a_trial_that_drew_fewer_passes_itself_is_the_same_trial(tmp_path):
    """On one machine its first passes were there already: what it drew is no part of its result."""
    for name, own in (("a", {"sampled/forwards": 12.0}), ("b", {"sampled/from": "x", "sampled/forwards": 4.0})):
        write_json(tmp_path / name / "result.json", {"accuracy/test": 0.5, "seconds/sample": 1.0} | own)
    assert importer.scores(tmp_path / "a") == importer.scores(tmp_path / "b") == {"accuracy/test": 0.5}


def test_another_record_is_taken_over(record, other, capsys):
    assert run(record, "--import", str(other)) == 0
    told = capsys.readouterr().out
    assert "trials: 6 new, 3 already here" in told
    assert "6 complete trials are not in MLflow: 6 trials indexed" in told
    assert set(reader.load(STUDY, record)["seed"]) == {0, 1, 2, 3, 4}
    assert list(reader.load(STUDY, record)["state"]) == ["complete"] * 15
    assert len(index(record).indexed()) == 15
    assert run(record, "--import", str(other)) == 0
    assert "trials: 0 new, 9 already here" in capsys.readouterr().out
    assert run(record) == 0


def test_another_record_begins_a_new_one(tmp_path, other, capsys):
    """The record of a rented GPU, in a fresh clone, whose mlruns holds a README and nothing else."""
    for record in (tmp_path / "new", tmp_path / "clone" / "mlruns"):
        if record.name == "mlruns":
            record.mkdir(parents=True)
            (record / "README.md").write_text("what lies where")
        assert run(record, "--import", str(other)) == 0
        assert "trials: 9 new, 0 already here" in capsys.readouterr().out
        assert set(reader.load(STUDY, record)["seed"]) == {2, 3, 4}
        assert run(record) == 0
    assert run(tmp_path / "nothing", "--import", str(tmp_path / "neither")) == 2
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("not a record")
    assert run(tmp_path / "mine", "--import", str(other)) == 2


def test_a_study_of_an_older_version_is_taken_over(record, other, capsys):
    """Its baseline lacks the fields that are younger than it: they had their defaults."""
    path = other / "studies" / STUDY / "study.json"
    value = read_json(path)
    for name in ("ema_ramp", "noise_seed", "evaluators"):
        del value["baseline"][name]
    write_json(path, value)
    assert run(record, "--import", str(other)) == 0
    assert set(reader.load(STUDY, record)["seed"]) == {0, 1, 2, 3, 4}
    assert "ema_ramp" in reader.load_study(STUDY, record).baseline


def conflict(other: Path) -> str:
    folder = next(
        path
        for path in (other / "trials").iterdir()
        if TrialConfig.from_dict(read_json(path / "config.json")).seed == 2
    )
    result = read_json(folder / "result.json")
    write_json(folder / "result.json", result | {"accuracy/test": 0.999})
    write_manifest(folder)
    return f"not taken: trials '{folder.name}': it was run on both machines with different results"


def damage(other: Path) -> str:
    folder = next(
        path
        for path in (other / "trials").iterdir()
        if TrialConfig.from_dict(read_json(path / "config.json")).seed == 4
    )
    os.truncate(folder / "outcomes.npz", 10)
    return f"not taken: trials '{folder.name}': outcomes.npz is changed"


def link(other: Path) -> str:
    folder = next(
        path
        for path in (other / "trials").iterdir()
        if TrialConfig.from_dict(read_json(path / "config.json")).seed == 4
    )
    (folder / "secret.txt").symlink_to("/etc/hostname")
    return f"not taken: trials '{folder.name}': secret.txt is a link or no file"


def odd_name(other: Path) -> str:
    shutil.copytree(other / "studies" / STUDY, other / "studies" / "..; rm -rf x")
    return "not taken: studies '..; rm -rf x': its name has characters that are not allowed"


def leading_out(other: Path) -> str:
    path = other / "studies" / STUDY / "study.json"
    write_json(path, read_json(path) | {"study_id": "../../outside"})
    return f"not taken: studies '{STUDY}': study.json: its study id is '../../outside', which is not the name"


def other_question(other: Path) -> str:
    path = other / "studies" / STUDY / "study.json"
    write_json(path, read_json(path) | {"metric": "exact/validation"})
    return f"not taken: studies '{STUDY}': its metric is 'exact/validation', here it is 'accuracy/validation'"


def other_noise(other: Path) -> str:
    """A version that sampled every seed with one draw of noise: seed 2, which both have, would have two trials."""
    path = other / "studies" / STUDY / "study.json"
    value = read_json(path)
    for trial in value["trials"]:
        config = TrialConfig.from_dict(trial["config"]).replace(noise_seed=7)
        trial |= {"config": config.to_dict(), "trial_key": config.trial_key}
    write_json(path, value)
    return f"not taken: studies '{STUDY}': its trial schedule=linear seed=2 has another setting than the one"


@pytest.mark.parametrize("harm", [conflict, damage, link, odd_name, leading_out, other_question, other_noise])
def test_what_cannot_be_trusted_is_not_taken(harm, record, other, capsys):
    text = harm(other)
    before = {path: path.read_bytes() for path in (record / "trials").rglob("result.json")}
    assert run(record, "--import", str(other)) == 1
    assert text in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in record.rglob("*") if path.is_symlink()]
    assert not (record.parent / "outside").exists()
    assert run(record) == 0
