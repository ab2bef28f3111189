"""The images of `--data` for this experiment: what they set, what is said of them, and their way into the record."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runners import given
from runners.config import Scalar
from runners.contents import Given
from runners.ddpm.config import TrialConfig
from runners.experiment import Progress


@dataclass
class UsersImages:
    """`images` were read and checked; `decode` puts the decoded ones in their place."""

    images: Given

    @property
    def count(self) -> int:
        return self.images.count

    @property
    def changes(self) -> Mapping[str, Scalar]:
        return {"data": self.images.data}

    def sentences(self, config: TrialConfig) -> list[str]:
        return given.sentences(self.images, config.image_size)

    def decode(self, config: TrialConfig, cache: Path) -> Generator[Progress, None, None]:
        """Decode what is new to the record. Raises ValueError for the first corrupt image."""
        from runners import images

        if not images.place(config.data, config.image_size, cache).exists():
            self.images = yield from given.decoded(self.images, config.image_size)

    def write(self, config: TrialConfig, cache: Path) -> Generator[Progress, None, None]:
        """Write what was decoded into the record, so that no worker decodes it again."""
        from runners import images

        yield from images.prepare(config.data, self.images, config.image_size, cache)


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, UsersImages]:
    """As `runners.given.read`."""
    return UsersImages((yield from given.read(inputs, cache)))
