"""MLflow's database, asked and corrected without MLflow: where its artifacts are, and whose experiments."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
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
    places = connection.execute("SELECT experiment_id, artifact_location, name FROM experiments")
    studies = {number: study_of(place) or str(name) for number, place, name in places}
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


@dataclass(frozen=True)
class Experiment:
    """An experiment of MLflow: its id, its name as the UI shows it, and whether it was deleted there."""

    id: str
    name: str
    deleted: bool


def experiment_of(record: Path, study_id: str) -> Experiment | None:
    """The experiment of a study, whatever its name is now: one that is not deleted before others, then the one that
    bears the study's name. An experiment of that name that is no study's own is taken for it."""
    query = "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments ORDER BY experiment_id"
    with closing(sqlite3.connect(layout.mlflow_database(record))) as connection:
        rows = [
            (Experiment(str(n), name, stage == "deleted"), study_of(p))
            for n, name, p, stage in connection.execute(query)
        ]
    found = [one for one, study in rows if study == study_id]
    found = found or [one for one, study in rows if not study and one.name == study_id]
    return min(found, key=lambda one: (one.deleted, one.name != study_id), default=None)


def changed_keys(record: Path, run_ids: Mapping[str, str]) -> dict[str, str]:
    """Run id -> trial_key, of the finished runs of `run_ids` (trial_key -> run id) whose tag says another key or none:
    tags can be edited in the UI."""
    query = (
        "SELECT runs.run_uuid, tags.value FROM runs LEFT JOIN tags ON tags.run_uuid = runs.run_uuid "
        "AND tags.key = 'trial_key' WHERE runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(layout.mlflow_database(record))) as connection:
        tagged = dict(connection.execute(query))
    return {run: key for key, run in run_ids.items() if run in tagged and tagged[run] != key}
