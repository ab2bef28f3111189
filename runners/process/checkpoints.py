"""The state of an unfinished training on disk: at least two generations, each with its digest.

    state.pt  state.previous.pt     64 hex digits (SHA-256 of the rest), a line feed, what torch.save writes
    state.next.pt                   there only while the two others are renamed

Whenever the process is killed, the newest whole state and the one before it are there under one of these names. A
state that is torn, shortened or changed has another digest and is never used; it is read as tensors only.
"""

from __future__ import annotations

import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runners.process.files import sync_folder, write_aside

NEXT, NEWEST, PREVIOUS = NAMES = ("state.next.pt", "state.pt", "state.previous.pt")
DIGEST = 64  # hex digits


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` as the newest generation. The oldest goes when the new one has been read back.

    Raises OSError when the disk is full; the generations that were there stay.
    """
    # Through memory: torch.save answers a full disk with an error about positions, and the digest is needed first.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    head = hashlib.sha256(content).hexdigest().encode() + b"\n"
    write_aside(folder / NEXT, partial(_write, parts=(head, content)))
    _content(folder / NEXT)
    for old, new in ((NEWEST, PREVIOUS), (NEXT, NEWEST)):
        if (folder / old).exists():
            (folder / old).replace(folder / new)
    sync_folder(folder)


def load(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, str]:
    """The newest state that is what was written, None if there is none; and what was wrong with newer ones, in words.

    Those are deleted: they are worth nothing, and must not become the previous generation of the next one.
    """
    complaints = []
    for name in NAMES:
        path = folder / name
        if not path.exists():
            continue
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(_content(path)), map_location=device, weights_only=True)
        except Exception as error:  # whatever the unpickler stumbles over
            complaints.append(f"{name}: {error}".splitlines()[0])
            path.unlink()
        else:
            return state, "; ".join(complaints)
    return None, "; ".join(complaints)


def discard(folder: Path) -> None:
    """Delete all generations."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def _write(path: Path, parts: tuple[bytes | memoryview, ...]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)


def _content(path: Path) -> bytes:
    """What follows the digest; ValueError when it is not what was written."""
    with path.open("rb") as file:
        head, content = file.read(DIGEST + 1), file.read()
    if head != hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise ValueError("it is not what was written")
    return content
