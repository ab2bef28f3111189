"""Arrays in a .npz file of NumPy: x, y, or x_train, y_train, x_test, y_test. Nothing in it is unpickled."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from runners import readable
from runners.reading.arrays import ArrayStore, Block, check_pictures, opened, unbroken
from runners.reading.listing import Item, Listing
from runners.reading.names import label_text, shown, some
from runners.reading.tree import HELD_OUT, TRAIN

ROLES = {
    "x": "x", "image": "x", "images": "x",
    "y": "y", "label": "y", "labels": "y",
    "group": "group", "groups": "group",
}  # fmt: skip
LARGEST = 2**28  # bytes of an array of labels, which is read whole


@dataclass(frozen=True)
class Header:
    """What the beginning of a .npy member says; `offset`: its own length in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int


def from_npz(path: Path, scratch: Path | None) -> Listing:
    """The arrays of a .npz as a layout.

    Raises:
        ValueError: for a file that cannot be read, arrays that hold no pictures or no labels, labels of another length,
            labels for one part alone.
    """
    readable.require(path, "restore it", binary=True)
    with unbroken(path), zipfile.ZipFile(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    parts, rest = _parts(members, path)
    blocks: list[Block] = []
    items: list[Item] = []
    for part, named in parts.items():
        where = f"{named['x']} in {path.name}"
        header = _header(path, named["x"])
        check_pictures(header.shape, header.dtype, where)
        count = header.shape[0]
        labels = _values(path, named["y"], count, where) if "y" in named else [""] * count
        groups = _values(path, named["group"], count, where, "group") if "group" in named else [""] * count
        held_out = part in HELD_OUT and len(parts) > 1
        start = sum(block.shape[0] for block in blocks)
        for place, (label, group) in enumerate(zip(labels, groups, strict=True), start):
            items.append(Item(place, (label,) if label else (), group, held_out))
        blocks.append(Block(path, f"{named['x']}.npy", header.offset, header.shape, packed=True))
    labelled = sum("y" in named for named in parts.values())
    if labelled not in (0, len(parts)):
        lacking = [named["x"] for named in parts.values() if "y" not in named]
        raise ValueError(f"{path} has no labels for {some(lacking)}: add y beside each x, or to none of them.")
    notes = (f"Arrays that are not read are left out: {some(rest)}.",) if rest else ()
    return Listing(path, ArrayStore(tuple(blocks), scratch), items, path.name, labelled=bool(labelled), notes=notes)


def _parts(members: Iterable[str], path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Part ("" or "train", "test", "val") -> role (x, y, group) -> member; and the members that are none of these."""
    parts: dict[str, dict[str, str]] = {}
    rest: list[str] = []
    for member in members:
        words = member.casefold().split("_")
        roles = [ROLES[word] for word in words if word in ROLES]
        others = [word for word in words if word not in ROLES]
        if len(roles) != 1 or len(others) > 1 or not set(others) <= TRAIN | HELD_OUT:
            rest.append(member)
            continue
        part = "train" if not others or others[0] in TRAIN else others[0]
        before = parts.setdefault(part, {}).setdefault(roles[0], member)
        if before != member:
            raise ValueError(f"{path} holds {before} and {member}: leave one of them.")
    if not any("x" in named for named in parts.values()):
        found = f"holds {some(rest)}" if rest else "holds no array"
        raise ValueError(f"{path} {found}: call the pictures x and the labels y (or x_train, y_train, x_test, y_test).")
    for named in parts.values():
        if "x" not in named:
            raise ValueError(f"{path} has {some(list(named.values()))} without the pictures: add the array x to it.")
    if len(parts) > 1 and "train" not in parts:
        raise ValueError(f"{path} has held-out pictures but no x_train: add the training pictures.")
    return dict(sorted(parts.items(), key=lambda item: (item[0] != "train", item[0]))), rest


def _header(path: Path, name: str) -> Header:
    with unbroken(path), opened(path, f"{name}.npy") as stream:
        return _read_header(stream, f"{name} in {path.name}")


def _read_header(stream: IO[bytes], where: str) -> Header:
    """Raises ValueError for what is no .npy header, for objects, and for Fortran order."""
    try:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its format is {version[0]}.{version[1]}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with _quiet():
            shape, fortran, dtype = read(stream)
    except ValueError as error:
        raise ValueError(f"{where} is no array of NumPy ({shown(str(error))[:200]}): save it again.") from error
    if dtype.hasobject:
        raise ValueError(f"{where} holds Python objects, which could run code: save numbers or texts.")
    if fortran and len(shape) > 1:
        raise ValueError(f"{where} is stored in Fortran order: save np.ascontiguousarray(x).")
    return Header(shape, dtype, stream.tell())


def _values(path: Path, name: str, count: int, pictures: str, noun: str = "label") -> list[str]:
    """The labels of `count` pictures as texts; "" where there is none."""
    where = f"{name} in {path.name}"
    with unbroken(path), opened(path, f"{name}.npy") as stream:
        header = _read_header(stream, where)
        if header.shape not in ((count,), (count, 1)):
            raise ValueError(
                f"{where} has the shape {header.shape} and {pictures} {count:,} pictures: "
                f"write one {noun} for each picture, shape ({count},)."
            )
        if math.prod(header.shape) * header.dtype.itemsize > LARGEST:
            raise ValueError(f"{where} takes more than {LARGEST // 2**20} MB: write integers or short texts.")
        stream.seek(0)
        with _quiet():
            values = npy.read_array(stream, allow_pickle=False).reshape(-1)
        if stream.read(1):
            raise EOFError("it is longer than its header says")
    return texts(values, where, noun)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without NumPy's warning that Python 2 wrote the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def texts(values: NDArray[Any], where: str, noun: str = "label") -> list[str]:
    """Integers or texts as label texts; ValueError for an array of another type."""
    if values.dtype.kind in "iu":
        return [str(value) for value in values.tolist()]
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} is not UTF-8: write the {noun}s as integers or texts.") from error
    if values.dtype.kind != "U":
        nan = values.dtype.kind == "f" and np.isnan(values).any()
        found = "holds NaN" if nan else f"has the type {values.dtype}"
        raise ValueError(f"{where} {found}: write the {noun}s as integers or texts.")
    return [label_text(value, where, noun) for value in values.tolist()]
