"""The built-in digits as a task: ten classes, or images without labels, with the pictures that `images` draws."""

from __future__ import annotations

import hashlib

from runners import splits
from runners.contents import About, Condition, Produced, Shown
from runners.experiment import Task
from runners.tasks.digits import images

ABOUT = About(images.NAMES, shown=Shown(("0",), "class_grid", 6, (("0",), ("8",))))
UNLABELLED = About((), shown=Shown(mixes=("slerp", "lerp"), steps=11))


def task(source: str) -> Task:
    """Ten classes; with labels=False none. Raises ValueError for other arguments."""
    if images.arguments(source)["labels"]:
        count = sum(splits.CLASSES.values())
        return Task("digits", "class", len(images.NAMES), splits.ACCURACY, splits.LISTS, count, images.IMAGES)
    return Task("digits", "none", 0, splits.KID, splits.LISTS, sum(splits.SAMPLES.values()), images.IMAGES)


def stored(source: str) -> tuple[str, bool]:
    """What prepared images are named after."""
    return hashlib.sha256(f"{source}|renderer {images.RENDERER}".encode()).hexdigest()[:12], False


def produce(source: str, given: None, image_size: int) -> Produced:
    """All 1,797 digits. Raises ValueError for a size that does not suit them."""
    labelled, units = images.arguments(source)["labels"], [str(position) for position in range(images.IMAGES)]
    conditions: list[Condition] = [(images.NAMES[digit],) if labelled else () for digit in images.labels()]
    return Produced(
        pictures=images.images(source, image_size),
        what="drawing images",
        conditions=conditions,
        lists=splits.class_lists(images.NAMES) if labelled else splits.sample_lists(),
        held_out=splits.held_out(units),
        units=units,
        about=ABOUT if labelled else UNLABELLED,
    )
