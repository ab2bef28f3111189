"""The user's i-CLEVR folder, read and checked: a `Folder` is one that can be used."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners import splits, user_texts
from runners.config import Call, nearest
from runners.contents import Condition, Pixels
from runners.reading import pictures
from runners.reading.names import some
from runners.tasks.iclevr import layout, split
from runners.tasks.iclevr.labels import LABELS
from runners.tasks.iclevr.lists import GIVEN

MIN_IMAGES = 100
REQUIRED = ("train.json", "objects.json", "test.json")


@dataclass(frozen=True)
class Folder:
    """A checked i-CLEVR folder: sorted file names, their labels, and the digest of everything in it.

    `images`: the folder in which they lie; `notes`: a sentence each on where files were found, what is not there, and
    what was done to some of the images where the caller has decoded them already: then `pixels_NHWC` has them.
    """

    path: Path
    images: Path
    labels: dict[str, Condition]
    lists: dict[str, list[Condition]]
    digest: str
    notes: tuple[str, ...] = field(default=(), compare=False)
    pixels_NHWC: Pixels | None = field(default=None, repr=False, compare=False)

    @property
    def data(self) -> str:
        lists = (("lists", tuple(self.lists)),) if tuple(self.lists) != GIVEN else ()
        return str(Call("folder", (("digest", self.digest), *lists)))

    @property
    def count(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def units(self) -> list[str]:
        """What each image belongs to that is split whole."""
        return split.units(list(self.labels), list(self.labels.values()))


def read_folder(root: Path) -> Folder:
    """Read and check an i-CLEVR folder; labels and images lie in it, side by side or deeper (`layout`).

    Raises ValueError, one sentence, for: no folder, a missing or unreadable JSON file, an unknown label, a
    file name that leaves the folder, a missing image, fewer than 100 images.
    """
    if not root.is_dir():
        raise ValueError(f"--data {root} is not a folder: give the i-CLEVR folder that holds train.json.")
    place = _place(root, root, "train.json")
    train = _read_json(place, "train.json")
    if not isinstance(train, dict):
        raise ValueError(f"{place / 'train.json'} must map file names to lists of labels.")
    of_objects = _place(root, place, "objects.json")
    objects = _read_json(of_objects, "objects.json")
    if not isinstance(objects, dict) or {label: i for i, label in enumerate(LABELS)} != objects:
        raise ValueError(f"{of_objects / 'objects.json'} must be i-CLEVR's: 24 names from 'gray cube': 0 to 23.")
    for name in train:
        if not name or Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name:
            raise ValueError(f"train.json names the file {name!r}, which leaves the folder: use plain file names.")
    labels = {name: _condition(train[name], f"train.json, {name}") for name in sorted(train)}
    places = {"test": _place(root, place, "test.json"), "new_test": _found(root, place, "new_test.json")}
    lists = {name: _conditions(where, f"{name}.json") for name, where in places.items() if where is not None}
    if len(labels) < MIN_IMAGES:
        raise ValueError(f"{root} has {len(labels)} images: a study needs at least {MIN_IMAGES}.")
    images = _complete(root, place, list(labels))
    if not split.validation(list(labels.values()), lists):
        raise ValueError(_nothing_to_validate_on(root, labels, lists))
    return Folder(root, images, labels, lists, _digest(images, labels, lists), _notes(root, place, images, lists))


def _place(root: Path, first: Path, name: str) -> Path:
    """The folder of a JSON file, as `_found`. Raises ValueError where there is none."""
    if (place := _found(root, first, name)) is None:
        raise ValueError(f"{root} has no {name}{layout.looked_for(root)}: give the i-CLEVR folder that holds it.")
    return place


def _found(root: Path, first: Path, name: str) -> Path | None:
    """The folder of a JSON file: where train.json is, what the user gave, or the one in which an i-CLEVR file of this
    name is found. Raises ValueError for several that differ."""
    for place in (first, root):
        if os.path.lexists(place / name):
            return place
    found = layout.holding(name, layout.folders(root, layout.LABELS_DEPTH))
    ours = [place for place in found if layout.is_ours(name, _quietly(place, name))]
    if len({(place / name).read_bytes() for place in ours}) > 1:
        where = layout.inside(root, ours)
        raise ValueError(f"--data {root} holds {len(ours)} files {name} that differ ({where}): leave one of them.")
    if name in REQUIRED:
        ours += found  # what is wrong with it is said when it is read
    return next(iter(ours), None)


def _quietly(place: Path, name: str) -> object:
    """The content of a JSON file; None for one that cannot be read or is far larger than i-CLEVR's."""
    try:
        return _read_json(place, name) if (place / name).stat().st_size <= layout.LARGEST else None
    except (OSError, ValueError):
        return None


def _complete(root: Path, place: Path, names: list[str]) -> Path:
    """The folder that holds all images. Raises ValueError for images that are missing."""
    images = layout.images_folder(root, place, names)
    if images is None:
        raise ValueError(layout.not_found(root, names))
    missing = [name for name in names if not (images / name).is_file()]
    if len(missing) == 1:
        raise ValueError(f"The image {missing[0]} of train.json is missing in {images}: complete the folder.")
    if missing:
        raise ValueError(
            f"{len(missing):,} images of train.json ({some(missing)}) are missing in {images}: complete the folder."
        )
    return images


def _notes(root: Path, place: Path, images: Path, lists: Mapping[str, object]) -> tuple[str, ...]:
    found = []
    if place != root or images not in [root / part for part in layout.USUAL]:
        inside = [layout.inside(root, [one]) for one in (place, images)]
        found.append(f"The labels are those in {inside[0]}, the images those in {inside[1]}.")
    lacking = [f"There is no {name}.json: nothing is scored on the list {name}." for name in GIVEN if name not in lists]
    return (*found, *lacking)


def _nothing_to_validate_on(root: Path, labels: dict[str, Condition], lists: dict[str, list[Condition]]) -> str:
    if all(len(condition) not in split.SIZES for condition in labels.values()):
        return (
            f"No condition is left to validate on: every image of --data {root} shows more than "
            f"{max(split.SIZES)} objects, and i-CLEVR's conditions have 1 to {max(split.SIZES)}. Add images of so "
            "many, or write --task sets."
        )
    return splits.nothing_to_validate_on(root, list(lists))


def _read_json(root: Path, name: str) -> Any:
    if not os.path.lexists(root / name):
        raise ValueError(f"{root} has no {name}: give the i-CLEVR folder that holds it.")
    return user_texts.read_json(root / name, str(root / name))


def _condition(value: Any, where: str) -> Condition:
    if not isinstance(value, list) or not value or not all(isinstance(label, str) for label in value):
        raise ValueError(f"{where} must be a list of labels such as ['red cube'].")
    for label in value:
        if label not in LABELS:
            raise ValueError(f"{where} has the unknown label {label!r}{nearest(label, LABELS)}")
    if len(set(value)) != len(value):
        raise ValueError(f"{where} names one label twice: a scene holds each object once.")
    return tuple(value)


def _conditions(root: Path, name: str) -> list[Condition]:
    values = _read_json(root, name)
    if not isinstance(values, list) or not values:
        raise ValueError(f"{root / name} must be a list of lists of labels.")
    return [_condition(value, f"{name}, entry {position}") for position, value in enumerate(values)]


def _digest(images: Path, labels: dict[str, Condition], lists: dict[str, list[Condition]]) -> str:
    """12 hex digits of the labels, the lists and the bytes of every image.

    Earlier versions made other pixels of some pictures: a folder that holds such a one has another digest now, so that
    nothing that they prepared is taken for it.
    """
    pictures.ready()
    digest, read_anew = hashlib.sha256(json.dumps([labels, lists], sort_keys=True).encode()), False
    with ThreadPoolExecutor(4) as pool:
        for one, anew in pool.map(lambda name: _of_image((images / name).read_bytes()), labels):
            digest.update(one)
            read_anew |= anew
    if read_anew:
        digest.update(b"turned upright, grey of 16 bits scaled")
    return digest.hexdigest()[:12]


def _of_image(content: bytes) -> tuple[bytes, bool]:
    """SHA-256 of a picture's bytes, and whether earlier versions read it otherwise: a grey PNG of 16 bits, which was
    white, or one that is to be turned (depth and colour type: PNG specification, 11.2.1)."""
    white = content.startswith(b"\x89PNG") and content[24:26] == b"\x10\0"
    return hashlib.sha256(content).digest(), white or pictures.is_turned(content)
