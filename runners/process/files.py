"""Files that are whole or not there: written aside, forced to the disk, renamed. Standard library only."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

MANIFEST = "files.json"
# What libraries say that hide errno.ENOSPC: safetensors, and NumPy's tofile ("1000 requested and 262 written").
FULL = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")
# What fsync says on a file system that cannot do it, and on one that cannot do it for a folder. The same as in
# PostgreSQL's fsync_fname_ext (src/backend/storage/file/fd.c), and what FUSE and SMB say besides.
UNSYNCED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
UNSYNCED_FOLDER = (*UNSYNCED, errno.EBADF, errno.EISDIR, errno.EACCES)


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Call `write(temporary path)`, force it to the disk, then rename: a reader sees the old file or the new one.

    When anything fails, the temporary file is removed. An error of the file system names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            sync(file)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # `write` of a file names none
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def sync(file: IO[Any]) -> None:
    """Force a file's content to the disk, where its file system can do so. Raises OSError that names the file."""
    file.flush()
    _sync(file.fileno(), Path(file.name), UNSYNCED)


def sync_folder(folder: Path) -> str:
    """Force a folder's names to the disk: a rename lasts only then.

    Returns why its file system cannot do that, "" where it can: the names are then written when the system likes.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (IsADirectoryError, PermissionError) as error:
        return error.strerror or str(error)
    try:
        return _sync(descriptor, folder, UNSYNCED_FOLDER)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, path: Path, unable: Collection[int]) -> str:
    """Raises OSError with the path for what is not among the errors of a file system that is `unable`."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in unable:
            raise OSError(error.errno, error.strerror, str(path)) from error
        return error.strerror or str(error)
    return ""


def disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def over_quota(error: BaseException | None) -> bool:
    """Whether it is a quota that keeps a disk with room from taking more."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno == errno.EDQUOT) or os.strerror(errno.EDQUOT) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_json(path: Path, value: Any) -> None:
    write_aside(path, partial(Path.write_text, data=json.dumps(value, indent=1), encoding="utf-8"))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """A file of JSON lines, in place of the one that is there."""
    write_aside(path, partial(Path.write_text, data="".join(map(_line, lines)), encoding="utf-8"))


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]], lasting: bool = True) -> None:
    """Add JSON lines to a file: all of them, or none where that fails. `lasting` forces them to the disk.

    A last line that a kill cut short goes, or the next one would be a part of it.
    """
    content = "".join(map(_line, lines)).encode()
    with path.open("ab+", buffering=0) as file:
        end = _end_of_whole_lines(file)
        file.truncate(end)
        try:
            while content:  # a disk that fills up takes a part first
                content = content[file.write(content) :]
            if lasting:
                sync(file)
        except BaseException as error:
            file.truncate(end)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)
            raise


def _end_of_whole_lines(file: IO[bytes]) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read(1) in (b"", b"\n"):
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value) + "\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, none if it is missing; a line that is no object (a kill cut it short) ends them."""
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
    return lines


# --- folders that say what they hold ------------------------------------------------------------------


def stamp(path: Path) -> tuple[int, ...]:
    """What tells one version of a file from another without reading it. Its time alone does not: clocks are set back,
    copies keep times, and some file systems count in seconds. Raises OSError."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """files.json: the SHA-256 of every file under `folder`, by its path.

    Those that lie in the folder itself are forced to the disk. Hundreds of single pictures would take a second and can
    be drawn again: that they are whole, the digests say.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in paths:
        if path.parent == folder:
            with path.open("rb+") as file:
                sync(file)
    write_json(folder / MANIFEST, {path.relative_to(folder).as_posix(): sha256(path) for path in paths})


def damaged(folder: Path) -> dict[str, str]:
    """File -> "missing", "changed" or "unreadable", of what files.json lists; empty when all is as it was written.

    Files that came later are not its business. A folder without files.json (older ones have none) has nothing to
    compare: only its result.json is looked at.
    """
    try:
        listed = read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
        found = {name: _state(folder / name, digest) for name, digest in listed.items()}
    except (OSError, ValueError, AttributeError):
        return {MANIFEST: "unreadable"}
    if "result.json" not in found:
        found["result.json"] = _readable(folder / "result.json")
    return {name: state for name, state in found.items() if state}


def _state(path: Path, digest: str) -> str:
    try:
        return "" if sha256(path) == digest else "changed"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


def _readable(path: Path) -> str:
    try:
        return "" if isinstance(read_json(path), dict) else "unreadable"
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError):
        return "unreadable"
