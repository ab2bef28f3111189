"""What is done to training images, by the config's `augmentation="NAME(...)"`; labelled and unlabelled ones alike.

Images are uint8 (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runners.config import Call, nearest

Pixels = NDArray[np.uint8]
MOST_PIXELS = 8  # a quarter of 32: what is moved further leaves the picture
Augmentation = Callable[[Pixels, np.random.Generator], Pixels]


def none() -> Augmentation:
    return lambda images_BHWC, generator: images_BHWC


def shift(pixels: int = 2) -> Augmentation:
    """Each image is moved by up to so many pixels either way; what comes in repeats the edge."""
    if type(pixels) is not int or not 1 <= pixels <= MOST_PIXELS:
        raise ValueError(f"pixels={pixels!r} of shift must be a whole number from 1 to {MOST_PIXELS}.")

    def moved(images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
        batch, height, width, _ = images_BHWC.shape
        by_2B = generator.integers(-pixels, pixels + 1, (2, batch))
        return _taken(images_BHWC, np.arange(height) + by_2B[0][:, None], np.arange(width) + by_2B[1][:, None])

    return moved


def invert(probability: float = 0.5) -> Augmentation:
    """An image becomes its negative: digits are dark on light as often as light on dark."""
    if not isinstance(probability, float) or not 0 < probability <= 1:
        raise ValueError(f"probability={probability!r} of invert must lie in (0, 1]: write 0.5, for example.")

    def inverted(images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
        chosen_B = generator.random(len(images_BHWC)) < probability
        return np.where(chosen_B[:, None, None, None], 255 - images_BHWC, images_BHWC)

    return inverted


def zoom(largest: float = 1.5, pixels: int = 2) -> Augmentation:
    """Each image is scaled about its middle by a factor from 1 / `largest` to `largest`, uniform in its logarithm, and
    moved by up to so many pixels; what comes in repeats the edge."""
    if not isinstance(largest, float) or not 1 < largest <= 3:
        raise ValueError(f"largest={largest!r} of zoom must lie in (1, 3]: write 1.5, for example.")
    if type(pixels) is not int or not 0 <= pixels <= MOST_PIXELS:
        raise ValueError(f"pixels={pixels!r} of zoom must be a whole number from 0 to {MOST_PIXELS}.")

    def zoomed(images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
        batch, height, width, _ = images_BHWC.shape
        factor_B1 = np.exp(generator.uniform(-np.log(largest), np.log(largest), (batch, 1)))
        by_2B1 = generator.integers(-pixels, pixels + 1, (2, batch, 1))
        row_BH, column_BW = (
            np.rint((np.arange(side) - (side - 1) / 2) / factor_B1 + (side - 1) / 2 + by_B1).astype(np.int64)
            for side, by_B1 in zip((height, width), by_2B1, strict=True)
        )
        return _taken(images_BHWC, row_BH, column_BW)

    return zoomed


def _taken(images_BHWC: Pixels, row_BH: NDArray[np.int64], column_BW: NDArray[np.int64]) -> Pixels:
    """Each image at its own rows and columns; of those outside, the nearest."""
    _, height, width, _ = images_BHWC.shape
    row_BH, column_BW = np.clip(row_BH, 0, height - 1), np.clip(column_BW, 0, width - 1)
    found: Pixels = images_BHWC[np.arange(len(images_BHWC))[:, None, None], row_BH[:, :, None], column_BW[:, None, :]]
    return found


def shift_invert(pixels: int = 2, probability: float = 0.5) -> Augmentation:
    """The one, then the other."""
    moved, inverted = shift(pixels), invert(probability)
    return lambda images_BHWC, generator: inverted(moved(images_BHWC, generator), generator)


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "none": none,
    "shift": shift,
    "zoom": zoom,
    "invert": invert,
    "shift_invert": shift_invert,
}


def find(augmentation: str) -> Augmentation:
    """Raises ValueError, with what to write instead, for an augmentation that is none."""
    call = Call.parse(augmentation)
    if call.name not in AUGMENTATIONS:
        raise ValueError(f"Unknown augmentation {call.name!r}{nearest(call.name, AUGMENTATIONS)}")
    function = AUGMENTATIONS[call.name]
    return function(**call.bind(function))


def apply(augmentation: str, images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
    return find(augmentation)(images_BHWC, generator)
