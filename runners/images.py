"""The images of a task in the record: labels, split and lists of conditions beside one memory-mapped array.

Shapes: N images, H height, W width, C channels (RGB), K labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners import prepared, splits, tasks
from runners.contents import About, Condition, Given, Pixels, Produced
from runners.experiment import Progress, Task
from runners.process.files import read_json
from runners.tasks.iclevr import labels as iclevr
from runners.tasks.iclevr import split

REPORTED = 100  # images between two reports of progress


@dataclass(frozen=True)
class Images:
    """N images with their labels, the split by what is split whole, and the lists of conditions.

    `unit_N`: the number of what each image belongs to that is split whole.
    """

    images_NHWC: Pixels
    labels_NK: NDArray[np.bool_]
    train_indices: NDArray[np.int64]
    held_out_indices: NDArray[np.int64]
    lists: dict[str, list[Condition]]
    digest: str
    about: About
    unit_N: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def image_size(self) -> int:
        return int(self.images_NHWC.shape[1])

    def hot(self, conditions: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Conditions as bool (N, K)."""
        return self.about.hot(conditions)

    def one_of_each_unit(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of different units, in their order: of the first unit its first image, of the second its second, and so
        on, so that units of nested images are seen at every stage."""
        if not len(self.unit_N):
            return rows
        members: dict[int, list[int]] = {}
        for row in rows.tolist():
            members.setdefault(int(self.unit_N[row]), []).append(row)
        return np.array([of_unit[i % len(of_unit)] for i, of_unit in enumerate(members.values())], dtype=np.int64)

    def described(self, task: Task) -> dict[str, Any]:
        """What a trial's task.json says: everything that a reader needs to know of the images and their scores."""
        return {
            "name": task.name,
            "kind": task.kind,
            **self.about.to_json(),
            "lists": [dataclasses.asdict(one) for one in task.lists],
            "metric": dataclasses.asdict(task.metric),
            "images": {"train": len(self.train_indices), "held_out": len(self.held_out_indices)},
        }


def numbered(units: Sequence[str]) -> list[int]:
    """Units as numbers, in the order of their first image."""
    number = {unit: position for position, unit in enumerate(dict.fromkeys(units))}
    return [number[unit] for unit in units]


def place(source: str, image_size: int, cache: Path) -> Path:
    """Where the prepared images of a config's `data` and `image_size` lie, or will lie.

    Rendered images of the first versions were named after the program's text; they are found by their source.
    """
    named, earlier = tasks.module(source).stored(source)
    own = cache / f"data-{named}-{image_size}"
    if own.exists() or not earlier:
        return own
    indexes = sorted(cache.glob(f"data-*-{image_size}/index.json"))
    return next((path.parent for path in indexes if _source_of(path) == source), own)


def _source_of(index: Path) -> str:
    """What an index.json says that its images are of; "" for one that is damaged."""
    try:
        return str(json.loads(index.read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def open_images(path: Path) -> Images:
    """The prepared images under `path`. Raises ValueError when they are not what was written.

    Versions that knew one task did not write what it says of its images.
    """
    images_NHWC, index = prepared.read(path)
    about = About.from_json(index["about"]) if "about" in index else iclevr.ABOUT
    held_out_N = np.zeros(len(images_NHWC), dtype=bool)
    held_out_N[index["held_out"]] = True
    return Images(
        images_NHWC=images_NHWC,
        labels_NK=about.hot(index["conditions"]),
        train_indices=np.flatnonzero(~held_out_N),
        held_out_indices=np.flatnonzero(held_out_N),
        lists={name: [tuple(condition) for condition in index["lists"][name]] for name in _lists(index)},
        digest=index["sha256"][:12],
        about=about,
        unit_N=np.array(index.get("units") or numbered(split.units(index["names"])), dtype=np.int64),
    )


def _lists(index: Mapping[str, Any]) -> list[str]:
    """The lists in the task's order."""
    return [one.name for one in tasks.of(index.get("source", "rendered")).lists]


def _is_split(path: Path) -> bool:
    """Whether prepared images have a part to train on and one that is held out."""
    index = read_json(path / "index.json")
    return 0 < len(index["held_out"]) < len(index["conditions"])


def _check(made: Produced, source: str) -> None:
    """ValueError for a task that leaves nothing to train on, to hold out or to choose by."""
    splits.check(source, len(made.conditions), made.held_out)
    for one in tasks.of(source).lists:
        if one.role == "choose" and not made.lists[one.name]:
            raise ValueError(f"The list {one.name} of {source} has no conditions: give the task images that show some.")


def prepare(source: str, given: Given | None, image_size: int, cache: Path) -> Generator[Progress, None, None]:
    """Make sure that the images of `place` are there; yields progress while they are made.

    `source` is the config's `data`, `given` the user's images that it stands for. Images that are not what was written
    are made again, and so are those of an earlier version whose split left nothing to train on. Raises ValueError for
    an image that cannot be used, and for images without a part to hold out or a condition to validate on; nothing of
    them stays.
    """
    final = place(source, image_size, cache)
    if final.exists() and not prepared.damage(final) and _is_split(final):
        return
    made = tasks.module(source).produce(source, given, image_size)
    _check(made, source)
    count = len(made.conditions)
    index = {
        "source": source,
        "conditions": made.conditions,
        "lists": dict(made.lists),
        "held_out": list(map(int, made.held_out)),
        "about": made.about.to_json(),
        "units": numbered(made.units),
        **made.index,
    }
    for done in prepared.write(final, made.pictures, (count, image_size, image_size, 3), index):
        if done % REPORTED == 0 or done == count:
            yield Progress(made.what, done, count)
