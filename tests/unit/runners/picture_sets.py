"""Small sets of pictures in every layout, written as a user has them."""

from __future__ import annotations

import csv
import gzip
import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from runners.reading import Source, read

Pixels = NDArray[np.uint8]
COUNT, SIDE = 104, 6
CLASSES = ("2", "10", "1", "33")  # natural order: 1, 2, 10, 33
# Of these pictures with these classes, whatever the layout. It stands in the `data` of configs, so it never changes.
DIGEST = "7b97566a4c64"


def taken(path: Path, wanted: str = "", allow_unlabelled: bool = False, cache: Path | None = None) -> Source:
    """What `read` returns."""
    reading = read(path, wanted, allow_unlabelled, cache)
    while True:
        try:
            next(reading)
        except StopIteration as stop:
            return stop.value


def refused(path: Path, words: str, **arguments: Any) -> str:
    """The sentence, which holds `words`, that `read` refuses a path with."""
    with pytest.raises(ValueError, match=words) as error:
        taken(path, **arguments)
    text = str(error.value)
    assert re.fullmatch(r"[^\n]{20,500}[.]", text), text
    return text


def grey(count: int = COUNT, side: int = SIDE, seed: int = 0) -> Pixels:
    """Distinct grey pictures (N, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def labels_of(count: int = COUNT, classes: Sequence[str] = CLASSES) -> list[str]:
    return [classes[position % len(classes)] for position in range(count)]


def save(image: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def class_folders(root: Path, images: Pixels, labels: Sequence[str], name: str = "{:04d}.png") -> Path:
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        save(image, root / label / name.format(position))
    return root


def flat(root: Path, images: Pixels, name: str = "{:04d}.png") -> list[str]:
    """Images alone; their names."""
    names = [name.format(position) for position in range(len(images))]
    for image, one in zip(images, names, strict=True):
        save(image, root / one)
    return names


def write_csv(path: Path, rows: Sequence[Sequence[str]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def write_json_lines(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def metadata_csv(root: Path, images: Pixels, labels: Sequence[str]) -> Path:
    names = flat(root, images)
    write_csv(root / "metadata.csv", [("file_name", "label"), *zip(names, labels, strict=True)])
    return root


def metadata_jsonl(root: Path, images: Pixels, labels: Sequence[str], name: str = "{:04d}.png") -> Path:
    names = flat(root, images, name)
    rows = [{"file_name": one, "label": label} for one, label in zip(names, labels, strict=True)]
    write_json_lines(root / "metadata.jsonl", rows)
    return root


def write_idx(path: Path, array: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def idx_files(root: Path, images: Pixels, labels: Sequence[str], part: str = "train", packed: bool = False) -> Path:
    end = ".gz" if packed else ""
    write_idx(root / f"{part}-images-idx3-ubyte{end}", images)
    write_idx(root / f"{part}-labels-idx1-ubyte{end}", np.array([int(label) for label in labels], np.uint8))
    return root


def label_sets(count: int = COUNT) -> list[list[str]]:
    """One or two labels an image."""
    pairs = (["cat"], ["dog"], ["cat", "dog"], ["owl", "cat"])
    return [pairs[position % 4] for position in range(count)]


def sets_json(root: Path, images: Pixels, **more: object) -> Path:
    """i-CLEVR's form: train.json {file: [labels]}, with other JSON files in `more`."""
    names = flat(root / "images", images)
    content = {"train": dict(zip(names, label_sets(len(images)), strict=True))} | more
    for name, value in content.items():
        (root / f"{name}.json").write_text(json.dumps(value))
    return root
