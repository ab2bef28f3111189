"""One process at a time: a lock file that names its holder and is free again when the holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from runners.process import heartbeat

LOOK_SECONDS = 0.1  # between two looks at a lock that another process holds
# What flock(2) and fcntl(2) say on a file system without such locks: NFS without its lock daemon, Lustre mounted
# without the option `flock`, some FUSE.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class Held(Exception):
    """Another process holds the lock; the message says which, and since when."""


class Unlockable(OSError):
    """The file system has no locks; `filename` is the lock file."""


@contextlib.contextmanager
def lock(path: Path, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `path`. The kernel frees it when the process ends, however it ends.

    `shared` locks exclude the others only. Raises Held when another process has it and `wait` is off. Who waits is
    alive, and can be asked to end. Raises Unlockable where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        while not _taken(file, shared):
            if not wait:
                raise Held(_holder(file))
            heartbeat.tick()
            time.sleep(LOOK_SECONDS)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": datetime.now().isoformat(" ", "seconds")}))
        file.flush()
        yield


@contextlib.contextmanager
def glance(path: Path, shared: bool = False) -> Iterator[None]:
    """As `lock`, for a reader who may not write the file: the lock is held where there is one that a reader may hold.

    Raises Held when another process has it.
    """
    try:
        file = path.open()
    except OSError:
        yield
        return
    with file:
        try:
            taken = _taken(file, shared)
        except OSError:  # no locks here, or NFS, where a reader may hold no exclusive one
            taken = True
        if not taken:
            raise Held(_holder(file))
        yield


def missing_locks(path: Path) -> str:
    """Why a lock file that is there cannot be locked, in the words of its file system; "" where it can."""
    try:
        with path.open() as file:
            _taken(file, shared=True)
    except Unlockable as error:
        return error.strerror or str(error)
    except OSError:  # not there, or closed to this reader
        pass
    return ""


def _taken(file: IO[str], shared: bool) -> bool:
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise OSError(error.errno, error.strerror, file.name) from error
        return _taken_by_range(file, operation)
    return True


def _taken_by_range(file: IO[str], operation: int) -> bool:
    """As `_taken`, by the locks that SQLite uses, which some file systems have alone: without them neither works."""
    try:
        fcntl.lockf(file, operation)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise OSError(error.errno, error.strerror, file.name) from error
        raise Unlockable(error.errno, error.strerror, file.name) from error
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"by process {holder['pid']} since {holder['since']}"
    except (ValueError, TypeError, KeyError):
        return "by process unknown since just now"
