"""A search whose trials fail: the same command runs them again once the cause is gone, and says what helps if not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN
from test_own_experiment import EXPERIMENT, SEARCH, copied, line

from study.record import reader

pytestmark = pytest.mark.long
BREAKS = """
    import os

    if config.lr > float(os.environ.get("FAILS_ABOVE", "inf")):
        raise ValueError("a file is not there")
    if config.lr > float(os.environ.get("DIVERGES_ABOVE", "inf")):
        raise FloatingPointError("the loss is nan")
"""


@pytest.fixture
def searched(tmp_path):
    """A search of four trials whose experiment fails, or diverges, above a learning rate."""
    study = copied(tmp_path / "own").with_name("my_search.py")
    study.write_text(SEARCH.replace("trials=6", "trials=4"), encoding="utf-8")
    head, run, body = EXPERIMENT.partition("def run(config, context):\n")
    (study.with_name("my_experiment") / "__init__.py").write_text(head + run + BREAKS + body, encoding="utf-8")
    return study, tmp_path / "record"


def launched(study: Path, record: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = line(study, record, "--scale", "smoke", *arguments)
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=UNDRAWN | environment)


def states(record: Path) -> list[str]:
    return [trial.state for trial in reader.load_study("my_search", record).search.trials]


def test_a_search_whose_trials_all_failed_goes_on_when_the_cause_is_gone(searched):
    study, record = searched
    failed = launched(study, record, FAILS_ABOVE="0")
    assert failed.returncode == 1
    assert "No trial of the search" in failed.stderr
    assert "(4 failed, 0 diverged)" in failed.stderr
    assert "rerun the same command" in failed.stderr
    assert states(record) == ["failed"] * 4
    before = reader.load_study("my_search", record).search.trials
    done = launched(study, record)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[4/4] trial" in done.stdout
    now = reader.load_study("my_search", record).search
    assert [trial.trial_key for trial in now.trials] == [trial.trial_key for trial in before]
    assert states(record) == ["complete"] * 4
    assert now.best is not None


def test_trials_that_failed_run_again_and_the_others_do_not(searched):
    study, record = searched
    assert launched(study, record, FAILS_ABOVE="0.01").returncode == 0
    before = states(record)
    assert set(before) == {"complete", "failed"}
    kept = {path: path.stat().st_mtime_ns for path in record.glob("trials/*[0-9a-f]/result.json")}
    done = launched(study, record)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("started   trial") == before.count("failed")
    assert states(record) == ["complete"] * 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    again = launched(study, record)
    assert "nothing to run" in again.stdout


def test_trials_that_diverged_are_not_run_again_and_it_is_said_what_helps(searched):
    study, record = searched
    assert launched(study, record, DIVERGES_ABOVE="0").returncode == 1
    again = launched(study, record)
    assert again.returncode == 1
    assert "started" not in again.stdout
    assert "(0 failed, 4 diverged)" in again.stderr
    assert "narrow the space, or write --trials 8 for further ones" in again.stderr
    more = launched(study, record, "--trials", "8")
    assert more.returncode == 0, more.stdout + more.stderr
    assert states(record) == ["failed"] * 4 + ["complete"] * 4
