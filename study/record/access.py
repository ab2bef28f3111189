"""Whether a record that is there can be written. What only reads it needs no such right."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from study.record import layout


def unwritable(record: Path, *study_ids: str) -> str:
    """The first place of a record where a command that finds everything done would write and cannot, and why:
    "/mnt/record: Read-only file system"; "" where it can write all of them, and for a record that is not there."""
    places = (place for place in _written(record, study_ids) if place.exists())
    if found := next(filter(None, map(closed, places)), ""):
        return found
    from runners.process.locks import missing_locks  # here: what a report asks needs no locks, and works without any

    lock = layout.record_lock(record)
    reason = missing_locks(lock)  # without them SQLite cannot even read there
    return f"{lock}: {reason}" if reason else ""


def closed(path: Path) -> str:
    """Why nothing can be written to a file or a folder, or, while it is not there, to the one that it would lie in;
    "" where it can."""
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if os.access(place, os.W_OK):
        return ""
    read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    return f"{place}: {os.strerror(errno.EROFS if read_only else errno.EACCES)}"


def _written(record: Path, study_ids: tuple[str, ...]) -> Iterator[Path]:
    yield record
    yield from (layout.record_lock(record), layout.index_lock(record))
    for database in (layout.mlflow_database(record), layout.optuna_database(record)):
        yield from (database.with_name(database.name + ending) for ending in ("", "-wal", "-shm"))
    if study_ids:
        yield layout.studies_folder(record)
    for study_id in study_ids:
        report = layout.report_folder(record, study_id)
        yield from (layout.study_folder(record, study_id), layout.study_lock(record, study_id), report)
