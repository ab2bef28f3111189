"""What a task makes of a source: pictures, and everything that belongs to them.

Shapes: N images, H height, W width, C channels (RGB), K labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:  # --help needs this file and no arrays
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"
Condition = tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """What pictures of a trial show.

    `strip`: the condition of the denoising strip, in so many `frames`, from a noise of its own or from the first one of
    the pictures `first_of`; `interpolation`: conditions, a row each for every way of `mixes` ("slerp", "lerp") between
    two noises, in so many `steps`.
    """

    strip: Condition = ()
    first_of: str = ""
    frames: int = 10
    interpolation: tuple[Condition, ...] = ((),)
    mixes: tuple[str, ...] = ("slerp",)
    steps: int = 8


@dataclass(frozen=True)
class About:
    """What a task says of its images that no setting says.

    `labels`: the names of the K labels; `facets`: facet -> its value for each label, such as "colour" -> ("gray", ...);
    `palette`: colours of labels or of a facet's values, as "#575757"; `noun`: what a label stands for in a picture.
    """

    labels: tuple[str, ...]
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    palette: Mapping[str, str] = field(default_factory=dict)
    noun: str = "image"
    shown: Shown = field(default_factory=Shown)

    def hot(self, conditions: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Conditions as bool (N, K)."""
        import numpy as np

        index = {label: position for position, label in enumerate(self.labels)}
        hot_NK = np.zeros((len(conditions), len(self.labels)), dtype=bool)
        for row, condition in enumerate(conditions):
            hot_NK[row, [index[label] for label in condition]] = True
        return hot_NK

    def to_json(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "facets": {name: list(values) for name, values in self.facets.items()},
            "palette": dict(self.palette),
            "noun": self.noun,
            "shown": dataclasses.asdict(self.shown),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> About:
        shown = {**value["shown"]}
        shown["interpolation"] = tuple(map(tuple, shown["interpolation"]))
        shown |= {name: tuple(shown[name]) for name in ("strip", "mixes") if name in shown}
        return cls(
            labels=tuple(value["labels"]),
            facets={name: tuple(values) for name, values in value["facets"].items()},
            palette=dict(value["palette"]),
            noun=value["noun"],
            shown=Shown(**shown),
        )


class Given(Protocol):
    """A user's images, read and checked."""

    @property
    def path(self) -> Path:
        """Where they are."""

    @property
    def data(self) -> str:
        """What a config says of them: their content."""

    @property
    def count(self) -> int:
        """How many there are."""


@dataclass(frozen=True)
class Produced:
    """What a task makes of its source: pictures at the wanted size, one by one, and everything that belongs to them.

    `pictures`: uint8 (H, W, 3), in the order of `conditions`, the labels of each; `what`: what takes the time, for the
    progress; `held_out`: positions of images that nothing is trained on; `units`: what each image belongs to that is
    split whole; `index`: more that is kept for a reader.
    """

    pictures: Iterable[Pixels]
    what: str
    conditions: Sequence[Condition]
    lists: Mapping[str, Sequence[Condition]]
    held_out: Sequence[int]
    units: Sequence[str]
    about: About
    index: Mapping[str, Any] = field(default_factory=dict)
