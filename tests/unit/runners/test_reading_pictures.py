"""Every kind of picture becomes upright RGB of 8 bits, and what was done to it is said; what is no picture is named."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from picture_sets import class_folders, grey, labels_of, save, taken
from PIL import Image

from runners.reading.pictures import decoded

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def half(mode, left, right, size=(4, 2)):
    """A picture whose left half differs from its right one."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def written(path, image, **options):
    image.save(path, **options)
    return path


def sides(path):
    """The colours of the left and the right edge, and the remarks."""
    pixels, remarks = decoded(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    return tuple(map(int, pixels[0, 0])), tuple(map(int, pixels[0, -1])), remarks


def palette(transparency=None):
    image = Image.new("P", (4, 2))
    image.putpalette([*RED, *BLUE])
    image.paste(1, (2, 0, 4, 2))
    return image


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "gif", "tif", "TIFF", "jpg", "JPEG"])
def test_formats(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix[0] in "jJ" else {}
    left, right, remarks = sides(written(tmp_path / f"a.{suffix}", half("RGB", RED, BLUE, (32, 16)), **options))
    assert np.abs(np.subtract((left, right), (RED, BLUE))).max() <= 3
    assert remarks == ()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_grey_and_palette(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    assert sides(written(tmp_path / f"a.{suffix}", half("L", 10, 200), **options)) == ((10,) * 3, (200,) * 3, ())
    if suffix != "webp":
        assert sides(written(tmp_path / f"b.{suffix}", palette())) == (RED, BLUE, ())
        assert sides(written(tmp_path / f"c.{suffix}", half("1", 0, 1))) == (BLACK, WHITE, ())


TRANSPARENT = {
    "RGBA": ("png", half("RGBA", (*RED, 255), (*BLUE, 0)), {}, RED, WHITE),
    "RGBA in part": ("tif", half("RGBA", (0, 0, 0, 255), (0, 0, 0, 51)), {}, BLACK, (204,) * 3),
    "grey with alpha": ("png", half("LA", (0, 255), (0, 0)), {}, BLACK, WHITE),
    "a transparent colour": ("png", half("RGB", RED, BLUE), {"transparency": BLUE}, RED, WHITE),
    "a transparent grey": ("png", half("L", 10, 200), {"transparency": 10}, WHITE, (200,) * 3),
    "a palette's colour": ("png", palette(), {"transparency": 0}, WHITE, BLUE),
    "a palette with alpha": ("png", palette(), {"transparency": bytes((255, 0))}, RED, WHITE),
    "a gif": ("gif", palette(), {"transparency": 1}, RED, WHITE),
    "a webp": ("webp", half("RGBA", (*RED, 255), (*BLUE, 0)), {"lossless": True, "exact": True}, RED, WHITE),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparency_is_composited_on_white(tmp_path, kind):
    suffix, image, options, left, right = TRANSPARENT[kind]
    assert sides(written(tmp_path / f"a.{suffix}", image, **options)) == (left, right, ("alpha",))


def test_an_opaque_alpha_channel_is_no_news(tmp_path):
    assert sides(written(tmp_path / "a.png", half("RGBA", (*RED, 255), (*BLUE, 255)))) == (RED, BLUE, ())


def png_16(color_type, channels):
    """A PNG of one row of two pixels with 16 bits per channel: 0x12ff and 0xabcd in every channel."""
    row = b"\0" + struct.pack(">H", 0x12FF) * channels + struct.pack(">H", 0xABCD) * channels
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, color_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def test_16_bits_are_scaled_to_8(tmp_path):
    for name, content in {"grey": png_16(0, 1), "colour": png_16(2, 3)}.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        assert sides(tmp_path / f"{name}.png") == ((0x12,) * 3, (0xAB,) * 3, ("deep",))
    for position, options in enumerate(({}, {"compression": "tiff_lzw"})):
        image = Image.fromarray(np.array([[0x12FF, 0xABCD]], np.uint16))
        path = written(tmp_path / f"{position}.tif", image, **options)
        assert sides(path) == ((0x12,) * 3, (0xAB,) * 3, ("deep",))


DEPTHS = {
    "floats from 0 to 1": (np.float32, [0, 0.2, 1], [0, 51, 255], ("unit",)),
    "floats from 0 to 255": (np.float32, [0, 50.6, 255], [0, 51, 255], ("byte",)),
    "floats from 0 to 65535": (np.float32, [0, 0x1234, 65535], [0, 0x12, 255], ("word",)),
    "integers of 8 bits in 32": (np.int32, [0, 51, 255], [0, 51, 255], ("byte",)),
    "integers of 16 bits in 32": (np.int32, [255, 256, 65535], [0, 1, 255], ("word",)),
    "a mask": (np.int32, [0, 1, 0], [0, 255, 0], ("unit",)),
    "nothing": (np.float32, [0, 0, 0], [0, 0, 0], ()),
    "16 bits of which 12 are used": (np.uint16, [0, 256, 4095], [0, 1, 15], ("deep", "dim")),
    "16 bits": (np.uint16, [0, 256, 65535], [0, 1, 255], ("deep",)),
}


@pytest.mark.parametrize("kind", DEPTHS)
def test_deep_pixels_are_converted_by_the_range_of_their_values(tmp_path, kind):
    dtype, values, wanted, remarks = DEPTHS[kind]
    path = written(tmp_path / "a.tif", Image.fromarray(np.array([values], dtype)))
    pixels, found = decoded(path)
    assert pixels[0, :, 0].tolist() == wanted
    assert (pixels == pixels[..., :1]).all()
    assert found == remarks


@pytest.mark.parametrize("values", [[-1024.0, 3071.0], [0.0, 1e6], [0.0, np.nan], [-0.5, 0.5]])
def test_pixels_of_32_bits_in_another_range_are_refused(tmp_path, values):
    """No scale is guessed from one picture: two of one set would be scaled apart."""
    path = written(tmp_path / "a.tif", Image.fromarray(np.array([values], np.float32)))
    with pytest.raises(ValueError, match=r"^The image a\.tif in .* cannot be read \(.*save (it|them) with 8 bits"):
        decoded(path)


def test_pictures_of_32_bits_in_several_ranges_are_refused(tmp_path):
    """A dark picture of 0 to 255 looks as a bright one of 0 to 1 does; one of zeros fits any."""
    class_folders(tmp_path, grey(), labels_of())
    for position, highest in enumerate((255.0, 200.0, 0.0)):
        picture = np.linspace(0, highest, 36, dtype=np.float32).reshape(6, 6)
        Image.fromarray(picture).save(tmp_path / "1" / f"deep {position}.tif")
    assert "2 images of 32 bits per channel have values from 0 to 255, which are rounded." in taken(tmp_path).notes
    Image.fromarray(np.linspace(0, 0.9, 36, dtype=np.float32).reshape(6, 6)).save(tmp_path / "1" / "dark.tif")
    with pytest.raises(ValueError, match=r"values of several ranges \(1 up to 1, 2 up to 255\), so no scale fits all"):
        taken(tmp_path)


def test_cmyk(tmp_path):
    for suffix in ("jpg", "tif"):
        path = written(tmp_path / f"a.{suffix}", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
        left, _, remarks = sides(path)
        assert np.abs(np.subtract(left, RED)).max() <= 3
        assert remarks == ("cmyk",)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_pictures_upright(tmp_path, suffix, orientation):
    """A picture is stored as a camera that is held so stores it; the upright one comes back."""
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste((0, 0, 0), (0, 0, 16, 16))
    transposes = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of what turns it upright
    stored = upright.transpose(Image.Transpose(transposes[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 100} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    pixels, remarks = decoded(written(tmp_path / f"a.{suffix}", stored, exif=exif, **options))
    assert pixels.shape == (32, 48, 3)
    assert pixels[4, 4].max() < 5
    assert min(pixels[4, -4].min(), pixels[-4, 4].min(), pixels[-4, -4].min()) > 250
    assert remarks == (("turned",) if orientation > 1 else ())


@pytest.mark.parametrize("content", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"])
def test_broken_metadata_do_no_harm(tmp_path, content, recwarn):
    assert sides(written(tmp_path / "a.jpg", Image.new("RGB", (8, 8)), exif=content)) == (BLACK, BLACK, ())


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 2), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = written(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    assert sides(path) == (RED, RED, ("frames",))


def test_what_was_done_is_said_with_counts(tmp_path):
    class_folders(tmp_path, grey(), labels_of())
    for position in range(2):
        half("RGBA", (*RED, 255), (position, 0, 0, 0)).save(tmp_path / "1" / f"alpha {position}.png")
    exif = Image.Exif()
    exif[274] = 3
    half("CMYK", (9, 9, 9, 9), (0, 0, 0, 0), (16, 8)).save(tmp_path / "1" / "turned.jpg", exif=exif)
    (tmp_path / "1" / "deep.png").write_bytes(png_16(0, 1))
    frames = [Image.new("RGB", (4, 2), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "1" / "moving.gif", save_all=True, append_images=frames[1:])
    source = taken(tmp_path)
    assert source.notes == (
        "2 images with transparency are composited on white.",
        "1 image of 16 bits per channel is scaled to 8.",
        "1 image is turned upright, as its EXIF orientation says.",
        "1 image is animated or has several pages: its first frame is used.",
        "1 CMYK image is converted to RGB.",
        "2 images have an exact copy among the others; copies are held out together.",
    )
    assert source.sizes == ((2, 1), (4, 2), (6, 6), (16, 8))


def png(width, height, *chunks):
    """A PNG whose header promises a picture of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def truncated(image_format):
    content = io.BytesIO()
    Image.fromarray(grey(1, 64)[0]).save(content, image_format)
    return content.getvalue()[:300]


BROKEN = {
    "empty": b"",
    "text": b"no picture",
    "another format": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "half a PNG": truncated("PNG"),
    "half a JPEG": truncated("JPEG"),
    "half a GIF": truncated("GIF"),
    "half a TIFF": truncated("TIFF"),
    "400 million pixels": png(20_000, 20_000),
    "144 million pixels, of which Pillow warns": png(12_000, 12_000),
    "a side of 8,193": png(8193, 1),
    "a line of pixels": png(2**31 - 1, 1),
    "no pixels": png(0, 0),
    "100 MB of text": png(16, 16, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
}


WORDS = {
    "empty": "is empty",
    "text": r"holds a text \('no picture'\)",
    "another format": r"holds a text \('%!PS-Adobe-3\.0 EPSF-3\.0'\)",
    "half a PNG": "is cut short",
    "half a JPEG": "is cut short",
    "half a TIFF": "is cut short",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_picture_is_named(tmp_path, kind, recwarn):
    class_folders(tmp_path, grey(), labels_of())
    (tmp_path / "33" / "broken\n.png").write_bytes(BROKEN[kind])
    with pytest.raises(
        ValueError,
        match=rf"^The image broken\\n\.png in .*33 {WORDS.get(kind, 'cannot be read')}[^\n]*: [^\n]+ it[^\n]*\.$",
    ) as error:
        taken(tmp_path)
    assert "\n" not in str(error.value)
    assert not [warning for warning in recwarn if "DecompressionBomb" in str(warning.category)]


def test_a_photograph_of_8192_pixels_is_read(tmp_path):
    save(np.zeros((2, 8192), np.uint8), tmp_path / "a.png")
    assert decoded(tmp_path / "a.png")[0].shape == (2, 8192, 3)
