"""Images as one memory-mapped uint8 array of the record, and what belongs to them.

Prepared data are a folder with `images.npy`, uint8 (N, H, W, 3), and `index.json`; it is written under a temporary name
and renamed, so a half-written one is never used. Both files are compared with the digests in index.json once per
process; that takes 0.3 s for the 220 MB of i-CLEVR at 64x64.
"""

from __future__ import annotations

import functools
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.process.files import read_json, stamp, sync, sync_folder, write_aside

OLD_INDEX = {"source", "names", "conditions", "lists", "held_out", "sha256"}  # without a digest of itself


HASHED_BYTES = 1 << 24  # read at once where a digest is made: memory stays bounded, whatever the images


def write(
    final: Path, pictures: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], index: dict[str, Any]
) -> Generator[int, None, None]:
    """Write prepared data, picture by picture; `index` gets the digests. What lies there is replaced.

    `pictures`: uint8 (H, W, 3) each; `shape`: (N, H, W, 3). Yields how many are written.
    """
    temporary = final.with_name(f"{final.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        path = temporary / "images.npy"
        yield from _save(path, pictures, shape)
        index = index | {"sha256": _pixels_digest(path)}
        index["index_sha256"] = _index_digest(index)
        write_aside(temporary / "index.json", functools.partial(Path.write_text, data=json.dumps(index)))
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_folder(final.parent)
    finally:  # closed before its end, too
        shutil.rmtree(temporary, ignore_errors=True)


def _save(path: Path, pictures: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> Iterator[int]:
    """An .npy file of the pictures, forced to the disk. It is written, not mapped: a full disk is then an error and no
    signal."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        count = 0
        for count, picture_HWC in enumerate(pictures, start=1):
            assert picture_HWC.shape == shape[1:]
            assert picture_HWC.dtype == np.uint8
            file.write(np.ascontiguousarray(picture_HWC).data)
            yield count
        assert count == shape[0]
        sync(file)


def _pixels_digest(path: Path) -> str:
    """SHA-256 of an .npy file's numbers, without its header."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(HASHED_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read(path: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The images under `path`, which stay on disk until they are read, and their index.

    Raises ValueError when they are not what was written: the next launch makes them again.
    """
    if broken := damage(path):
        raise ValueError(f"The prepared images in {path} are damaged ({broken}): run the same command again.")
    return np.load(path / "images.npy", mmap_mode="r"), read_json(path / "index.json")


def release(images_NHWC: NDArray[np.uint8]) -> None:
    """Give back the memory of what was read of a memory map, which counts as this process's; it can be read again."""
    mapped: Any = images_NHWC
    while mapped is not None and not isinstance(mapped, mmap.mmap):
        mapped = getattr(mapped, "base", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # Linux
        mapped.madvise(mmap.MADV_DONTNEED)


def damage(path: Path) -> str:
    """What is wrong with prepared data, in words; "" when both files are what was written."""
    try:
        stamps = stamp(path / "index.json") + stamp(path / "images.npy")
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
        if _pixels_digest(path / "images.npy") != index["sha256"]:
            return "images.npy is not what was written"
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _index_digest(index: dict[str, Any]) -> str:
    """SHA-256 of everything else in an index."""
    rest = {name: value for name, value in index.items() if name != "index_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
