"""A user's images without labels: the model is unconditional, and what is measured is how real its samples look."""

from __future__ import annotations

from runners import splits
from runners.config import Call
from runners.contents import About, Produced, Shown
from runners.experiment import Task
from runners.saturated import SCALES
from runners.user_images import UserImages

__all__ = ["OF_FILES", "SCALES", "produce", "stored", "task"]

OF_FILES = ("images",)

ABOUT = About(labels=(), shown=Shown(mixes=("slerp", "lerp"), steps=11))


def task(source: str) -> Task:
    """A task without labels. Raises ValueError for other arguments."""

    def images(digest: str, images: int, mirror: bool = False) -> Task:
        count = sum(splits.SAMPLES.values())
        return Task("images", "none", 0, splits.KID, splits.LISTS, count, images, mirror)

    call = Call.parse(source)
    return images(**call.bind(images))


def stored(source: str) -> tuple[str, bool]:
    """Prepared images are named after their content."""
    return str(dict(Call.parse(source).arguments)["digest"]), False


def produce(source: str, given: UserImages, image_size: int) -> Produced:
    """The user's pictures at the wanted size, without their labels where they have any."""
    return given.produced(image_size, ABOUT)
