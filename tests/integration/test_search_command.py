"""A whole search at scale smoke, as a user starts it: stopped, resumed, grown, explained, checked and imported."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN, command, run

from analysis import figures, report
from study.record import layout, reader

pytestmark = pytest.mark.long
SEARCH = ("--study", "search", "--trials", "4")


def killed(record: Path, line: str) -> None:
    """Start the search, and end it by SIGKILL when it prints a line that begins so."""
    arguments = [*SEARCH, "--per-device", "2"]
    launched = subprocess.Popen(command(record, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True, env=UNDRAWN)
    assert launched.stdout is not None
    for text in launched.stdout:
        if text.startswith(line):
            break
    launched.send_signal(signal.SIGKILL)
    launched.wait()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A record that was killed among the suggestions and among the finalists, and what the last launch printed."""
    record = tmp_path_factory.mktemp("search") / "record"
    killed(record, "[2/4] trial")
    before = reader.load_study("search", record).search.trials
    assert 2 <= len(before) < 4
    killed(record, "[1/4] finalist")
    between = reader.load_study("search", record)
    assert between.searching
    assert [trial.trial_key for trial in before] == [t.trial_key for t in between.search.trials][: len(before)]
    done = run(record, *SEARCH, workers=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[4/4] finalist" in done.stdout
    assert "trial 0 seed=0" not in done.stdout  # its suggestions are not run again
    return record, done.stdout


@pytest.fixture
def record(searched: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy, for a test that changes it."""
    return Path(shutil.copytree(searched[0], tmp_path / "record"))


def test_a_search_that_was_killed_resumes_and_chooses_on_fresh_seeds(searched):
    record, printed = searched
    study = reader.load_study("search", record)
    search = study.search
    assert len({trial.trial_key for trial in search.trials}) == 4
    assert {trial.state for trial in search.trials} <= {"complete", "pruned"}
    again = reader.load_finalists("search", record)
    assert set(again["state"]) == {"complete"}
    assert set(again["seed"]) == set(again["training_seed"]) == set(again["noise_seed"]) == {1}
    assert len(again) == len(search.of("complete"))
    means = again.groupby("arm")["accuracy/validation"].mean()
    assert search.selection_score == pytest.approx(means.max())
    assert means[f"finalist {search.winner}"] == means.max()
    rows = reader.load("search", record)
    assert sorted(rows["arm"]) == ["baseline", "winner"]
    assert set(rows["seed"]) == set(rows["noise_seed"]) == {2}  # neither the search's seed nor the choice's
    assert rows.set_index("arm").loc["winner", "lr"] == search.best.params["lr"]
    assert study.answer_metric == "accuracy/unseen"
    assert "in accuracy/unseen the best arm is" in printed
    assert re.search(r"Finalists: trials .*, were trained again on seed 1\. The winner is trial \d", printed)
    assert re.search(r"it has 0\.\d+ on seed 2, which chose nothing \(n = 1\)", printed)
    assert re.search(r"In brackets what noise gives: the mean of 39 shuffles", printed)
    assert all(trial.run_id for trial in (*study.trials, *search.finalists))


def test_the_same_command_finds_everything_done(searched):
    record = searched[0]
    path = layout.study_file(record, "search-smoke")
    before = path.read_bytes()
    again = run(record, *SEARCH, workers=2)
    assert again.returncode == 0, again.stderr
    assert "every trial is in the record: nothing to run" in again.stdout
    assert "started" not in again.stdout
    assert path.read_bytes() == before
    preview = json.loads(run(record, *SEARCH, "--json").stdout)
    assert (preview["missing_trials"], preview["finalists"], preview["selection_seeds"]) == (0, 4, [1])


def test_a_search_grows_and_chooses_again(record):
    """Two suggestions more; of the finalists only those that are new are trained, and only the best keeps weights."""
    before = {path: path.read_bytes() for path in layout.trials_folder(record).glob("*/result.json")}
    done = run(record, "--study", "search", "--trials", "6", "--keep-checkpoints", "best", workers=2)
    assert done.returncode == 0, done.stdout + done.stderr
    search = reader.load_study("search", record).search
    assert len(search.trials) == 6
    known = {path.parent.name for path in before}
    new = [trial for trial in search.finalists if trial.trial_key not in known]
    assert len(re.findall(r"^started   finalist", done.stdout, re.M)) == len(new) <= 2
    assert len(search.finalists) == min(5, len(search.of("complete")))
    assert {path: path.read_bytes() for path in before} == before
    kept = [path for path in layout.trainings_folder(record).iterdir() if layout.has_weights(record, path.name)]
    assert len(kept) == 1


def test_a_search_of_an_earlier_version_chooses_its_finalists(record):
    """Its study.json has a winner of the search's own scores; suggestions and trainings that are there are kept."""
    path = layout.study_file(record, "search-smoke")
    value = json.loads(path.read_text())
    search = value["search"]
    new = (
        "finalists",
        "selection_seeds",
        "answer_metric",
        "importance_null",
        "importance_limit",
        "importance_shuffles",
    )
    for name in new:
        del search[name]
    best = max((t for t in search["trials"] if t["state"] == "complete"), key=lambda trial: trial["value"])
    search |= {"winner": best["number"], "selection_score": best["value"]}
    path.write_text(json.dumps(value))
    done = run(record, *SEARCH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "started" not in done.stdout
    search = reader.load_study("search", record).search
    assert search.selection_seeds == (1,)
    assert search.importance_shuffles == 39


def test_explain_names_the_trials_that_chose(searched):
    done = run(searched[0], *SEARCH, "--explain", "winner")
    assert done.returncode == 0, done.stderr
    assert "how the winner was chosen: the best mean accuracy/validation" in done.stdout
    assert Counter(re.findall(r"^finalist \d+", done.stdout, re.M)).total() == 4


def test_both_indexes_agree_with_the_folders_and_can_be_made_anew(record, tmp_path):
    def doctor(where: Path, *arguments: object) -> str:
        line = [sys.executable, "-m", "study.doctor", "--record", str(where), *map(str, arguments)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    doctor(record, "--relocate")
    assert "nothing is wrong" in doctor(record)
    assert "10 trials indexed" in doctor(record, "--rebuild-mlflow")
    (record / "optuna.db").unlink()
    assert "every trial is in the record" in run(record, *SEARCH).stdout
    assert "nothing is wrong" in doctor(record)
    other = tmp_path / "other"
    (other / "trials").mkdir(parents=True)
    doctor(other, "--import", record)
    ours, theirs = reader.load_study("search", other), reader.load_study("search", record)
    assert ours.search.trials == theirs.search.trials
    assert [trial.trial_key for trial in ours.search.finalists] == [t.trial_key for t in theirs.search.finalists]


def test_the_page_has_the_finalists(record, monkeypatch):
    monkeypatch.setattr(figures, "NAMES", ("importance", "search_history"))
    page = report.build("search", record)
    tables = {path.name for path in (page.parent / "tables").iterdir()}
    assert {"finalists.csv", "importance.csv", "search.csv"} <= tables
    text = page.read_text()
    assert "Finalists" in text
    assert "not drawn" not in text
