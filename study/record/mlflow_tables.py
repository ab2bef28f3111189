"""MLflow's database, asked and corrected without MLflow: where its artifacts are, and whose experiments."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from study.record import layout, sqlite

ARTIFACTS = "/artifacts/"  # <record>/artifacts/<study id>/... is the part of an artifact's place that stays


def relocate(record: Path) -> int:
    """Make MLflow's absolute artifact paths those of `record`, after the folder was moved or copied.

    Returns how many were rewritten; 0, and nothing is locked or written, when the record lies where it was.
    """
    changes = displaced(record)
    if changes:
        with closing(sqlite3.connect(layout.mlflow_database(record.resolve()))) as connection, connection:
            for table, column, old, new in changes:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))
    return len(changes)


def displaced(record: Path) -> list[tuple[str, str, str, str]]:
    """(table, column, path as it is, as it should be) of MLflow's artifact paths that lead out of `record`."""
    record = record.resolve()
    if not layout.mlflow_database(record).is_file():
        return []
    with closing(sqlite3.connect(layout.mlflow_database(record))) as connection:
        return list(dict.fromkeys(_displaced(connection, record)))


def _displaced(connection: sqlite3.Connection, record: Path) -> Iterator[tuple[str, str, str, str]]:
    tables = sqlite.tables(connection)
    if not {"experiments", "runs"} <= tables:
        return
    studies = {number: study_of(place) for number, place in _places(connection)}
    columns = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
    for table, column in columns.items():
        if table not in tables:
            continue
        for experiment, old in connection.execute(f"SELECT experiment_id, {column} FROM {table}"):
            study = studies.get(experiment, "")
            base, found, rest = str(old or "").rpartition(f"{ARTIFACTS}{study}")
            new = (layout.mlflow_artifacts(record) / study).as_uri() + rest
            if study and found and base.startswith("file://") and old != new:
                yield table, column, old, new


def study_of(place: str) -> str:
    """The study of an experiment, by where its artifacts go: its name can be changed in the UI, this cannot. "" for
    one that another program made."""
    _, found, name = str(place or "").rpartition(ARTIFACTS)
    return name if found and layout.STUDY_ID.fullmatch(name) else ""


def _places(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return list(connection.execute("SELECT experiment_id, artifact_location FROM experiments"))
