"""The built-in task `digits`: scikit-learn's 1,797 handwritten digits, white on black or on patches of photographs.

They are the 1,797 of the UCI set "optdigits" that 13 writers wrote (Alpaydin & Kaynak 1998): 32x32 black-and-white
scans, of which each 4x4 block is one of 8x8 values, the number of its pixels that are ink, 0 to 16. scikit-learn does
not say who wrote which, so each image is a unit of its own, and a writer may stand in training and held-out images.

The same string gives the same bytes on every machine: all arithmetic is of whole numbers that float64 holds, and the
patches come from SHA-256. What could change them: another digits.csv.gz, china.jpg or flower.jpg in scikit-learn, and a
JPEG decoder of Pillow that rounds otherwise (photographs alone). A test pins the digests.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runners.config import Call

# To be raised by whoever changes what is drawn, so that records draw anew.
RENDERER = 1
IMAGES = 1797  # of load_digits, written out so that a setting can be checked without scikit-learn
NAMES = tuple("0123456789")
SMALLEST, LARGEST = 8, 256  # sides of an image
BACKGROUNDS = ("black", "photos")

SIDE = 8  # of the recorded digits
INK = 16  # the largest value: the whole block is ink
# Coverage of .2 and less becomes black, of .7 and more white, in twentieths. Plain interpolation gives grey, blurred
# strokes; this keeps the holes of 6, 8 and 9, and cuts off where the interpolation overshoots black and white.
BLACK, WHITE = 4, 14
UNIT = 2**12  # of a weight of the interpolation
FINEST = 64  # points across an image at least; those of a pixel are averaged
PATCH = 32  # smallest side of a patch of a photograph: a smaller one has hardly any structure
SEED = 0  # of the patches
AT_ONCE = 128  # images; bounds the memory

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def arguments(source: str) -> dict[str, Any]:
    """Arguments of "digits(background='black', labels=True)". ValueError, with what to write instead, for anything
    else."""

    def digits(background: str = "black", labels: bool = True) -> dict[str, Any]:
        return {"background": background, "labels": labels}

    call = Call.parse(source)
    if call.name != "digits":
        raise ValueError(f"data={source!r} is not the task digits: write 'digits' or \"digits(background='photos')\".")
    found = digits(**call.bind(digits))
    if found["background"] not in BACKGROUNDS:
        raise ValueError(
            f"background={found['background']!r} is unknown: write background='photos', or 'digits' for black."
        )
    if type(found["labels"]) is not bool:
        raise ValueError(f"labels={found['labels']!r} is unknown: write labels=False to train without them.")
    return found


def labels() -> NDArray[np.int64]:
    """The digit that each image shows, int64 (N,): an index into NAMES. Between 174 and 183 images show each."""
    return _recorded().digit_N


def images(source: str, image_size: int) -> Pixels:
    """All images of a config's `data`, RGB uint8 (N, S, S, 3), in scikit-learn's order.

    On black a pixel is the share of it that is ink. On photographs an image is |patch - digit| per channel (Ganin et
    al. 2016, section 5.2: MNIST-M) of a digit of 0 and 255 alone, averaged over the pixel: where a share m of it is ink
    that is (1 - m) p + m (255 - p). The difference from a grey edge, |p - 255 m|, would outline every stroke in dark.

    Raises ValueError as `arguments` does, and for a side outside SMALLEST to LARGEST.
    """
    background = arguments(source)["background"]
    if not SMALLEST <= image_size <= LARGEST:
        raise ValueError(f"image_size={image_size} does not suit digits: write {SMALLEST} to {LARGEST}.")
    ink_N88, found = _recorded().ink_N88, np.empty((IMAGES, image_size, image_size, 3), dtype=np.uint8)
    for start in range(0, IMAGES, AT_ONCE):
        some = slice(start, min(start + AT_ONCE, IMAGES))
        drawn_NSS1 = _drawn(ink_N88[some], image_size)[..., None]
        if background == "black":
            found[some] = drawn_NSS1
        else:
            ink, patch = drawn_NSS1.astype(np.int32), _patches(range(some.start, some.stop), image_size)
            found[some] = ((255 - ink) * patch + ink * (255 - patch) + 127) // 255
    return found


# --- digits --------------------------------------------------------------------------------------------


class _Recorded(NamedTuple):
    """scikit-learn's digits: float64 (N, 8, 8) of 0 to 16, and int64 (N,). Read-only."""

    ink_N88: Floats
    digit_N: NDArray[np.int64]


@functools.cache
def _recorded() -> _Recorded:
    from sklearn.datasets import load_digits

    found = load_digits()
    ink_N88, digit_N = found.images.astype(np.float64), found.target.astype(np.int64)
    assert ink_N88.shape == (IMAGES, SIDE, SIDE)
    ink_N88.setflags(write=False)
    digit_N.setflags(write=False)
    return _Recorded(ink_N88, digit_N)


def _drawn(ink_N88: Floats, image_size: int) -> Pixels:
    """The share of each pixel that is ink, 0 to 255: uint8 (N, S, S)."""
    fine = -(-FINEST // image_size)  # points across a pixel
    weight_P8 = _catmull_rom(image_size * fine)
    whole = float(20 * INK * UNIT**2)  # coverage 1, in twentieths
    coverage_NPP = 20 * (weight_P8 @ ink_N88 @ weight_P8.T)
    span = (WHITE - BLACK) * whole / 20
    stretched_NPP = np.clip(coverage_NPP - BLACK * whole / 20, 0, span)
    shape = (len(ink_N88), image_size, fine, image_size, fine)
    sum_NSS = stretched_NPP.reshape(shape).sum((2, 4))
    drawn: Pixels = np.floor(255 * sum_NSS / (span * fine**2) + 0.5).astype(np.uint8)
    return drawn


def _catmull_rom(points: int) -> Floats:
    """Weights (points, 8) of cubic convolution with a = -1/2 (Keys 1981) in whole numbers of 1 / UNIT; outside the
    recorded digit is black."""
    at_P1 = (np.arange(points)[:, None] + 0.5) * SIDE / points - 0.5
    t_P8 = np.abs(at_P1 - np.arange(SIDE))
    near = (1.5 * t_P8 - 2.5) * t_P8 * t_P8 + 1
    far = ((-0.5 * t_P8 + 2.5) * t_P8 - 4) * t_P8 + 2
    rounded: Floats = np.rint(UNIT * np.where(t_P8 < 1, near, np.where(t_P8 < 2, far, 0.0)))
    return rounded


# --- photographs ---------------------------------------------------------------------------------------


@functools.cache
def _photographs() -> tuple[Pixels, ...]:
    """scikit-learn's china.jpg and flower.jpg, uint8 (427, 640, 3)."""
    from sklearn.datasets import load_sample_image

    return tuple(np.asarray(load_sample_image(name), dtype=np.uint8) for name in ("china.jpg", "flower.jpg"))


def _patches(indices: range, image_size: int) -> NDArray[np.int32]:
    """A patch of a photograph for each image, int32 (N, S, S, 3): at the same place at every size, S x S of its pixels,
    or PATCH x PATCH averaged down to S x S."""
    side = max(image_size, PATCH)
    weight_SP = _averages(side, image_size)
    found = np.empty((len(indices), image_size, image_size, 3), dtype=np.int32)
    for position, index in enumerate(indices):
        number = int.from_bytes(hashlib.sha256(f"{SEED} {index}".encode()).digest())
        number, which = divmod(number, 2)
        photograph = _photographs()[which]
        down, across = (number >> 64) % 2**32, number % 2**32
        top = down * (photograph.shape[0] - side + 1) >> 32
        left = across * (photograph.shape[1] - side + 1) >> 32
        patch_PPC = photograph[top : top + side, left : left + side]
        found[position] = patch_PPC if side == image_size else _shrunk(patch_PPC, weight_SP)
    return found


def _shrunk(patch_PPC: Pixels, weight_SP: Floats) -> NDArray[np.int32]:
    """The mean over each pixel's area, int32 (S, S, C)."""
    sum_SSC = np.moveaxis(weight_SP @ np.moveaxis(patch_PPC.astype(np.float64), 2, 0) @ weight_SP.T, 0, 2)
    mean: NDArray[np.int32] = np.floor(sum_SSC / weight_SP[0].sum() ** 2 + 0.5).astype(np.int32)
    return mean


def _averages(side: int, image_size: int) -> Floats:
    """Which part of each of `side` pixels lies in each of `image_size`, (S, P), in whole numbers of 1 / S."""
    end_S1, end_P = (np.arange(image_size)[:, None] + 1) * side, (np.arange(side) + 1) * image_size
    overlap = np.minimum(end_S1, end_P) - np.maximum(end_S1 - side, end_P - image_size)
    shares: Floats = np.maximum(overlap, 0).astype(np.float64)
    return shares
