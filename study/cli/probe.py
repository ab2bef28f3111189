"""Whether a record can be written: asked before anything runs, so that no hour of a GPU is spent in vain."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from runners.process.files import disk_full, sync_folder
from runners.process.locks import Unlockable, lock

PROBE_BYTES = 2**20
HEADROOM_BYTES = 500 * 2**20  # databases, pictures and checkpoints of a small study


def probe(record: Path, needed: float) -> list[str]:
    """What a user should know of the record's file system, in sentences; nothing of the probe stays.

    `needed`: bytes that the command may take. Raises ValueError where the disk is full or read-only or has no locks.
    """
    existed = record.exists()
    if existed and not record.is_dir():
        raise ValueError(f"--record {record} is a file: give a folder.")
    path = record / "write-probe"
    try:
        record.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(PROBE_BYTES))
        with lock(path, shared=True):
            unsynced = sync_folder(record)
        path.unlink()
        free = shutil.disk_usage(record).free
    except OSError as error:
        with suppress(OSError):  # of a folder that cannot be written
            path.unlink() if existed else shutil.rmtree(record)
        raise ValueError(_refusal(record, error)) from None
    if free < needed + HEADROOM_BYTES:
        if not existed:
            shutil.rmtree(record)
        wanted = f"{free / 2**20:,.0f} MiB are free, up to {(needed + HEADROOM_BYTES) / 2**20:,.0f} MiB are needed"
        less = "--keep-checkpoints none needs less"
        raise ValueError(f"The record {record} cannot be written ({wanted}: {less}): make room, or give --record DIR.")
    return [_unsynced(record, unsynced)] if unsynced else []


def _refusal(record: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if isinstance(error, Unlockable):
        why = "its file system has no file locks, which keep two commands apart and which SQLite needs"
        return f"The record {record} cannot be locked ({reason}): {why}. Give --record DIR on a local disk."
    do = "make room, or give --record DIR" if disk_full(error) else "give --record DIR, a folder that you may write to"
    return f"The record {record} cannot be written ({reason}): {do}."


def _unsynced(record: Path, reason: str) -> str:
    return (
        f"The file system of {record} cannot force folders to the disk ({reason}): the study runs; "
        "after a power cut its last trials may have to be run again."
    )
