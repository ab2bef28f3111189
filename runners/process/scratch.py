"""Where temporary files go, and which file system is full. Standard library only.

Libraries put them where TMPDIR leads: MLflow the texts that it is given, compilers their work. That place is often
small, and others fill it; the record's disk has room for them as long as it has room for a study.
"""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

PROBE_BYTES = 8 * 2**20  # more than a launch's diff and list of versions, far less than any place should have
SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps the semaphores of processes that work together


def settle(fallback: Path) -> str:
    """Let this process, and those that it starts from now on, put temporary files where there is room.

    That is where TMPDIR says, where Python finds another place, or a folder in `fallback` that goes with the process.
    Returns a sentence when they move, "" when they stay or no place is left.
    """
    first, *others = _usual()
    if not (reason := shortage(first)):
        return ""
    place = next((place for place in others if not shortage(place)), None)
    if place is None and not first.is_relative_to(fallback):
        fallback.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="temporary-", dir=fallback))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    if place is None:
        return ""
    tempfile.tempdir = os.environ["TMPDIR"] = str(place)
    return f"{first} takes no temporary files ({reason}): they go to {place}."


def _usual() -> list[Path]:
    """Where TMPDIR leads, and where Python would put temporary files; it passes over places that it cannot write."""
    named = [Path(os.environ["TMPDIR"])] if os.environ.get("TMPDIR") else []
    try:
        return list(dict.fromkeys([*named, Path(tempfile.gettempdir())]))
    except FileNotFoundError:  # in none of them
        return named or [Path("/tmp")]


def shortage(folder: Path) -> str:
    """Why a folder takes no file of PROBE_BYTES, in the words of the system; "" where it does. A quota counts."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def full_place(error: BaseException | None, folder: Path) -> Path:
    """The folder whose file system is full, after an error that says one is.

    It is the place of the file that the error, or what it was raised from, names; else, of `folder`, the temporary
    ones and the shared memory, the first that takes nothing more; else `folder`.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            named = error.filename2 or error.filename
            if isinstance(named, str | os.PathLike):
                path = Path(os.fsdecode(named)).absolute()
                return next(place for place in (path, *path.parents) if place.is_dir())
        error = error.__cause__ or error.__context__
    places: Iterable[Path] = (folder, *_usual(), SHARED_MEMORY)
    return next((place for place in places if place.is_dir() and shortage(place)), folder)


def same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
