"""A record that was last used with other versions, or changed in the UI: the study's own command puts it right."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from launch import ROOT, UNDRAWN
from test_own_experiment import copied, line

from study.record import mlflow_index, reader

pytestmark = pytest.mark.slow


def test_the_same_command_renews_both_databases_and_runs_nothing(tmp_path):
    study, record = copied(tmp_path / "own"), tmp_path / "record"

    def done(*program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=UNDRAWN)

    command = line(study, record, "--scale", "smoke")
    first = done(*command)
    assert first.returncode == 0, first.stdout + first.stderr
    for name, revision in (("mlflow.db", "728d730b5ebd"), ("optuna.db", "v2.6.0.a")):
        with sqlite3.connect(record / name) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    again = done(*command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to run" in again.stdout
    assert again.stderr.count("was written by another version of") == 2
    assert "Traceback" not in again.stderr
    assert "STORAGE_URL" not in again.stderr
    checked = done(sys.executable, "-m", "study.doctor", "--record", str(record))
    assert (checked.returncode, checked.stdout) == (0, f"{record}: nothing is wrong\n")


def test_the_same_command_uses_an_experiment_that_was_renamed_and_then_deleted(tmp_path):
    """It made a twin, or stopped to write to MLflow for good."""
    study, record = copied(tmp_path / "own"), tmp_path / "record"
    command = line(study, record, "--scale", "smoke")

    def done() -> subprocess.CompletedProcess[str]:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=UNDRAWN)
        assert found.returncode == 0, found.stdout + found.stderr
        assert "MLflow cannot be written" not in found.stdout
        return found

    done()
    study_id = reader.load_study("my_study", record).study_id
    before = mlflow_index.MlflowIndex(record, study_id, "?")
    known = before.indexed()
    before.client.rename_experiment(before.experiment_id, "The one for the paper")
    assert "indexed" not in done().stdout
    before.client.delete_experiment(before.experiment_id)
    assert "the experiment was deleted in MLflow: it is restored with its runs" in done().stdout
    assert [one.name for one in before.client.search_experiments()] == ["The one for the paper"]
    assert before.indexed() == known
    assert len(known) == 3
