"""Synthetic street numbers: digits of the fonts that come with matplotlib, rendered as photographed house numbers look:
grey on grey with little colour, uneven light, other digits cut off at the sides, tilted, blurred, noisy.

They stand in for SVHN where nothing may be downloaded, and are called synthetic wherever they are reported. The same
versions of Pillow and matplotlib draw the same bytes; another FreeType may draw glyphs otherwise.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from runners import readable

Pixels = NDArray[np.uint8]

# To be raised by whoever changes what is drawn, so that records draw anew.
RENDERER = 1
IMAGES = 2000  # 200 of each digit
SEED = 0
CANVAS = 64  # pixels per side that are drawn; the wanted size is averaged from them
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmtt10",
)  # fmt: skip


def labels() -> NDArray[np.int64]:
    """The digit that each image shows in its middle, int64 (N,)."""
    return np.arange(IMAGES, dtype=np.int64) % 10


def images(image_size: int) -> Pixels:
    """All images, RGB uint8 (N, S, S, 3)."""
    found = np.empty((IMAGES, image_size, image_size, 3), dtype=np.uint8)
    for position, digit in enumerate(labels().tolist()):
        found[position] = _drawn(digit, np.random.default_rng([SEED, position]), image_size)
    return found


def _drawn(digit: int, rng: np.random.Generator, image_size: int) -> Pixels:
    """One image, uint8 (S, S, 3)."""
    mask_CC = _glyphs(digit, rng)
    background, ink = _colours(rng)
    # Light that falls off along one direction, by at most a quarter.
    direction = rng.uniform(0, 2 * np.pi)
    ramp_C = np.linspace(-1, 1, CANVAS)
    slope_CC = np.cos(direction) * ramp_C[:, None] + np.sin(direction) * ramp_C
    light_CC1 = (1 + rng.uniform(0, 0.25) * slope_CC / np.sqrt(2))[..., None]
    mask_CC1 = mask_CC[..., None]
    canvas_CC3 = (background * (1 - mask_CC1) + ink * mask_CC1) * light_CC1
    whole = Image.fromarray(np.clip(canvas_CC3, 0, 255).astype(np.uint8))
    blurred = whole.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 2.4)))
    small_SS3 = np.asarray(blurred.resize((image_size, image_size), Image.Resampling.BOX), dtype=np.float64)
    noisy_SS3 = small_SS3 + rng.normal(0, rng.uniform(1, 6), small_SS3.shape)
    return np.clip(np.rint(noisy_SS3), 0, 255).astype(np.uint8)


def _glyphs(digit: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much of each pixel is ink, in [0, 1]: the digit in the middle, one more at either side in two of three."""
    height = int(rng.integers(40, 57))
    font = _font(FONTS[int(rng.integers(len(FONTS)))], height)
    picture = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    draw = ImageDraw.Draw(picture)
    x, y = CANVAS + rng.uniform(-3, 3), CANVAS + rng.uniform(-3, 3)
    draw.text((x, y), str(digit), fill=255, font=font, anchor="mm")
    pitch = draw.textlength("0", font=font) * rng.uniform(1.0, 1.25)
    for side in (-1, 1):
        neighbour, shown = int(rng.integers(10)), rng.random() < 2 / 3
        if shown:
            draw.text((x + side * pitch, y), str(neighbour), fill=255, font=font, anchor="mm")
    turned = picture.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    cut = turned.crop((CANVAS // 2, CANVAS // 2, CANVAS * 3 // 2, CANVAS * 3 // 2))
    return np.asarray(cut, dtype=np.float64) / 255


def _colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of background and ink, (3,) each: greys at least 50 apart, each channel at most 14 off."""
    apart = rng.uniform(50, 150)
    lower = rng.uniform(20, 235 - apart)
    pair = [lower, lower + apart] if rng.random() < 0.5 else [lower + apart, lower]
    background, ink = (grey + rng.uniform(-14, 14, 3) for grey in pair)
    return background, ink


@functools.cache
def _font(name: str, height: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    readable.require(path, "install matplotlib again with its fonts, which some systems leave out", binary=True)
    return ImageFont.truetype(str(path), height)
