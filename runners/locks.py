"""One process at a time: a lock file that names its holder and is free again when the holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path


class Held(Exception):
    """Another process holds the lock; the message says which, and since when."""


@contextlib.contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `path`. The kernel frees it when the process ends, however it ends.

    Raises Held when another process has it and `wait` is off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            try:
                holder = json.loads(file.read())
            except ValueError:
                holder = {"pid": "unknown", "since": "just now"}
            raise Held(f"by process {holder['pid']} since {holder['since']}") from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": datetime.now().isoformat(" ", "seconds")}))
        file.flush()
        yield
