"""What is done to training images, by the config's `augmentation="NAME(...)"`; labelled and unlabelled ones alike.

Images are uint8 (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runners.config import Call, nearest

Pixels = NDArray[np.uint8]
Augmentation = Callable[[Pixels, np.random.Generator], Pixels]


def none() -> Augmentation:
    return lambda images_BHWC, generator: images_BHWC


def shift(pixels: int = 2) -> Augmentation:
    """Each image is moved by up to so many pixels either way; what comes in repeats the edge."""
    if type(pixels) is not int or not 1 <= pixels <= 8:
        raise ValueError(f"pixels={pixels!r} of shift must be a whole number from 1 to 8.")

    def moved(images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
        batch, height, width, _ = images_BHWC.shape
        by_2B = generator.integers(-pixels, pixels + 1, (2, batch))
        row_BH = np.clip(np.arange(height) + by_2B[0][:, None], 0, height - 1)
        column_BW = np.clip(np.arange(width) + by_2B[1][:, None], 0, width - 1)
        found: Pixels = images_BHWC[np.arange(batch)[:, None, None], row_BH[:, :, None], column_BW[:, None, :]]
        return found

    return moved


def invert(probability: float = 0.5) -> Augmentation:
    """An image becomes its negative: digits are dark on light as often as light on dark."""
    if not isinstance(probability, float) or not 0 < probability <= 1:
        raise ValueError(f"probability={probability!r} of invert must lie in (0, 1]: write 0.5, for example.")

    def inverted(images_BHWC: Pixels, generator: np.random.Generator) -> Pixels:
        chosen_B = generator.random(len(images_BHWC)) < probability
        return np.where(chosen_B[:, None, None, None], 255 - images_BHWC, images_BHWC)

    return inverted


def shift_invert(pixels: int = 2, probability: float = 0.5) -> Augmentation:
    """The one, then the other."""
    moved, inverted = shift(pixels), invert(probability)
    return lambda images_BHWC, generator: inverted(moved(images_BHWC, generator), generator)


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "none": none,
    "shift": shift,
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
