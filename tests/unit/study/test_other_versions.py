"""Databases that another version of MLflow or Optuna has written: said in one sentence, and made anew."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import pytest
from indexed import KEYS, STUDY, index, run, synchronise

from runners.process.locks import lock
from study.cli import launch, ui
from study.record import optuna_store

OLDER = {"mlflow.db": "728d730b5ebd", "optuna.db": "v2.6.0.a"}
REVISIONS = {"older": OLDER, "newer": dict.fromkeys(OLDER, "ffffffffffff"), "not noted": dict.fromkeys(OLDER, "")}


def stamped(record: Path, name: str, revision: str) -> None:
    """The database as another version leaves it; without a revision, as a process that was killed while it made it."""
    with sqlite3.connect(record / name) as connection:
        connection.execute("DELETE FROM alembic_version")
        if revision:
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", OLDER)
def test_the_doctor_finds_and_renews_it(record, capsys, name, revision):
    stamped(record, name, REVISIONS[revision][name])
    assert run(record) == 1
    said = capsys.readouterr().out
    assert f"wrong: {name} was written by another version of" in said
    assert f"its schema is {REVISIONS[revision][name] or 'unknown'}" in said
    assert run(record, "--repair") == 0
    assert len(list((record / "damaged").glob(f"*/{name}"))) == 1
    synchronise(record)  # as the next start of the study does
    assert run(record) == 0, capsys.readouterr().out
    assert set(KEYS) <= set(index(record).indexed())
    assert len(optuna_store.rows(record, STUDY)) == 9


def test_the_ui_renews_it_and_shows_what_is_recorded(record, capsys, monkeypatch):
    stamped(record, "mlflow.db", OLDER["mlflow.db"])
    monkeypatch.setattr(ui, "serve", lambda _: 0)
    ui.main(["--record", str(record), "--port", str(free_port())])
    said = capsys.readouterr()
    assert said.out.startswith(f"{STUDY}  http://127.0.0.1:")
    assert said.err.count("mlflow.db was written by another version of MLflow") == 1
    assert f"{STUDY}: 9 trials indexed" in said.err


def test_a_damaged_database_is_renewed_for_the_ui(record, capsys, monkeypatch):
    (record / "mlflow.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setattr(ui, "serve", lambda _: 0)
    ui.main(["--record", str(record), "--port", str(free_port())])
    assert "mlflow.db is damaged" in capsys.readouterr().err
    assert set(KEYS) <= set(index(record).indexed())


def test_the_dashboard_says_what_writes_its_database_anew(record, capsys):
    stamped(record, "optuna.db", OLDER["optuna.db"])
    assert ui.main(["--record", str(record), "--port", str(free_port()), "--optuna"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ui.py: optuna.db was written by another version of Optuna")
    assert "which writes it again from the trials" in said
    assert said.count("\n") == 1


def test_nothing_is_renewed_under_a_running_study(record, capsys):
    """It may be one of that other version."""
    stamped(record, "mlflow.db", OLDER["mlflow.db"])
    with lock(record / "lock", shared=True):
        assert ui.main(["--record", str(record), "--port", str(free_port())]) == 2
        said = capsys.readouterr().err
        assert f"{record} is in use by process {os.getpid()} since" in said
        with pytest.raises(ValueError, match="wait for that, and run the same command again"):
            launch.indexes.renew(record, "mlflow.db", "optuna.db")
    assert not (record / "damaged").exists()


def test_a_study_that_is_damaged_costs_no_other_its_runs(record, capsys):
    (record / "studies" / "broken-smoke").mkdir()
    (record / "studies" / "broken-smoke" / "study.json").write_text("{")
    assert run(record, "--rebuild-mlflow") == 0
    said = capsys.readouterr().out
    assert "broken-smoke is damaged" in said
    assert f"{STUDY}: 9 trials indexed" in said
