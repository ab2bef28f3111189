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
KEPT = (
    f"The study {STUDY} was begun with weight_decay_on=all, ema_halflife_images=160, ema_ramp=steps, which today's "
    "smoke scale sets otherwise: it keeps them. A new --record DIR starts with today's.\n"
)


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
    """The same command keeps the settings that the study was begun with, trains what is missing, goes on from the
    checkpoint of the stopped training, and uses the data and the evaluator of the record; --seeds 3 then trains the new
    seed alone and changes no trial.

    Today each seed has its own sampling noise: the one complete trial of seed 1 is sampled again, and trained again
    because its weights were left out of the fixture.
    """
    before = {path: path.read_bytes() for path in layout.trials_folder(record).glob("*/result.json")}
    cached = {path.name for path in layout.cache_folder(record).iterdir()}
    ids = {trial.trial_key: trial.run_id for trial in records.load_study(STUDY, record).trials if trial.run_id}
    done = run("study/run.py", *COMMAND, "--seeds", "2", "--record", record, "--per-device", "1")
    assert done.returncode == 0, done.stderr
    assert "3 trials and 3 trainings to run" in done.stdout
    assert done.stderr == KEPT
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
    assert grown.stderr == KEPT
    study = records.load_study(STUDY, record)
    kept = {name: study.baseline[name] for name in ("ema_halflife_images", "ema_ramp", "weight_decay_on")}
    assert kept == {"ema_halflife_images": 160, "ema_ramp": "steps", "weight_decay_on": "all"}
    assert [trial.config["noise_seed"] for trial in study.trials] == [0] * 3 + [1] * 3 + [2] * 3
    starts = {
        (row.arm, row.seed): len(read_lines(layout.training_folder(record, row.train_key) / "starts.jsonl"))
        for row in study.trials
    }
    again = {("schedule=cosine", 1), ("schedule=linear", 1)}  # one that was stopped, one without its weights
    assert starts == {cell: 2 if cell in again else 1 for cell in starts}
    rows = records.load(STUDY, record)
    assert set(rows["state"]) == {"complete"}
    assert len(rows) == 9
    assert rows["evaluator_held_out_accuracy"].nunique() == 1
    assert rows["data_digest"].nunique() == 1
    assert {path: path.read_bytes() for path in before} == before
    kept = {key: run_id for key, run_id in zip(rows["trial_key"], rows["run_id"], strict=True) if key in ids}
    assert kept == {key: run_id for key, run_id in ids.items() if key in set(rows["trial_key"])}
    assert len(kept) == 3  # of seed 0
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
def test_its_search_chooses_its_winner_anew(record):
    """No suggestion is run again; its finalists are trained on a seed that the search did not use, and winner and
    baseline on another."""
    searched = [trial.trial_key for trial in records.load_study("search", record).search.trials]
    done = run(
        "study/run.py", "--study", "search", "--scale", "smoke", "--trials", "3", "--seeds", "1", "--record", record
    )
    assert done.returncode == 0, done.stderr
    assert "5 trials and 5 trainings to run" in done.stdout
    assert "The study search-smoke was begun with weight_decay_on=all" in done.stderr
    search = records.load_study("search", record).search
    assert [trial.trial_key for trial in search.trials] == searched
    assert (search.selection_seeds, len(search.finalists), search.importance_shuffles) == ((1,), 3, 39)
    scores = records.load_finalists("search", record).set_index("arm")["accuracy/validation"]
    assert scores[f"finalist {search.winner}"] == scores.max()
