"""A record that cannot be written, made readable: SQLite and both libraries write to a database that they only read."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from runners.process.files import disk_full
from study.record import errors, layout, mlflow_index


@contextmanager
def stand_in(record: Path) -> Iterator[Path]:
    """A temporary folder that reads as `record`: links to what lies in it, and copies of both databases.

    MLflow's artifact paths lead to the record, wherever it was written. What is changed in the copies is not kept.
    Raises ValueError for a database that cannot be read.
    """
    databases = (layout.mlflow_database(record), layout.optuna_database(record))
    copied = {database.name + ending for database in databases for ending in ("", "-wal", "-shm")}
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="record-"))).resolve()
            for path in record.resolve().iterdir():
                if path.name not in copied:
                    (folder / path.name).symlink_to(path)
            for database in databases:
                if database.is_file():
                    copy(database, folder / database.name)
            if not errors.damaged(layout.mlflow_database(folder)):
                mlflow_index.relocate(folder)
        except (OSError, sqlite3.Error) as error:
            if not (disk_full(error) or isinstance(error, FileNotFoundError)):
                raise
            reason = f"its databases are copied there, because {record} cannot be written"
            raise ValueError(f"Temporary files find no room ({reason}): set TMPDIR to a folder with room.") from None
        yield folder


def copy(database: Path, target: Path) -> None:
    """An SQLite database and what its write-ahead log holds.

    Another process that writes it leaves files by which it can be read as one; where they are missing, nobody does.
    """
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source:
            with closing(sqlite3.connect(target)) as connection:
                source.backup(connection)
            return
    except sqlite3.Error:  # no such files and no right to make them; or a damaged database, which is copied as it is
        target.unlink(missing_ok=True)
    try:
        shutil.copyfile(database, target)
        log = database.with_name(f"{database.name}-wal")
        if log.is_file():
            shutil.copyfile(log, target.with_name(f"{target.name}-wal"))
    except PermissionError as error:
        raise ValueError(f"{error.filename} cannot be read ({error.strerror}): ask its owner for the right.") from None
