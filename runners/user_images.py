"""A user's images as the tasks see them: what the config says of them, and their pictures at the wanted size."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners import splits
from runners.config import Call
from runners.contents import About, Condition, Pixels, Produced
from runners.reading import Source

TASKS = {"class": "classes", "set": "sets", "none": "images"}  # kind -> the task of a user's own images


@dataclass(frozen=True)
class UserImages:
    """Images that `runners.reading` has read; `mirror`: the user says that they may be mirrored."""

    source: Source
    mirror: bool = False

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def count(self) -> int:
        return len(self.source.of_image)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.source.labels

    @property
    def conditions(self) -> list[Condition]:
        """The labels of each image."""
        return [tuple(self.labels[index] for index in indices) for indices in self.source.of_image]

    @property
    def lists(self) -> dict[str, list[Condition]]:
        """The lists that samples are drawn for."""
        if self.source.kind == "class":
            return splits.class_lists(self.labels)
        if self.source.kind == "none":
            return splits.sample_lists()
        given = {name: [tuple(condition) for condition in values] for name, values in self.source.lists.items()}
        return splits.set_lists(self.labels, self.conditions, given)

    @functools.cached_property
    def held_out(self) -> list[int]:
        """Positions of the images that nothing is trained on: the user's own split, or one that is drawn."""
        if self.source.held_out is not None:
            return [position for position, held in enumerate(self.source.held_out) if held]
        return splits.held_out(self.source.units, self.conditions)

    def check(self) -> None:
        """Raises ValueError where no image can be held out, and where no condition is left to validate on."""
        splits.check(self.path, self.count, self.held_out)
        if not self.lists["validation"]:
            raise ValueError(splits.nothing_to_validate_on(self.path, list(self.source.lists)))

    @property
    def data(self) -> str:
        """`classes(digest='...', images=3670, k=5)`."""
        arguments: dict[str, object] = {"digest": self.source.digest, "images": self.count}
        if self.source.kind != "none":
            arguments["k"] = len(self.labels)
        if self.source.kind == "set" and self.source.lists:
            arguments["lists"] = tuple(self.source.lists)
        if self.mirror:
            arguments["mirror"] = True
        return str(Call(TASKS[self.source.kind], tuple(sorted(arguments.items()))))

    def produced(self, image_size: int, about: About) -> Produced:
        return Produced(
            pictures=self._pictures(image_size),
            what="resizing images",
            conditions=self.conditions,
            lists=self.lists,
            held_out=self.held_out,
            units=self.source.units,
            about=about,
        )

    def _pictures(self, image_size: int) -> Iterator[Pixels]:
        return (square(picture_HWC, image_size) for picture_HWC in self.source.pictures())


def square(picture_HWC: Pixels, side: int) -> Pixels:
    """The centred square of a picture, resized with antialiasing: uint8 (side, side, 3)."""
    from PIL import Image

    height, width, _ = picture_HWC.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    cut_HWC = picture_HWC[top : top + short, left : left + short]
    if short == side:
        return np.ascontiguousarray(cut_HWC)
    # Pillow's filters cover the source pixels where a picture shrinks.
    resized = Image.fromarray(np.ascontiguousarray(cut_HWC)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(resized)
