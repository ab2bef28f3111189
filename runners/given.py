"""The images that a user names, read and checked before anything is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from runners.contents import Given
from runners.experiment import Progress
from runners.tasks.iclevr import source as iclevr
from runners.tasks.iclevr.folder import Folder, read_folder

REPORTED = 100  # images between two reports of progress


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Given]:
    """The images of `inputs["data"]`, a path.

    Raises ValueError, in one sentence, for what cannot be used.
    """
    yield from ()
    return read_folder(Path(inputs["data"]))


def decoded(given: Given, image_size: int) -> Generator[Progress, None, Given]:
    """The same with every picture decoded, so that nothing is written where one is corrupt. Raises ValueError then."""
    if not isinstance(given, Folder):
        return given  # decoded when it was read
    pixels_NHWC = np.empty((given.count, image_size, image_size, 3), dtype=np.uint8)
    for position, picture_HWC in enumerate(iclevr.decoded(given, image_size)):
        pixels_NHWC[position] = picture_HWC
        if (position + 1) % REPORTED == 0 or position + 1 == given.count:
            yield Progress("decoding images", position + 1, given.count)
    return dataclasses.replace(given, pixels_NHWC=pixels_NHWC)
