"""What a disk or a database says when it cannot be written, told apart and in one sentence."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from runners.process import scratch
from runners.process.files import disk_full, over_quota
from runners.process.locks import Unlockable

FULL_BYTES = 2**20  # with less than this free, whatever failed failed for want of room
SQLITE = {  # what SQLite says -> what it is
    "database or disk is full": "full",
    "database is locked": "locked",
    "readonly database": "read-only",
    "malformed": "damaged",
    "not a database": "damaged",
    "disk I/O error": "failing",  # any refusal of the system but want of space: a quota, a network drive that is gone
}
SENTENCES = {
    "full": "the disk of {record} is full: make room",
    "full elsewhere": "the disk of {place} is full, not that of {record}: make room, or set TMPDIR to another folder",
    "files": "the file system of {place} can take no more files, although it may have room: delete some",
    "quota": "your quota on the disk of {place} is used up: make room",
    "locked": "another program keeps a database of {record} locked: end it",
    "read-only": "{record} cannot be written: grant yourself write permission there",
    "mounted read-only": "{record} is on a read-only file system: copy it to a folder that you may write to",
    "unlockable": "the file system of {record} has no file locks: copy the record to a disk that has them",
    "damaged": "a database of {record} is damaged: repair it with `python -m study.doctor --record {record} --repair`",
    "failing": "a database of {record} cannot be written (disk I/O error): see to its disk, network drive or quota",
}


def trouble(error: BaseException | None, record: Path) -> str:
    """full, locked, read-only, mounted read-only, unlockable, damaged or failing; "" when the error is of another kind.

    Looks through what caused it.
    """
    cause, found = error, "full" if disk_full(error) else ""
    while cause is not None and not found:
        if isinstance(cause, Unlockable):
            found = "unlockable"
        elif isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM):
            found = "read-only"
        elif isinstance(cause, OSError) and cause.errno == errno.EROFS:
            found = "mounted read-only"
        elif isinstance(cause, sqlite3.Error):
            found = next((kind for text, kind in SQLITE.items() if text in str(cause)), "")
        cause = cause.__cause__ or cause.__context__
    if not found and isinstance(error, Exception) and is_full(record):
        return "full"
    return found


def sentence(error: BaseException, record: Path) -> str:
    """What to do about an error of the disk or a database; "" when it is none."""
    kind, place = trouble(error, record), record
    if kind == "full":
        place = scratch.full_place(error, record)
        same = scratch.same_disk(place, record)
        place = record if same else place
        if over_quota(error):
            kind = "quota"
        elif out_of_files(place):
            kind = "files"
        else:
            kind = "full" if same else "full elsewhere"
    return SENTENCES[kind].format(record=record, place=place) if kind else ""


def out_of_files(place: Path) -> bool:
    """Whether a file system has no number left for another file (inodes); some count none."""
    found = os.statvfs(next(folder for folder in (place, *place.absolute().parents) if folder.exists()))
    return found.f_files > 0 and found.f_favail == 0


def is_full(record: Path) -> bool:
    return shutil.disk_usage(record).free < FULL_BYTES


def locked(database: Path) -> bool:
    """Whether another program keeps the writers of an SQLite database out just now."""
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return trouble(error, database.parent) == "locked"
    return False


def damaged(database: Path) -> bool:
    """Whether an SQLite database that is there cannot be read through."""
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(database)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() != ("ok",))
    except sqlite3.DatabaseError as error:
        return trouble(error, database.parent) == "damaged"
