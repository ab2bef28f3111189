"""A user's images, checked, in an order that depends on their content alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.reading.checks import Checked, Kind
from runners.reading.listing import Lists, Store
from runners.reading.names import counted, has
from runners.reading.pictures import Facts, Pixels, facts_of, refuse_several_ranges, said_of

SIZES = 100  # distinct sizes that are kept one by one


@dataclass(frozen=True)
class Source:
    """A user's images: labels and names are known, every picture was decoded once.

    The order of images is that of the SHA-256 of their RGB pixels at their own size, ties by label: copies of one set
    in different layouts have the same order, digest and split.

    Attributes:
        path: what the user gave.
        kind: "set" (one label or more), "class" (one label), "none" (no labels).
        labels: names of the K classes, in natural order.
        of_image: per image the indices of its labels, ascending; () for kind "none".
        units: per image the name of what is split whole: its group in the table, else the image with its exact copies.
        held_out: per image whether the user's own split (val.csv, test/, x_test) holds it out; None where the user has
            none.
        lists: conditions that the user gives (test.json, new_test.json) as label names, ordered by index.
        digest: 12 hex digits of pixels, labels, units, split and lists, whatever the layout.
        notes: a sentence each on what was done or left out.
        sizes: distinct (width, height) in pixels, smallest area first; of more than 100, the smallest and the largest.
        store: where the pictures lie.
        places: per image its place in the store.
        picture_digests: per image the SHA-256 of its shape and pixels.
    """

    path: Path
    kind: Kind
    labels: tuple[str, ...]
    of_image: tuple[tuple[int, ...], ...] = field(repr=False)
    units: tuple[str, ...] = field(repr=False)
    held_out: tuple[bool, ...] | None = field(repr=False)
    lists: Lists = field(repr=False)
    digest: str
    notes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    store: Store = field(repr=False, compare=False)
    places: tuple[int, ...] = field(repr=False, compare=False)
    picture_digests: tuple[str, ...] = field(repr=False)

    def pictures(self) -> Iterator[Pixels]:
        """RGB uint8 (H, W, 3) of each image at its own size, in the order of `of_image`, decoded anew.

        Few decoded pictures are alive at once. Raises ValueError for a picture that is not the one that was read.
        """
        largest = max(width * height for width, height in self.sizes)
        images = self.store.pictures(self.places, largest)
        for image_HWC, place, digest in zip(images, self.places, self.picture_digests, strict=True):
            if facts_of(image_HWC).digest != digest:
                raise ValueError(
                    f"{self.store.name(place)} in {self.path} changed while it was read: run the same command again."
                )
            yield image_HWC


def assemble(path: Path, checked: Checked, store: Store, facts: Sequence[Facts]) -> Source:
    """Bring what was checked and what was decoded into the canonical order.

    Raises:
        ValueError: where nothing can be held out, since all images are of one group or copies of one picture; where
            all are black, or have the same set of labels; where values of 32 bits have several ranges.
    """
    units = [item.group or f"image {one.digest[:16]}" for item, one in zip(checked.items, facts, strict=True)]
    if not checked.has_split and len(set(units)) == 1:
        raise ValueError(
            f"All images of --data {path} are of one group or copies of one picture: add others, so that a part can be "
            "held out."
        )
    refuse_several_ranges((one.remarks for one in facts), f"--data {path}")
    if all("dark" in one.remarks for one in facts):
        raise ValueError(
            f"All pictures of --data {path} are black, with no pixel above 1 of 255: write pixels from 0 to 255, of "
            "values from 0 to 1 (x * 255).round().astype('uint8')."
        )
    if checked.kind == "set" and len({*checked.of_item}) == 1:
        raise ValueError(
            f"All images of --data {path} show the same labels, so no condition differs from another: write "
            "--task images to train without labels."
        )
    order = sorted(
        range(len(facts)),
        key=lambda i: (facts[i].digest, checked.of_item[i], checked.items[i].held_out, units[i]),
    )
    held_out = tuple(checked.items[i].held_out for i in order) if checked.has_split else None
    of_image = tuple(checked.of_item[i] for i in order)
    ordered = tuple(units[i] for i in order)
    picture_digests = tuple(facts[i].digest for i in order)
    return Source(
        path=path,
        kind=checked.kind,
        labels=checked.labels,
        of_image=of_image,
        units=ordered,
        held_out=held_out,
        lists=checked.lists,
        digest=_digest(checked, of_image, ordered, held_out, picture_digests),
        notes=(*checked.notes, *said_of(one.remarks for one in facts), *_copies(of_image, held_out, picture_digests)),
        sizes=_sizes(facts),
        store=store,
        places=tuple(checked.items[i].place for i in order),
        picture_digests=picture_digests,
    )


def _digest(
    checked: Checked,
    of_image: Sequence[tuple[int, ...]],
    units: Sequence[str],
    held_out: Sequence[bool] | None,
    picture_digests: Sequence[str],
) -> str:
    """12 hex digits of the content in its canonical order."""
    head = [checked.kind, checked.labels, checked.lists, held_out is not None]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for row in zip(picture_digests, of_image, units, held_out or [False] * len(units), strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:12]


def _sizes(facts: Sequence[Facts]) -> tuple[tuple[int, int], ...]:
    found = sorted({(one.width, one.height) for one in facts}, key=lambda size: (size[0] * size[1], size))
    return tuple(found if len(found) <= SIZES else (found[0], found[-1]))


def _copies(
    of_image: Sequence[tuple[int, ...]], held_out: Sequence[bool] | None, picture_digests: Sequence[str]
) -> Iterator[str]:
    """Sentences on images that are the same, pixel for pixel."""
    count = Counter(picture_digests)
    if not (copies := sum(number for number in count.values() if number > 1)):
        return
    together = "; copies are held out together" if held_out is None else ""
    yield f"{copies:,} images have an exact copy among the others{together}."
    labels: dict[str, set[tuple[int, ...]]] = {}
    for digest, one in zip(picture_digests, of_image, strict=True):
        if count[digest] > 1:
            labels.setdefault(digest, set()).add(one)
    if differing := sum(len(found) > 1 for found in labels.values()):
        yield f"{counted(differing, 'picture')} among them {has(differing)} copies with other labels."
    if held_out is not None:
        training = {digest for digest, held in zip(picture_digests, held_out, strict=True) if not held}
        leaked = sum(held and digest in training for digest, held in zip(picture_digests, held_out, strict=True))
        if leaked:
            yield f"{counted(leaked, 'held-out image')} {has(leaked)} an exact copy among the training images."


def sentence(source: Source, image_size: int, held_out_count: int, conditions: int) -> str:
    """What was found: "3,670 images in 5 classes, 64x64 after resizing; 184 held out; validation 64 conditions".

    Args:
        source: the images.
        image_size: side of the pictures that are trained on, in pixels.
        held_out_count: images that are not trained on.
        conditions: length of the validation list.
    """
    what = {
        "class": f"in {counted(len(source.labels), 'class', 'classes')}",
        "set": f"with sets of {counted(len(source.labels), 'label')}",
        "none": "without labels",
    }[source.kind]
    resized = "" if source.sizes == ((image_size, image_size),) else " after resizing"
    whole = " by your own split" if source.held_out is not None else ""
    if source.held_out is None and not all(unit.startswith("image ") for unit in source.units):
        whole = " in whole groups"
    noun = "sample" if source.kind == "none" else "condition"
    return (
        f"{counted(len(source.of_image), 'image')} {what}, {image_size}x{image_size}{resized}; "
        f"{held_out_count:,} held out{whole}; validation {counted(conditions, noun)}"
    )
