"""A user's images of one class each: sub-folders, a table beside the images, or arrays."""

from __future__ import annotations

from runners import splits
from runners.config import Call
from runners.contents import About, Produced, Shown
from runners.experiment import Task
from runners.saturated import SCALES
from runners.user_images import UserImages

__all__ = ["OF_FILES", "SCALES", "produce", "stored", "task"]

OF_FILES = ("classes",)


def task(source: str) -> Task:
    """A task of `k` classes. Raises ValueError for other arguments."""

    def classes(digest: str, images: int, k: int, mirror: bool = False) -> Task:
        count = sum(splits.CLASSES.values())
        return Task("classes", "class", k, splits.ACCURACY, splits.LISTS, count, images, mirror)

    call = Call.parse(source)
    return classes(**call.bind(classes))


def stored(source: str) -> tuple[str, bool]:
    """Prepared images are named after their content."""
    return str(dict(Call.parse(source).arguments)["digest"]), False


def produce(source: str, given: UserImages, image_size: int) -> Produced:
    """The user's pictures at the wanted size."""
    first, last = (given.labels[0],), (given.labels[-1],)
    return given.produced(image_size, About(given.labels, shown=Shown(first, "class_grid", 6, (first, last))))
