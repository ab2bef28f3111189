"""Texts that a user wrote: UTF-8 with or without a byte-order mark, or UTF-16 and UTF-32 with one; and JSON in them.

A byte that is none of it is named, with its place. Nothing is guessed: Latin-1 would read any file, and names of images
would be other ones. Standard library only.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from runners import readable

# UTF-32's little-endian mark begins with that of UTF-16, so it stands before it.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
RESTORE = "restore it from its source"
SHOWN = 200  # characters of a reason
Pairs = Callable[[list[tuple[str, Any]]], Any]


@contextmanager
def opened(path: Path, name: str) -> Iterator[TextIO]:
    """A text, with its line ends as they are.

    Raises ValueError, one sentence about `name`, for a file that cannot be read, and for a byte that is no text, also
    where the block comes upon it.
    """
    if fault := readable.fault(path):
        raise ValueError(fault.sentence(name, RESTORE))
    encoding = _encoding(path, name)
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(_wrong_byte(path, name, encoding)) from error


def read_json(path: Path, name: str, pairs: Pairs | None = None) -> Any:
    """The content of a JSON file; `pairs` is json's `object_pairs_hook`, whose ValueError is the reason that is given.

    Raises ValueError, one sentence about `name`.
    """
    with opened(path, name) as file:
        text = file.read()
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be read as JSON ({reason_of(error)}): {RESTORE}.") from error


def reason_of(error: Exception) -> str:
    """What is wrong with JSON, and whether its end is missing."""
    text = str(error)[:SHOWN]
    if isinstance(error, json.JSONDecodeError):
        ends = error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip())
        return f"it is cut short: {text}" if ends else text
    return text


def _encoding(path: Path, name: str) -> str:
    with path.open("rb") as file:
        head = file.read(readable.HEAD)
    encoding = next((encoding for mark, encoding in MARKS if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise ValueError(
            f"{name}, line {line}, has the byte 0x00, as UTF-16 without a byte-order mark has and no UTF-8: save it "
            "anew, in UTF-8."
        )
    return encoding


def _wrong_byte(path: Path, name: str, encoding: str) -> str:
    """The sentence on the first byte that is no text."""
    content, shown = path.read_bytes(), encoding.upper().removesuffix("-SIG")
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding.startswith("utf-8"):
            before = error.object[: error.start]  # without the mark
            line, place = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
            byte = error.object[error.start]
            latin = bytes([byte]).decode("cp1252", errors="replace")
            meant = f" (in Latin-1 it is '{latin}')" if latin.isprintable() and latin != "\ufffd" else ""
            return (
                f"{name}, line {line}, has the byte 0x{byte:02X} at place {place} of the line, which is not valid "
                f"{shown}{meant}: save it again as UTF-8."
            )
        return f"{name} begins as {shown} and is none at byte {error.start:,} ({error.reason}): save it again as UTF-8."
    return f"{name} changed while it was read: run the same command again."
