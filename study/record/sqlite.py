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


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def revision(database: Path) -> str | None:
    """Of the tables of MLflow or Optuna: the revision that Alembic noted. "" where it is not noted, because the
    process that made them was killed, say; None for a database without tables."""
    with closing(sqlite3.connect(database)) as connection:
        found = tables(connection)
        if "alembic_version" in found:
            for (number,) in connection.execute("SELECT version_num FROM alembic_version"):
                return str(number)
    return "" if found - {"alembic_version"} else None


def relax() -> None:
    """Let this process's connections of MLflow and Optuna, which both use SQLAlchemy, not wait for the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _relax):
        event.listen(Engine, "connect", _relax)


def _relax(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=NORMAL")
