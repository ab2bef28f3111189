"""More sampling passes and more evaluators of a record, through the real command: nothing is trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from launch import run

from runners.ddpm.manipulation_check import network_evaluations
from runners.process.files import MANIFEST, damaged, read_json, read_lines
from study.design import scales
from study.record import reader

pytestmark = pytest.mark.long
OWN = ("seconds/", "images_per_second", "peak_memory_mb", "sampled/")  # of a trial, not of its setting
EVALUATIONS = network_evaluations(scales.find("smoke").config)
PASS = 264 * EVALUATIONS  # images that go through the network in a pass over the four lists


def study(record: Path, passes: int, *arguments: str):
    """The study `null`, two trainings of one setting, with so many sampling passes."""
    return run(record, "--study", "null", "--set", f"sampling_seeds={passes}", *arguments)


def rows_of(record: Path, passes: int):
    known = [found for found in reader.studies(record).values() if found.baseline["sampling_seeds"] == passes]
    return reader.load(known[0].study_id, record)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """One pass, then three in the same record."""
    record = tmp_path_factory.mktemp("passes") / "record"
    done = study(record, 1)
    assert done.returncode == 0, done.stderr
    before = {path: path.read_bytes() for path in record.glob("trials/*/*.json")}
    more = study(record, 3)
    assert more.returncode == 0, more.stderr
    assert "2 trials and 0 trainings to run" in more.stdout
    for key in rows_of(record, 1)["trial_key"]:
        assert f"1 of the 3 sampling passes are those of {key}" in more.stdout
    assert {path: path.read_bytes() for path in before} == before
    return record


def test_nothing_is_trained_and_two_passes_are_drawn(grown):
    for path in grown.glob("cache/trainings/*/starts.jsonl"):
        assert len(read_lines(path)) == 1
    before, after = rows_of(grown, 1).set_index("arm"), rows_of(grown, 3).set_index("arm")
    assert list(after["state"]) == ["complete"] * 2
    assert list(before["sampled/forwards"]) == [PASS] * 2
    assert list(after["sampled/forwards"]) == [2 * PASS] * 2
    assert after["sampled/from"].to_dict() == before["trial_key"].to_dict()
    assert (after["seconds/sample"] > before["seconds/sample"]).all()
    assert not any(damaged(path) for path in grown.glob("trials/*"))


def test_the_results_are_those_of_a_fresh_record(grown, tmp_path):
    """Number for number and picture for picture: trained and sampled anew with the record's data and evaluator."""
    fresh = tmp_path / "record"
    shutil.copytree(grown / "cache", fresh / "cache", ignore=shutil.ignore_patterns("trainings", "locks", "logs"))
    done = study(fresh, 3)
    assert done.returncode == 0, done.stderr
    assert "2 trials and 2 trainings to run" in done.stdout
    for key in rows_of(fresh, 3)["trial_key"]:
        folders = [record / "trials" / key for record in (fresh, grown)]
        results = [
            {name: value for name, value in read_json(folder / "result.json").items() if not name.startswith(OWN)}
            for folder in folders
        ]
        assert results[0] == results[1]
        assert len(results[0]) > 60
        listed = [read_json(folder / MANIFEST) for folder in folders]
        own = ("result.json", "metrics.jsonl", "environment.json")
        digests = [{name: digest for name, digest in each.items() if name not in own} for each in listed]
        zipped = [name for name in digests[0] if name.endswith(".npz")]  # files in them have a time
        assert sorted(zipped) == ["features.npz", "outcomes.npz"]
        for name in zipped:
            arrays = [np.load(folder / name) for folder in folders]
            assert arrays[0].files == arrays[1].files
            assert all(np.array_equal(arrays[0][each], arrays[1][each]) for each in arrays[0].files)
        assert {name: digest for name, digest in digests[0].items() if name not in zipped} == {
            name: digest for name, digest in digests[1].items() if name not in zipped
        }


def test_several_evaluators_score_the_trainings_of_a_record(grown, tmp_path):
    """Two more surrogates are trained, no denoiser; scores are means, and the first evaluator's are what they were."""
    record = Path(shutil.copytree(grown, tmp_path / "record"))
    done = study(record, 1, "--evaluators", "3", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "4 trials and 2 trainings to run" in done.stdout  # of the new seed
    assert "training surrogate evaluator 2 of 3" in done.stdout
    assert "training surrogate evaluator 1 of 3" not in done.stdout
    assert len(list(record.glob("cache/evaluator-*.safetensors"))) == 3
    (study_id,) = [found.study_id for found in reader.studies(record).values() if found.baseline["evaluators"] == 3]
    rows, before = reader.load(study_id, record), rows_of(grown, 1).set_index("arm")
    each = rows[[f"accuracy_evaluator_{number}/test" for number in range(3)]]
    assert each.mean(axis=1).tolist() == pytest.approx(rows["accuracy/test"].tolist())
    first = rows[rows["seed"] == 0].set_index("arm")["accuracy_evaluator_0/test"]
    assert first.to_dict() == before["accuracy/test"].to_dict()
    assert set(rows["evaluator_held_out_accuracy"]) == set(before["evaluator_held_out_accuracy"])
    page = (record / "studies" / study_id / "report" / "index.html").read_text()
    assert "means over 3 surrogate evaluators" in page
    again = study(record, 1, "--evaluators", "3", "--seeds", "2")
    assert "every trial is in the record: nothing to run" in again.stdout
