"""IDX files, the format of MNIST: train-images-idx3-ubyte and train-labels-idx1-ubyte, with or without .gz.

Format: two zero bytes, a byte for the type, a byte for the number of dimensions, the dimensions as big-endian 32-bit
integers, the data (LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runners import readable
from runners.reading.arrays import ArrayStore, Block, check_pictures, is_gzip, opened, unbroken
from runners.reading.listing import Item, Listing
from runners.reading.npz import texts

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IMAGES = re.compile(r"(?P<part>.*)images(?P<mark>[-.])idx[34](?P<rest>-ubyte)(\.gz)?", re.IGNORECASE)
HELD_OUT = re.compile(r"(.*[-_.])?(t10k|test)[-_.].*", re.IGNORECASE)


def is_idx(path: Path) -> bool:
    """Whether a file begins as an IDX file does, unpacked or not."""
    try:
        with unbroken(path), opened(path) as stream:
            magic = stream.read(4)
    except ValueError:
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in TYPES and 1 <= magic[3] <= 4


def image_files(names: Mapping[str, Path]) -> list[Path]:
    """Those of the files, by their names, that hold images; of one with and without .gz, the unpacked one."""
    found = {name: path for name, path in names.items() if IMAGES.fullmatch(name)}
    return [path for name, path in found.items() if not (name.endswith(".gz") and name[: -len(".gz")] in found)]


def from_idx(path: Path, names: Mapping[str, Path], files: list[Path], scratch: Path | None) -> Listing:
    """One file of images, or one for training and one that is held out (t10k), with their labels.

    Args:
        path: what the user gave.
        names: the files in which labels are looked for, by their names.
        files: the files of images.
        scratch: a folder for temporary files.

    Raises:
        ValueError: for several training sets, a file that cannot be read or holds something else, labels of another
            length, labels for one part alone.
    """
    files = sorted(files, key=lambda file: (bool(HELD_OUT.match(file.name)), file.name))
    training = [file for file in files if not HELD_OUT.match(file.name)]
    if len(training) > 1 or len(files) - len(training) > 1 or not files:
        listed = ", ".join(file.name for file in files)
        raise ValueError(f"--data {path} holds several sets of IDX images ({listed}): give the file of one of them.")
    blocks: list[Block] = []
    items: list[Item] = []
    unlabelled: list[str] = []
    for file in files:
        shape, dtype, offset = _header(file)
        check_pictures(shape, dtype, file.name)
        labels = _labels(file, names, shape[0])
        if labels is None:
            unlabelled.append(file.name)
            labels = [""] * shape[0]
        start = sum(block.shape[0] for block in blocks)
        held_out = len(files) > 1 and file not in training
        items += [
            Item(place, (label,) if label else (), held_out=held_out) for place, label in enumerate(labels, start)
        ]
        blocks.append(Block(file, "", offset, shape, packed=is_gzip(file)))
    if unlabelled and len(unlabelled) < len(files):
        raise ValueError(f"There are no labels beside {unlabelled[0]}: add its file of labels, or take both away.")
    what = "the IDX files" if len(files) > 1 else files[0].name
    notes = (f"There are no labels beside {files[0].name}.",) if unlabelled else ()
    return Listing(path, ArrayStore(tuple(blocks), scratch), items, what, labelled=not unlabelled, notes=notes)


def _labels(file: Path, names: Mapping[str, Path], count: int) -> list[str] | None:
    """The labels that belong to a file of images; None where there is no such file."""
    match = IMAGES.fullmatch(file.name)
    if match is None:
        return None
    name = f"{match['part']}labels{match['mark']}idx1{match['rest']}"
    found = next((names[one] for one in (name, f"{name}.gz") if one in names), None)
    if found is None:
        return None
    shape, dtype, offset = _header(found)
    if shape != (count,):
        raise ValueError(
            f"{found.name} has the shape {shape} and {file.name} {count:,} pictures: write one label for each picture."
        )
    with unbroken(found), opened(found) as stream:
        stream.read(offset)
        size = math.prod(shape) * dtype.itemsize
        data = stream.read(size + 1)
        if len(data) != size:
            raise EOFError(f"it holds {len(data)} bytes of labels, not {size}")
    return texts(np.frombuffer(data, dtype), found.name)


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape, type and the bytes before the data."""
    readable.require(path, "restore it", binary=True)
    if not is_idx(path):
        raise ValueError(f"{path} is no IDX file, or is damaged: restore it from its source.")
    with unbroken(path), opened(path) as stream:
        magic = stream.read(4)
        dimensions = stream.read(4 * magic[3])
        if len(dimensions) < 4 * magic[3]:
            raise EOFError("its header ends too early")
    shape = struct.unpack(f">{magic[3]}I", dimensions)
    dtype = np.dtype(TYPES[magic[2]])
    return shape, dtype if dtype.itemsize > 1 or dtype.kind != "u" else np.dtype(np.uint8), 4 + 4 * magic[3]
