"""What a layout says before any picture is decoded: which pictures there are, and what each is labelled with."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runners.experiment import Progress
from runners.reading.pictures import PIXELS_AT_ONCE, Facts, Pixels, decoded, file_facts, ready
from runners.reading.threads import AHEAD, in_order

STRIDE = 100  # pictures from one report of progress to the next
Lists = Mapping[str, tuple[tuple[str, ...], ...]]


class Store(Protocol):
    """Where pictures lie; each has a place, an index from 0."""

    def files(self, places: Sequence[int]) -> list[tuple[str, Path]]:
        """The files whose bytes decide the pictures at these places, each with a name that is relative to the data."""

    def name(self, place: int) -> str:
        """Names a picture in a sentence."""

    def facts(self, places: Sequence[int]) -> Generator[Progress, None, list[Facts]]:
        """Decode the pictures at these places; ValueError names the first that cannot be read."""

    def pictures(self, places: Sequence[int], largest: int) -> Iterator[Pixels]:
        """The pictures at these places, RGB uint8 (H, W, 3), of `largest` pixels at most."""


@dataclass(frozen=True)
class FileStore:
    """Pictures in files under `root`; a place is a position in `names`."""

    root: Path
    names: tuple[str, ...]

    def files(self, places: Sequence[int]) -> list[tuple[str, Path]]:
        return [(self.names[place], self.root / self.names[place]) for place in places]

    def name(self, place: int) -> str:
        return self.names[place]

    def facts(self, places: Sequence[int]) -> Generator[Progress, None, list[Facts]]:
        ready()
        found: list[Facts] = []
        for one in in_order(file_facts, (path for _, path in self.files(places))):
            found.append(one)
            if len(found) % STRIDE == 0 or len(found) == len(places):
                yield Progress("reading images", len(found), len(places))
        return found

    def pictures(self, places: Sequence[int], largest: int) -> Iterator[Pixels]:
        ready()
        ahead = max(1, min(AHEAD, PIXELS_AT_ONCE // largest))  # decoded pictures that wait for the one before them
        for image_HWC, _ in in_order(decoded, (path for _, path in self.files(places)), ahead):
            yield image_HWC


@dataclass(slots=True)
class Item:
    """One picture of a layout."""

    place: int
    labels: tuple[str, ...] = ()
    group: str = ""  # what is split whole; "" where the image stands alone
    held_out: bool = False


@dataclass(frozen=True)
class Listing:
    """The pictures of a layout with their labels.

    Attributes:
        what: names what the labels were read from, for sentences: "metadata.csv", "the sub-folders".
        labelled: whether this layout gives labels; an item without any is then unlabelled.
        several: whether it can give an image several labels.
        known: the labels that it permits; () for any.
        wrapper: a folder that holds everything and may be meant instead of `path`; "" where there is none.
    """

    path: Path
    store: Store
    items: Sequence[Item]
    what: str
    labelled: bool
    several: bool = False
    known: tuple[str, ...] = ()
    lists: Lists = field(default_factory=dict)
    wrapper: str = ""
    notes: tuple[str, ...] = ()
