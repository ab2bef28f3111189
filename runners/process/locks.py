"""One process at a time: a lock file that names its holder and is free again when the holder dies."""

from __future__ import annotations

import contextlib
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


class Held(Exception):
    """Another process holds the lock; the message says which, and since when."""


@contextlib.contextmanager
def lock(path: Path, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Hold the lock of `path`. The kernel frees it when the process ends, however it ends.

    `shared` locks exclude the others only. Raises Held when another process has it and `wait` is off. Who waits is
    alive, and can be asked to end.
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


def _taken(file: IO[str], shared: bool) -> bool:
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"by process {holder['pid']} since {holder['since']}"
    except (ValueError, TypeError, KeyError):
        return "by process unknown since just now"
