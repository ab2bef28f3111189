"""Images as one memory-mapped uint8 array of the record, and what belongs to them.

Prepared data are a folder with `images.npy`, uint8 (N, H, W, 3), and `index.json`; it is written under a temporary name
and renamed, so a half-written one is never used. Both files are compared with the digests in index.json once per
process; that takes 0.3 s for the 220 MB of i-CLEVR at 64x64.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.process.files import read_json, sync_folder, write_aside

OLD_INDEX = {"source", "names", "conditions", "lists", "held_out", "sha256"}  # without a digest of itself


def write(final: Path, images_NHWC: NDArray[np.uint8], index: dict[str, Any]) -> None:
    """Write prepared data; `index` gets the digests. What lies there is replaced."""
    index = index | {"sha256": hashlib.sha256(images_NHWC.data).hexdigest()}
    index["index_sha256"] = _index_digest(index)
    temporary = final.with_name(f"{final.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_aside(temporary / "images.npy", functools.partial(save_array, images_NHWC))
        write_aside(temporary / "index.json", functools.partial(Path.write_text, data=json.dumps(index)))
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_folder(final.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read(path: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The images under `path`, which stay on disk until they are read, and their index.

    Raises ValueError when they are not what was written: the next launch makes them again.
    """
    if broken := damage(path):
        raise ValueError(f"The prepared images in {path} are damaged ({broken}): run the same command again.")
    return np.load(path / "images.npy", mmap_mode="r"), read_json(path / "index.json")


def damage(path: Path) -> str:
    """What is wrong with prepared data, in words; "" when both files are what was written."""
    try:
        stamps = tuple((path / name).stat().st_mtime_ns for name in ("index.json", "images.npy"))
        return _damage(path, stamps)
    except OSError as error:
        return str(error)


@functools.lru_cache(8)
def _damage(path: Path, stamps: tuple[int, ...]) -> str:
    """`damage`, looked for once while the files stay the same."""
    try:
        index = read_json(path / "index.json")
        if index.keys() - OLD_INDEX and index["index_sha256"] != _index_digest(index):
            return "index.json is not what was written"
        images_NHWC = np.load(path / "images.npy", mmap_mode="r")
        if hashlib.sha256(images_NHWC.data).hexdigest() != index["sha256"]:
            return "images.npy is not what was written"
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _index_digest(index: dict[str, Any]) -> str:
    """SHA-256 of everything else in an index."""
    rest = {name: value for name, value in index.items() if name != "index_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def save_array(array: NDArray[np.uint8], path: Path) -> None:
    """`np.save` under just this name."""
    with path.open("wb") as file:
        np.save(file, array)
