"""How the two indexes use SQLite.

Readers (a UI, a dashboard) do not block the writer, and a commit does not wait for the disk: a process that is killed
loses nothing; a power cut may lose the last commits, which the next start makes up for from the trial folders.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def url(database: Path) -> str:
    """What SQLAlchemy, and so MLflow and Optuna, opens the database by, whatever characters its path has.

    The driver is named, because MLflow makes the folder of a "sqlite:///" without decoding its name first.
    """
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=str(database.resolve())).render_as_string()


def write_ahead(database: Path) -> None:
    """Let a database keep a write-ahead log, for good."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=wal")


def relax() -> None:
    """Let this process's connections of MLflow and Optuna, which both use SQLAlchemy, not wait for the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _relax):
        event.listen(Engine, "connect", _relax)


def _relax(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=NORMAL")
