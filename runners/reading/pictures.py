"""One image file as RGB pixels, whatever it holds: turned upright, composited on white, first frame, 8 bits.

Values of 16 and 32 bits become 8 by the range that their type or all of them have, never by that of one picture.

Pillow is imported when it is needed.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runners import readable
from runners.reading.names import shown

if TYPE_CHECKING:
    from PIL import Image as Pillow

Pixels = NDArray[np.uint8]

MAX_SIDE = 8192  # pixels: of the largest photographs; what is larger is a mistake or an image bomb
PIXELS_AT_ONCE = 2**25  # that threads decode together; Pillow takes about 11 bytes for each
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"})
# Where a file says an orientation, in EXIF or XMP: texts of a PNG by their keywords, and what others hold.
TEXTS, KEYWORDS = (b"tEXt", b"iTXt", b"zTXt"), (b"Raw profile type", b"XML:com.adobe.xmp")
ORIENTED = (b"Exif\0\0", b"tiff:Orientation")
PNG = b"\x89PNG\r\n\x1a\n"
CUT_SHORT = re.compile(r"truncated|unexpected end|not enough|premature", re.IGNORECASE)  # in Pillow's words
ORIENTATION = 274  # the EXIF tag; of its values 1 is upright (EXIF 2.32, 4.6.4.A)
# What was done to a picture -> a sentence on how many.
REMARKS = {
    "alpha": (
        "1 image with transparency is composited on white.",
        "{} images with transparency are composited on white.",
    ),
    "deep": ("1 image of 16 bits per channel is scaled to 8.", "{} images of 16 bits per channel are scaled to 8."),
    "turned": (
        "1 image is turned upright, as its EXIF orientation says.",
        "{} images are turned upright, as their EXIF orientation says.",
    ),
    "frames": (
        "1 image is animated or has several pages: its first frame is used.",
        "{} images are animated or have several pages: their first frame is used.",
    ),
    "dim": (
        "1 image of 16 bits has no value above 4,095 of 65,535 and is nearly black: save it with 8 bits per channel.",
        "{} images of 16 bits have no value above 4,095 of 65,535 and are nearly black: save them with 8 bits per "
        "channel.",
    ),
    "unit": (
        "1 image of 32 bits per channel has values from 0 to 1, which are scaled to 0 to 255.",
        "{} images of 32 bits per channel have values from 0 to 1, which are scaled to 0 to 255.",
    ),
    "byte": (
        "1 image of 32 bits per channel has values from 0 to 255, which are rounded.",
        "{} images of 32 bits per channel have values from 0 to 255, which are rounded.",
    ),
    "word": (
        "1 image of 32 bits per channel has values from 0 to 65,535, which are scaled to 0 to 255.",
        "{} images of 32 bits per channel have values from 0 to 65,535, which are scaled to 0 to 255.",
    ),
    "bare": ("1 image has transparency, which is left out.", "{} images have transparency, which is left out."),
    "dark": ("1 image is black: no pixel is above 1 of 255.", "{} images are black: no pixel is above 1 of 255."),
    "cmyk": ("1 CMYK image is converted to RGB.", "{} CMYK images are converted to RGB."),
}


RANGES = {"unit": 1, "byte": 255, "word": 65_535}  # of pixels of 32 bits, whose type says none
DIM = 16  # of 255: 4,096 of 65,535; microscopes and scanners of 12 bits write such values into 16


def said_of(remarks: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A sentence on each thing that was done to pictures, given the remarks on each of them."""
    count = Counter(remark for of_one in remarks for remark in of_one)
    for remark, (of_one, of_several) in REMARKS.items():
        if count[remark]:
            yield of_one if count[remark] == 1 else of_several.format(f"{count[remark]:,}")


def refuse_several_ranges(remarks: Iterable[tuple[str, ...]], where: str) -> None:
    """ValueError where pictures of 32 bits have values of several ranges: a dark picture of 0 to 255 cannot be told
    from a bright one of 0 to 1."""
    count = Counter(remark for of_one in remarks for remark in of_one if remark in RANGES)
    if len(count) > 1:
        found = ", ".join(f"{count[name]:,} up to {RANGES[name]:,}" for name in RANGES if count[name])
        raise ValueError(
            f"Images of 32 bits per channel in {where} have values of several ranges ({found}), so no scale fits all "
            "of them: save them with 8 bits per channel."
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a decoded picture without its pixels."""

    digest: str  # SHA-256 of its shape and RGB pixels, in hex
    width: int
    height: int
    remarks: tuple[str, ...] = ()  # keys of REMARKS


def facts_of(image_HWC: Pixels, remarks: tuple[str, ...] = ()) -> Facts:
    """The facts of RGB pixels (H, W, 3)."""
    if image_HWC.max() <= 1:
        remarks = (*remarks, "dark")
    height, width, _ = image_HWC.shape
    digest = hashlib.sha256(f"{height}x{width}:".encode())
    digest.update(np.ascontiguousarray(image_HWC).data)
    return Facts(digest.hexdigest(), width, height, remarks)


def file_facts(path: Path) -> Facts:
    return facts_of(*decoded(path))


def ready() -> None:
    """To be called before threads decode: they would load Pillow's formats side by side."""
    from PIL import Image

    Image.init()
    # Bombs are refused by their sides below; broken metadata does no harm to the pixels.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decoded(path: Path) -> tuple[Pixels, tuple[str, ...]]:
    """RGB uint8 (H, W, 3) at the picture's own size, and what was done to get there (keys of REMARKS).

    Raises:
        ValueError: for what is no picture that can be read, one sentence that names the file.
    """
    try:
        return upright(path)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever a broken header makes it stumble over
        raise ValueError(f"The image {shown(path.name)} in {path.parent} {why(path, error)}") from error


def why(path: Path, error: Exception, state: str = "cannot be read", instead: str = "restore it or remove it") -> str:
    """What goes on from a picture's name, to the full stop, where it could not be decoded."""
    if fault := readable.fault(path, binary=True):
        return f"{shown(fault.what)}: {fault.instead or instead}."
    reason = shown(str(error)).replace(str(path), path.name)[:200]
    return f"{'is cut short' if CUT_SHORT.search(reason) else state} ({reason}): {instead}."


def upright(path: Path, largest: int = MAX_SIDE, on_white: bool = True) -> tuple[Pixels, tuple[str, ...]]:
    """As `decoded`, with whatever Pillow raises.

    Args:
        path: the file.
        largest: pixels a side; more is a ValueError, before anything is decoded.
        on_white: whether what is transparent is composited on white; else the colours under it are used.
    """
    from PIL import Image

    with Image.open(path, formats=FORMATS) as image:
        if max(image.size) > largest:
            raise ValueError(f"it is {image.size[0]}x{image.size[1]} pixels, over {largest}")
        with _turn(image.size[0] * image.size[1]):
            return _pixels(image, on_white)


def is_turned(content: bytes) -> bool:
    """Whether the bytes of a picture say that it is to be turned; what is no picture says nothing."""
    from PIL import Image

    if not _may_be_turned(content):
        return False
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            return _orientation(image) in _turns()
    except Exception:  # said when it is decoded
        return False


def _may_be_turned(content: bytes) -> bool:
    """Whether a picture has what could say so: of one without, nothing is decoded to know it.

    A PNG is walked chunk by chunk: four bytes of length, four of name, the content, four of checksum (PNG
    specification, 5.3).
    """
    if not content.startswith(PNG):
        return any(mark in content for mark in ORIENTED)
    start = len(PNG)
    while start + 8 <= len(content):
        name = content[start + 4 : start + 8]
        if name == b"eXIf" or (name in TEXTS and content.startswith(KEYWORDS, start + 8)):
            return True
        start += 12 + int.from_bytes(content[start : start + 4], "big")
    return False


def _pixels(image: Pillow.Image, on_white: bool) -> tuple[Pixels, tuple[str, ...]]:
    """`decoded` of an opened image."""
    from PIL import Image

    remarks = []
    if getattr(image, "is_animated", False):
        remarks.append("frames")
    raw = str(getattr(image, "tile", ""))  # how the pixels lie in the file: "RGB;16B"; gone once they are loaded
    orientations = [_orientation(image)]
    image.load()  # turns a TIFF itself, and finds the EXIF of a PNG that has it at its end
    orientations.append(_orientation(image))
    if ";16" in raw:
        remarks.append("deep")
    upright: Image.Image = image
    if image.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(image) >> (4 if ";12" in raw else 8)).astype(np.uint8))
    elif image.mode in ("I", "F"):
        pixels_HW, kind = _of_range(np.asarray(image))
        upright = Image.fromarray(pixels_HW)
        remarks += [kind] if kind else []
    elif image.has_transparency_data:
        composited, see_through = _on_white(image)
        upright = composited if on_white else image
        remarks += [("alpha" if on_white else "bare")] if see_through else []
    if image.mode == "CMYK":
        remarks.append("cmyk")
    upright = upright.convert("RGB")
    if (turn := _turns().get(orientations[1])) is not None:
        upright = upright.transpose(turn)
    if any(orientation in _turns() for orientation in orientations):
        remarks.append("turned")
    pixels_HWC = np.asarray(upright)
    if "deep" in remarks and 1 < pixels_HWC.max() < DIM:
        remarks.append("dim")
    return pixels_HWC, tuple(remarks)


def _of_range(values_HW: NDArray[Any]) -> tuple[Pixels, str]:
    """Pixels of 32 bits, integers or floats, as 8 bits, and the range that was taken for theirs, a key of RANGES: the
    smallest that holds them all; "" where all are 0. ValueError for other values."""
    if not np.isfinite(values_HW).all():
        raise ValueError("some of its pixels of 32 bits are no finite numbers: save it with 8 bits per channel")
    lowest, highest = float(values_HW.min()), float(values_HW.max())
    found = next((name for name, top in RANGES.items() if highest <= top), "")
    if lowest < 0 or not found:
        raise ValueError(
            f"its pixels of 32 bits have values from {lowest:g} to {highest:g}, and a range from 0 to 1, 255 or 65535 "
            "is read: scale all images alike to 0 to 255, and save them with 8 bits per channel"
        )
    if found == "word":  # as pixels of 16 bits are
        return (values_HW.astype(np.uint16) >> 8).astype(np.uint8), found
    scaled_HW = values_HW.astype(np.float64) * (255 / RANGES[found])
    return np.rint(scaled_HW).astype(np.uint8), found if highest else ""


def _on_white(image: Pillow.Image) -> tuple[Pillow.Image, bool]:
    """The picture on white, and whether anything of the white shows."""
    from PIL import Image

    rgba = image.convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest == 255:
        return rgba, False
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba), True


def _orientation(image: Pillow.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none or the EXIF data are broken."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a picture with broken metadata is still a picture
        return 1


def _turns() -> dict[int, Pillow.Transpose]:
    """EXIF orientation -> what turns the picture upright."""
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


# --- bounded memory ------------------------------------------------------------------------------------

_decoding = 0  # pixels that threads are decoding
_changed = threading.Condition()


@contextmanager
def _turn(pixels: int) -> Iterator[None]:
    """Wait until `pixels` more fit beside what other threads decode; the largest pictures are decoded alone."""
    global _decoding
    with _changed:
        _changed.wait_for(lambda: _decoding == 0 or _decoding + pixels <= PIXELS_AT_ONCE)
        _decoding += pixels
    try:
        yield
    finally:
        with _changed:
            _decoding -= pixels
            _changed.notify_all()
