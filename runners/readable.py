"""Whether a file or a folder that a user names can be read; if not, why, and what to do instead.

No right, not there, a folder, a pipe, what git keeps in the place of a large file, a web page that was saved in its
place, a download that was broken off: each is said as what it is. Standard library only.
"""

from __future__ import annotations

import codecs
import errno
import itertools
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HEAD = 2048  # bytes in which a file says what it is
LONGEST = 60  # characters of a text that a sentence repeats
ABSENT = "is not there"
AGAIN = "download it again, and compare its size"
# What a file begins with that stands for another one, or came in its place -> what it is, what to do.
POINTERS = (
    (rb"version https://git-lfs\.github\.com/spec/", "is a pointer of git LFS, not the file itself", "git lfs pull"),
    (rb"(\S*\.git)?/annex/objects/", "is a pointer of git-annex, not the file itself", "git annex get"),
)
PAGE = re.compile(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
REFUSED = re.compile(rb"(<\?xml[^>]*>\s*)?<Error>.*?<Code>(\w+)</Code>", re.DOTALL)  # of Amazon's and Google's stores
UNFINISHED = (".crdownload", ".part", ".partial", ".incomplete", ".download", ".aria2")  # suffixes of downloads
# Errors of a file that a user named; others (a full disk, too many open files) are not about it.
OURS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}
    | {errno.EIO, errno.ESTALE, errno.ENXIO}
)


class Fault(NamedTuple):
    """What goes on from a file's name, and what to do; "" where only the reader of the file knows what it wants."""

    what: str
    instead: str = ""

    def sentence(self, name: str | Path, wanted: str) -> str:
        """One sentence on the file of a name; `wanted` goes before the full stop where no other advice is better."""
        if self.what == ABSENT:
            return f"There is no file {name}: {self.instead or wanted}."
        return f"{name} {self.what}: {self.instead or wanted}."


def require(path: Path, wanted: str, binary: bool = False) -> None:
    """ValueError, one sentence, where `fault` finds something."""
    if found := fault(path, binary):
        raise ValueError(found.sentence(path, wanted))


def fault(path: Path, binary: bool = False) -> Fault | None:
    """Why a file cannot be what it is named as; None for one whose beginning could be read.

    Args:
        path: what should be a file.
        binary: whether its format is no text, so that a text is an error message in its place.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Fault("is a folder")
        if not stat.S_ISREG(mode):
            kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
            return Fault(f"is {kind} and no file", "save what comes out of it, and give that file")
        with path.open("rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        return of_error(path, error)
    return _of_content(path, head, binary)


def require_open(path: Path, option: str, folder: bool = False) -> None:
    """ValueError, one sentence, where what an option names is closed: a folder that cannot be listed, a file that
    `fault` finds something of. What is not there at all is left to whoever knows what should be, and so is a file where
    a `folder` is meant."""
    try:
        if not path.is_dir():
            found = None if folder and path.exists() else fault(path)
        else:
            with os.scandir(path) as listing:
                next(listing, None)
            os.stat(os.path.join(path, "."))  # a Path drops the dot, which asks for the right to enter
            return
    except OSError as error:
        found = of_error(path, error)
    if found and found != Fault(ABSENT):
        raise ValueError(found.sentence(f"{option} {path}", "give another one"))


@contextmanager
def said(path: Path, wanted: str) -> Iterator[None]:
    """What the system says of a file under `path` is one sentence, and a ValueError.

    Errors of other files stay as they are: the disk that a cache is written to is not the user's data.
    """
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        if error.errno not in OURS or not named.absolute().is_relative_to(path.absolute()):
            raise
        raise ValueError(of_error(named, error).sentence(named, wanted)) from error


# --- what the system says --------------------------------------------------------------------------------


def of_error(path: Path, error: OSError | ValueError) -> Fault:
    """What an error says of the file that it was raised for."""
    code = error.errno if isinstance(error, OSError) else errno.ENOENT
    if code == errno.ENOENT:
        return _absent(path)
    if code == errno.ENOTDIR:
        file = next((one for one in reversed(path.parents) if one.exists() and not one.is_dir()), path.parent)
        return Fault(f"is not there, since {file} is a file and no folder", "correct the path")
    if code == errno.EISDIR:
        return Fault("is a folder")
    if code in (errno.EACCES, errno.EPERM):
        return _closed(path)
    if code == errno.ELOOP:
        return Fault("is a link that leads back to itself", "put the file itself there")
    if code == errno.ENAMETOOLONG:
        return Fault("has a name that is too long for this file system", "rename it")
    reason = getattr(error, "strerror", None) or error
    return Fault(f"cannot be read ({reason})", "copy it to another disk, or restore it")


def _absent(path: Path) -> Fault:
    if path.is_symlink():
        return Fault(f"is a link to {os.readlink(path)}, which is not there", "put the file itself there")
    if "~" in path.parts:
        return Fault(ABSENT, "a shell replaces ~ at the beginning of a word alone, so write $HOME")
    return Fault(ABSENT)


def _closed(path: Path) -> Fault:
    """No right: of which folder or file, whose it is, and who can give it."""
    for folder in reversed(path.absolute().parents):
        try:
            os.stat(os.path.join(folder, "."))
        except PermissionError:
            return Fault(f"lies in {folder}, which is closed to you{_whose(folder)}", _grant(folder, "x"))
        except OSError:
            break
    right = "rx" if path.is_dir() else "r"
    return Fault(f"may not be read by you{_whose(path)}", _grant(path, right))


def _owner(path: Path) -> tuple[int, str, int] | None:
    """Number and name of the owner, and the mode."""
    try:
        found = path.stat()
    except OSError:
        return None
    try:
        import pwd

        name = pwd.getpwuid(found.st_uid).pw_name
    except (ImportError, KeyError):
        name = f"user {found.st_uid}"
    return found.st_uid, name, stat.S_IMODE(found.st_mode)


def _whose(path: Path) -> str:
    owner = _owner(path)
    return f" (it belongs to {owner[1]}, mode {owner[2]:o})" if owner else ""


def _grant(path: Path, right: str) -> str:
    owner = _owner(path)
    if owner and owner[0] == os.geteuid():
        return f"run `chmod u+{right} {shlex.quote(str(path))}`"
    return f"ask {owner[1] if owner else 'its owner'} for the right to read it, or for a copy"


# --- what the content says -------------------------------------------------------------------------------


def _of_content(path: Path, head: bytes, binary: bool) -> Fault | None:
    if not head:
        return Fault("is empty", "download it or save it again")
    for begins, what, command in POINTERS:
        if re.match(begins, head):
            return Fault(what, f"run `{command}` in its repository")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if PAGE.match(text):
        return Fault("is a web page, not the file that it leads to", "download the file itself")
    if error := REFUSED.match(text):
        return Fault(f"is the error of a server ({error[2].decode()}), not a file", "download it again")
    if path.suffix.casefold() in UNFINISHED:
        return Fault("is an unfinished download", "wait for its end, or download it again")
    if binary and _is_text(head):
        first = head.split(b"\n", 1)[0].decode().strip()
        first = first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
        return Fault(f"holds a text ('{first}') in the place of its content", "download it again")
    return Fault("is cut short", AGAIN) if cut_short(path, head) else None


def _is_text(head: bytes) -> bool:
    """Whether a file's beginning is readable ASCII throughout."""
    return all(32 <= byte < 127 or byte in b"\t\n\r" for byte in head)


def cut_short(path: Path, head: bytes) -> bool:
    """Whether the end of a file is missing, of formats that say where it is: ZIP (.npz, .pt, .pt2, .pth), safetensors,
    Parquet and PNG."""
    if head.startswith(b"PK\x03\x04"):
        import zipfile  # not for `--help`

        return not zipfile.is_zipfile(path)
    size = path.stat().st_size
    if head.startswith(b"PAR1"):
        return _tail(path, 4) != b"PAR1"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in _tail(path, 1024)
    if path.suffix.casefold() == ".safetensors":
        return size < _safetensors_size(path, head, size)
    return False


def _tail(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read()


def _safetensors_size(path: Path, head: bytes, size: int) -> int:
    """Bytes that a .safetensors file promises: its length of the header, the header, the tensors; 0 where its first
    bytes are no such header."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] not in (b"{", b"") or length > 10**8:  # the format's own limit
        return 0
    if size < 8 + length:
        return 8 + length
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(8 + length)[8:])
        ends = (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        return 8 + length + int(max(itertools.chain([0], ends)))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return 0
