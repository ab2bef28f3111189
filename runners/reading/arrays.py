"""Pictures in arrays, read piece by piece: a .npz file of NumPy, or IDX files as MNIST has them (.gz too).

A compressed array can be read from its beginning only. Where pictures are wanted in another order, it is unpacked into
a temporary file first.
"""

from __future__ import annotations

import bisect
import gzip
import itertools
import lzma
import math
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from runners import readable
from runners.experiment import Progress
from runners.reading.listing import STRIDE
from runners.reading.names import shown
from runners.reading.pictures import MAX_SIDE, Facts, Pixels, facts_of

CHUNK = 2**23  # bytes that are read at once
MOST_PICTURES = 2_000_000  # of an array: a header that promises more is damaged or an attack
IN_MEMORY = 2**26  # bytes of an unpacked array that need no file


@dataclass(frozen=True)
class Block:
    """An array of pictures, uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), in a file.

    Attributes:
        member: its name inside a .npz; "" for an IDX file.
        offset: bytes before the first pixel.
        packed: whether it must be unpacked before any picture can be read.
    """

    path: Path
    member: str
    offset: int
    shape: tuple[int, ...]
    packed: bool

    @property
    def bytes_of_one(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def title(self) -> str:
        return self.member.removesuffix(".npy") or self.path.name

    def rgb(self, data: bytes) -> Pixels:
        """RGB (H, W, 3) of one picture's bytes."""
        image_HW1 = np.frombuffer(data, np.uint8).reshape(*self.shape[1:3], -1)
        return image_HW1 if image_HW1.shape[2] == 3 else np.repeat(image_HW1, 3, axis=2)


@dataclass(frozen=True)
class ArrayStore:
    """Pictures in arrays; places count through all of them. `scratch`: a folder for temporary files."""

    blocks: tuple[Block, ...]
    scratch: Path | None = field(default=None, compare=False)

    @property
    def starts(self) -> list[int]:
        """The place of the first picture of each block, and the end."""
        return [0, *itertools.accumulate(block.shape[0] for block in self.blocks)]

    def files(self, places: Sequence[int]) -> list[tuple[str, Path]]:
        return [(block.path.name, block.path) for block in {block.path: block for block in self.blocks}.values()]

    def name(self, place: int) -> str:
        number = bisect.bisect(self.starts, place) - 1
        return f"{self.blocks[number].title}[{place - self.starts[number]}]"

    def facts(self, places: Sequence[int]) -> Generator[Progress, None, list[Facts]]:
        found: list[Facts] = []
        total = self.starts[-1]
        for block in self.blocks:
            for data in _each(block):
                found.append(facts_of(block.rgb(data)))
                if len(found) % STRIDE == 0 or len(found) == total:
                    yield Progress("reading images", len(found), total)
        return [found[place] for place in places]

    def pictures(self, places: Sequence[int], largest: int) -> Iterator[Pixels]:
        starts = self.starts
        with ExitStack() as stack:
            files = [stack.enter_context(self._unpacked(block)) for block in self.blocks]
            for place in places:
                number = bisect.bisect(starts, place) - 1
                block = self.blocks[number]
                skipped = 0 if block.packed else block.offset
                with unbroken(block.path):
                    files[number].seek(skipped + (place - starts[number]) * block.bytes_of_one)
                    yield block.rgb(_exactly(files[number], block.bytes_of_one))

    @contextmanager
    def _unpacked(self, block: Block) -> Iterator[IO[bytes]]:
        """A file in which any picture can be read: the block's own, or a temporary one."""
        if not block.packed:
            with block.path.open("rb") as file:
                yield file
            return
        if self.scratch is not None:
            self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.SpooledTemporaryFile(
            IN_MEMORY, dir=None if self.scratch is None else str(self.scratch)
        ) as temporary:
            for data in _each(block, CHUNK // block.bytes_of_one):
                temporary.write(data)
            yield temporary


def _each(block: Block, together: int = 1) -> Iterator[bytes]:
    """The bytes of each picture in turn, or of so many at once; reads to the end of the file, where its checksum is.

    Raises:
        ValueError: for a file that is damaged, cut short, or longer than its header says.
    """
    size = block.bytes_of_one
    with unbroken(block.path), opened(block.path, block.member) as stream:
        _exactly(stream, block.offset)
        left = block.shape[0]
        while left:
            count = min(left, max(1, CHUNK // size))
            data = _exactly(stream, count * size)
            step = max(1, min(together, count)) * size
            for start in range(0, len(data), step):
                yield data[start : start + step]
            left -= count
        if stream.read(1):
            raise ValueError(f"{block.path} holds more in {block.title} than its header says: save it again.")


# --- opening and checking ------------------------------------------------------------------------------


@contextmanager
def opened(path: Path, member: str = "") -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file, or of a member of a .npz."""
    if member:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    elif is_gzip(path):
        with gzip.open(path) as stream:
            yield cast(IO[bytes], stream)
    else:
        with path.open("rb") as stream:
            yield stream


@contextmanager
def unbroken(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises is one sentence."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, KeyError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in readable.OURS:
            raise ValueError(readable.of_error(path, error).sentence(path, "restore it")) from error
        reason = shown(str(error))[:200] or type(error).__name__
        raise ValueError(f"{path} is damaged or cut short ({reason}): restore it from its source.") from error


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("its data end too early")
    return data


# A kind of numbers -> how to make pixels of them: a plain cast would make black pictures of values from 0 to 1.
HOW = {
    "f": "of values from 0 to 1 by (x * 255).round().astype('uint8')",
    "b": "by x.astype('uint8') * 255",
    "uint16": "of 16 bits by (x // 257).astype('uint8')",
}


def check_pictures(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Raises ValueError for an array that holds no pictures: `where` names it, such as "x in digits.npz"."""
    if dtype != np.uint8:
        how = HOW.get("uint16" if dtype == np.uint16 else dtype.kind, "x.astype('uint8')")
        raise ValueError(f"{where} has the type {dtype}: write pixels from 0 to 255 without NaN, as uint8, {how}.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape[1:]:
        channels_first = len(shape) == 4 and shape[1] in (1, 3)
        hint = ", so x.transpose(0, 2, 3, 1)" if channels_first else ""
        raise ValueError(f"{where} has the shape {shape}: write (N, H, W), (N, H, W, 1) or (N, H, W, 3){hint}.")
    if shape[0] > MOST_PICTURES:
        raise ValueError(f"{where} has {shape[0]:,} pictures: write at most {MOST_PICTURES:,}.")
    if max(shape[1:3]) > MAX_SIDE:
        raise ValueError(f"{where} has pictures of {shape[2]}x{shape[1]} pixels: write at most {MAX_SIDE} a side.")
