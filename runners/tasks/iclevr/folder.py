"""The user's i-CLEVR folder, read and checked: a `Folder` is one that can be used."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners import user_texts
from runners.config import Call, nearest
from runners.contents import Condition, Pixels
from runners.reading import pictures
from runners.tasks.iclevr.labels import LABELS

MIN_IMAGES = 100


@dataclass(frozen=True)
class Folder:
    """A checked i-CLEVR folder: sorted file names, their labels, and the digest of everything in it.

    `pixels_NHWC`: the images where the caller has decoded them already; `notes`: a sentence on each thing that was done
    to some of them then.
    """

    path: Path
    images: Path
    labels: dict[str, Condition]
    lists: dict[str, list[Condition]]
    digest: str
    pixels_NHWC: Pixels | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def data(self) -> str:
        return str(Call("folder", (("digest", self.digest),)))

    @property
    def count(self) -> int:
        return len(self.labels)


def read_folder(root: Path) -> Folder:
    """Read and check an i-CLEVR folder; images lie beside train.json, or in `images/` or `iclevr/`.

    Raises ValueError, one sentence, for: no folder, a missing or unreadable JSON file, an unknown label, a
    file name that leaves the folder, a missing image, fewer than 100 images.
    """
    if not root.is_dir():
        raise ValueError(f"--data {root} is not a folder: give the i-CLEVR folder that holds train.json.")
    train = _read_json(root, "train.json")
    if not isinstance(train, dict):
        raise ValueError(f"{root / 'train.json'} must map file names to lists of labels.")
    objects = _read_json(root, "objects.json")
    if not isinstance(objects, dict) or {label: i for i, label in enumerate(LABELS)} != objects:
        raise ValueError(f"{root / 'objects.json'} must be i-CLEVR's: 24 names from 'gray cube': 0 to 23.")
    for name in train:
        if not name or Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name:
            raise ValueError(f"train.json names the file {name!r}, which leaves the folder: use plain file names.")
    labels = {name: _condition(train[name], f"train.json, {name}") for name in sorted(train)}
    lists = {name: _conditions(root, f"{name}.json") for name in ("test", "new_test")}
    if len(labels) < MIN_IMAGES:
        raise ValueError(f"{root} has {len(labels)} images: a study needs at least {MIN_IMAGES}.")
    places = [root, root / "images", root / "iclevr"]
    first = next(iter(labels))
    images = next((place for place in places if (place / first).is_file()), root)
    for name in labels:
        if not (images / name).is_file():
            raise ValueError(f"The image {name} of train.json is missing in {images}: complete the folder.")
    return Folder(root, images, labels, lists, _digest(images, labels, lists))


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
