"""The user's images, decoded and checked before anything is written: a corrupt one is bad input, not a failed study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.progress import watched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runners.tasks.iclevr.folder import Folder
    from study.design.plan import Plan

CHANNELS = 3


class Images:
    """The images of `--data`; without it a worker renders scenes when the study is prepared."""

    def __init__(self, folder: Folder | None, plan: Plan, record: Path) -> None:
        fields = plan.baseline.to_dict()
        self.folder, self.cache = folder, record / "cache"
        self.source, self.size = str(fields["data"]), int(fields["image_size"])
        self.pixels_NHWC: NDArray[np.uint8] | None = None

    @property
    def bytes(self) -> int:
        """What they take on the disk, decoded."""
        from runners.tasks.iclevr.images import rendered_arguments
        from runners.tasks.iclevr.split import FRAMES

        count = len(self.folder.labels) if self.folder else FRAMES * int(rendered_arguments(self.source)["scenes"])
        return count * self.size**2 * CHANNELS

    def decode(self) -> None:
        """Decode a folder that is new to the record. Raises ValueError for the first corrupt image."""
        from runners.tasks.iclevr import images

        if self.folder is not None and not images.place(self.source, self.size, self.cache).exists():
            self.pixels_NHWC = watched(images.decode(self.folder, self.size))

    def write(self) -> None:
        """Write what was decoded into the record, so that no worker decodes it again."""
        from runners.tasks.iclevr import images

        if self.folder is not None:
            watched(images.prepare(self.source, self.folder, self.size, self.cache, self.pixels_NHWC))
