"""One image file as RGB pixels, whatever it holds: turned upright, composited on white, first frame, 8 bits.

Pillow is imported when it is needed.
"""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
    "dark": ("1 image is black: no pixel is above 1 of 255.", "{} images are black: no pixel is above 1 of 255."),
    "cmyk": ("1 CMYK image is converted to RGB.", "{} CMYK images are converted to RGB."),
}


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
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} pixels, over {MAX_SIDE}")
            with _turn(image.size[0] * image.size[1]):
                return _pixels(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever a broken header makes it stumble over
        raise ValueError(f"The image {shown(path.name)} in {path.parent} {why(path, error)}") from error


def why(path: Path, error: Exception) -> str:
    """What goes on from a picture's name, to the full stop, where it could not be decoded."""
    if fault := readable.fault(path, binary=True):
        return f"{shown(fault.what)}: {fault.instead or 'restore it or remove it'}."
    reason = shown(str(error)).replace(str(path), path.name)[:200]
    state = "is cut short" if CUT_SHORT.search(reason) else "cannot be read"
    return f"{state} ({reason}): restore it or remove it."


def _pixels(image: Pillow.Image) -> tuple[Pixels, tuple[str, ...]]:
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
        raise ValueError("its pixels have 32 bits: save it with 8 bits per channel")
    elif image.has_transparency_data:
        upright, see_through = _on_white(image)
        remarks += ["alpha"] if see_through else []
    if image.mode == "CMYK":
        remarks.append("cmyk")
    upright = upright.convert("RGB")
    if (turn := _turns().get(orientations[1])) is not None:
        upright = upright.transpose(turn)
    if any(orientation in _turns() for orientation in orientations):
        remarks.append("turned")
    return np.asarray(upright), tuple(remarks)


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
