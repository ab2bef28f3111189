"""A record of the version before the rooms were rebuilt: read, reported, resumed and grown by this one.

fixtures/record_before_rebuild.tar.xz was made by that version at scale smoke: a whole search, and a study of schedules
at two seeds that was stopped in its fifth training. Pictures, reports and most weights were left out to keep it small.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN

from analysis.narrative import search as search_text
from analysis.results import Results
from runners.process.files import read_lines
from study import record as records
from study.record import layout

FIXTURE = ROOT / "tests" / "fixtures" / "record_before_rebuild.tar.xz"
MODEL = "unet(attention=(), channels=(8, 8), groups=4, layers=1)"
COMMAND = ("--study", "schedules", "--scale", "smoke", "--set", f"model={MODEL}", "--set", "total_images=9600")
STUDY = "schedules-smoke-8a5527"


@pytest.fixture
def record(tmp_path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "record_before_rebuild"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *script.split(), *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, env=UNDRAWN)


def test_it_is_read(record):
    rows = records.load("schedules", record)
    assert list(rows["state"]) == ["complete"] * 4 + ["missing"] * 2
    assert rows.groupby("arm")["accuracy/validation"].count().to_dict() == {
        "schedule=linear": 2,
        "schedule=cosine": 1,
        "schedule=squaredcos_cap_v2": 1,
    }
    study = records.load_study("search", record)
    assert [trial.state for trial in study.search.trials] == ["complete"] * 3
    assert study.search.best.number == 2
    assert set(records.studies(record)) == {STUDY, "search-smoke"}
    assert len(records.curves("schedules", record)) > 50


def test_its_keys_are_those_of_today(record):
    for study in records.studies(record).values():
        for key, trial in study.all_trials.items():
            config = study.config(trial)
            assert (config.trial_key, config.train_key) == (key, trial.train_key)


@pytest.mark.slow
def test_it_is_reported(record):
    """Also the verdict of an older study.json, and the answer of a search whose weights are gone."""
    done = run("analysis/report.py", "--record", record, "--all")
    assert done.returncode == 0, done.stderr
    page = (layout.report_folder(record, STUDY) / "index.html").read_text()
    assert "incomplete 1/2 seeds" in page
    assert "is not complete" in page or "are not complete" in page
    assert (layout.report_folder(record, "search-smoke") / "index.html").is_file()


@pytest.mark.long
def test_it_is_resumed_and_grown(record):
    """The same command trains what is missing, goes on from the checkpoint of the stopped training, and uses the data
    and the evaluator of the record; --seeds 3 then adds three trials and changes none."""
    before = {path: path.read_bytes() for path in layout.trials_folder(record).glob("*/result.json")}
    cached = {path.name for path in layout.cache_folder(record).iterdir()}
    ids = {trial.trial_key: trial.run_id for trial in records.load_study(STUDY, record).trials if trial.run_id}
    done = run("study/run.py", *COMMAND, "--seeds", "2", "--record", record, "--per-device", "1")
    assert done.returncode == 0, done.stderr
    assert "2 trials and 2 trainings to run" in done.stdout
    assert "rendering" not in done.stdout
    assert "training the surrogate" not in done.stdout
    stopped = next(
        row.train_key
        for row in records.load_study(STUDY, record).trials
        if (row.arm, row.seed) == ("schedule=cosine", 1)
    )
    starts = read_lines(layout.training_folder(record, stopped) / "starts.jsonl")
    assert [start["images"] > 0 for start in starts] == [False, True]
    grown = run("study/run.py", *COMMAND, "--seeds", "3", "--record", record, "--per-device", "1")
    assert grown.returncode == 0, grown.stderr
    assert "3 trials and 3 trainings to run" in grown.stdout
    rows = records.load(STUDY, record)
    assert set(rows["state"]) == {"complete"}
    assert len(rows) == 9
    assert rows["evaluator_held_out_accuracy"].nunique() == 1
    assert rows["data_digest"].nunique() == 1
    assert {path: path.read_bytes() for path in before} == before
    assert {key: run_id for key, run_id in zip(rows["trial_key"], rows["run_id"], strict=True) if key in ids} == ids
    evaluators = [path for path in layout.cache_folder(record).glob("evaluator-*.safetensors")]
    assert len({path.read_bytes() for path in evaluators}) == 1
    assert {name for name in cached if name.startswith("data-")} >= {
        path.name for path in layout.cache_folder(record).glob("data-*")
    }
    check = run("-m study.doctor", "--record", record)
    assert "nothing is wrong" in check.stdout, check.stdout


def test_its_search_shows_what_it_was(record):
    """The winner has the best score of the search on its own seed, and is answered on the list that chose it."""
    results = Results.open("search", record)
    search = results.study.search
    assert (search.winner, search.selection_seeds, search.finalists) == (2, (), ())
    assert search.selection_score == search.best.value == max(trial.value for trial in search.trials)
    assert results.metric == "accuracy/validation"
    said = "\n".join(search_text.lines(results))
    assert "Selection: trial 2 scored" in said
    assert "the best of 3 complete trials" in said
    assert "noise has shares too, and its own were not computed" in said


@pytest.mark.slow
def test_its_search_is_not_gone_on_with_from_another_baseline(record):
    """The scale's numbers are others by now: its suggestions would be taken for trials that were never run."""
    path = layout.study_file(record, "search-smoke")
    before = path.read_bytes()
    done = run("study/run.py", "--study", "search", "--scale", "smoke", "--trials", "4", "--record", record)
    assert done.returncode == 2, done.stdout
    assert "was begun from another baseline: give another --record DIR, or delete" in done.stderr
    assert path.read_bytes() == before
