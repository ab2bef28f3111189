"""The user's images, read, checked and written into the record before anything else happens: a corrupt one is bad
input, not a failed study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.progress import watched

if TYPE_CHECKING:
    from runners.contents import Given
    from study.design.plan import Plan

CHANNELS = 3


class Images:
    """The images of `--data`; without it a worker makes them when the study is prepared."""

    def __init__(self, given: Given | None, plan: Plan, record: Path) -> None:
        fields = plan.baseline.to_dict()
        self.given, self.cache = given, record / "cache"
        self.source, self.size = str(fields["data"]), int(fields["image_size"])
        self.count = given.count if given else plan.task.images

    @property
    def bytes(self) -> int:
        """What they take on the disk, decoded."""
        return self.count * self.size**2 * CHANNELS

    def decode(self) -> None:
        """Decode what is new to the record. Raises ValueError for the first corrupt image."""
        from runners import given, images

        if self.given is not None and not images.place(self.source, self.size, self.cache).exists():
            self.given = watched(given.decoded(self.given, self.size))

    def write(self) -> None:
        """Write what was decoded into the record, so that no worker decodes it again."""
        from runners import images

        if self.given is not None:
            watched(images.prepare(self.source, self.given, self.size, self.cache))
