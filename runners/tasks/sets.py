"""A user's images of one label or more each: train.json with objects.json, or a table with a column `labels`."""

from __future__ import annotations

from runners import splits
from runners.config import Call
from runners.contents import About, Produced, Shown
from runners.experiment import ListSpec, Task
from runners.saturated import SCALES
from runners.user_images import UserImages

__all__ = ["OF_FILES", "SCALES", "produce", "stored", "task"]

OF_FILES = ("sets",)


def task(source: str) -> Task:
    """A task of `k` labels. Raises ValueError for other arguments."""

    def sets(digest: str, images: int, k: int, lists: tuple[str, ...] = (), mirror: bool = False) -> Task:
        specs = (ListSpec("validation", "choose"), *(ListSpec(name, "report") for name in lists or ("test",)))
        return Task("sets", "set", k, splits.ACCURACY, specs, splits.SETS * len(specs), images, mirror)

    call = Call.parse(source)
    return sets(**call.bind(sets))


def stored(source: str) -> tuple[str, bool]:
    """Prepared images are named after their content."""
    return str(dict(Call.parse(source).arguments)["digest"]), False


def produce(source: str, given: UserImages, image_size: int) -> Produced:
    """The user's pictures at the wanted size."""
    fullest, smallest = (pick(given.lists["validation"], key=len) for pick in (max, min))
    shown = Shown(strip=fullest, interpolation=tuple(dict.fromkeys((smallest, fullest))))
    return given.produced(image_size, About(given.labels, noun="label", shown=shown))
