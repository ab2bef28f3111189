"""Pictures of an i-CLEVR folder, whatever holds them: converted by the range of their values, turned upright, and said;
those that were read before give the same pixels under the same key."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from launch import refused
from picture_sets import grey
from PIL import Image, PngImagePlugin

from runners import given, images
from runners.tasks.iclevr import source
from runners.tasks.iclevr.folder import read_folder
from runners.tasks.iclevr.labels import LABELS

SIDE = 24
RGB = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)  # (H, W, 3)
ALPHA = np.arange(16 * 20, dtype=np.uint8).reshape(16, 20)


def exif(orientation):
    found = Image.Exif()
    found[274] = orientation
    return found


XMP = '<rdf:Description tiff:Orientation="3"/>'  # as photo editors write it


def texts(**content):
    found = PngImagePlugin.PngInfo()
    for keyword, text in content.items():
        found.add_itxt(keyword, text)
    return found


def folder_of(root, name="", save=None):
    """An i-CLEVR folder of 102 plain pictures, and one of the name that `save` has written."""
    root.mkdir()
    names = [f"CLEVR_train_{number // 3:06d}_{number % 3}.png" for number in range(102)]
    for one, pixels in zip(names, grey(102, 8), strict=True):
        Image.fromarray(pixels).save(root / one)
    if save is not None:
        save(root / name)
        names.append(name)
    content = {
        "train": {one: [LABELS[position % 24]] for position, one in enumerate(names)},
        "objects": {label: position for position, label in enumerate(LABELS)},
        "test": [[LABELS[0]]],
        "new_test": [[LABELS[1]]],
    }
    for one, value in content.items():
        (root / f"{one}.json").write_text(json.dumps(value))
    return root


def digest_before(root):
    """The digest as it was when the bytes of the files alone decided it."""
    read = {name: json.loads((root / f"{name}.json").read_text()) for name in ("train", "test", "new_test")}
    lists = {name: read[name] for name in ("test", "new_test")}
    digest = hashlib.sha256(json.dumps([read["train"], lists], sort_keys=True).encode())
    for name in sorted(read["train"]):
        digest.update(hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()[:12]


def pixels_before(path):
    """As the first versions, and the course, read a picture."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def mode(name, **options):
    return lambda path: Image.fromarray(RGB).convert(name).save(path, **options)


def with_alpha(path):
    Image.fromarray(np.dstack([RGB, ALPHA])).save(path)


def palette_with_alpha(path):
    Image.fromarray(RGB).convert("P").save(path, transparency=bytes(range(256)))


def grey_16(path):
    Image.fromarray((RGB[..., 0].astype(np.uint16) << 8) + 255).save(path)


def floats(path):
    Image.fromarray((RGB[..., 0] / np.float32(255)).astype(np.float32)).save(path)


def pages(path):
    first, second = Image.fromarray(RGB), Image.new("RGB", (20, 16))
    first.save(path, save_all=True, append_images=[second])


def decoded(folder):
    """The folder as a launch has it that decodes it."""
    steps = given.decoded(folder, SIDE)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


READ_BEFORE = {
    "a.png": mode("RGB"),
    "opaque.png": mode("RGBA"),
    "grey.png": mode("L"),
    "one bit.png": mode("1"),
    "palette.png": mode("P"),
    "transparent.png": with_alpha,
    "palette with alpha.png": palette_with_alpha,
    "a colour is transparent.png": mode("RGB", transparency=(1, 2, 3)),
    "animated.png": pages,
    "a.jpg": mode("RGB", quality=95),
    "grey.jpg": mode("L"),
    "cmyk.jpg": mode("CMYK"),
    "upright.jpg": mode("RGB", exif=exif(1)),
    "upright.png": mode("RGB", exif=exif(1)),
    "with texts.png": mode("RGB", pnginfo=texts(Software="Blender", Comment="tiff:Orientation")),
}


@pytest.mark.parametrize("name", READ_BEFORE)
def test_what_was_read_before_has_the_same_key_and_the_same_pixels(tmp_path, name):
    folder = read_folder(folder_of(tmp_path / "set", name, READ_BEFORE[name]))
    assert folder.digest == digest_before(folder.path)
    pixels, _ = source.decoded_image(folder.path / name, SIDE)
    assert np.array_equal(pixels, pixels_before(folder.path / name))


GREY = np.repeat(RGB[..., :1], 3, axis=2)
TURNED = np.ascontiguousarray(RGB[::-1, ::-1])
NOW = {  # what is in the file, what it shows, the sentence on it, whether it was read before
    "deep.png": (grey_16, GREY, "1 image of 16 bits per channel is scaled to 8.", True),
    "turned.jpg": (mode("RGB", quality=100, subsampling=0, exif=exif(3)), TURNED, "1 image is turned upright", True),
    "turned.png": (mode("RGB", exif=exif(3)), TURNED, "1 image is turned upright", True),
    "turned by XMP.png": (mode("RGB", pnginfo=texts(**{"XML:com.adobe.xmp": XMP})), TURNED, "1 image is turned", True),
    "a.bmp": (mode("RGB"), RGB, "", False),
    "a.tif": (mode("RGB"), RGB, "", False),
    "a.gif": (mode("L"), np.asarray(Image.fromarray(RGB).convert("L").convert("RGB")), "", False),
    "a.webp": (mode("RGB", lossless=True), RGB, "", False),
    "pages.tif": (pages, RGB, "1 image is animated or has several pages: its first frame is used.", False),
    "deep.tif": (grey_16, GREY, "1 image of 16 bits per channel is scaled to 8.", False),
    "floats.tif": (floats, GREY, "1 image of 32 bits per channel has values from 0 to 1, which are scaled", False),
}


@pytest.mark.parametrize("name", NOW)
def test_what_was_white_turned_or_refused_is_read_and_said(tmp_path, name):
    save, shown_HWC, words, before = NOW[name]
    folder = read_folder(folder_of(tmp_path / "set", name, save))
    assert (folder.digest != digest_before(folder.path)) == before, "prepared data of earlier versions would be taken"
    pixels, _ = source.decoded_image(folder.path / name, SIDE)
    wanted = Image.fromarray(shown_HWC).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    assert np.abs(pixels.astype(int) - np.asarray(wanted)).max() <= (12 if name.endswith("jpg") else 0)
    found = decoded(folder)
    _, *notes = given.sentences(found, SIDE)
    assert [words in note for note in notes] == [True] * bool(words)
    for _ in images.prepare(folder.data, found, SIDE, tmp_path):
        pass
    prepared = images.open_images(images.place(folder.data, SIDE, tmp_path))
    assert np.array_equal(prepared.images_NHWC[sorted(folder.labels).index(name)], pixels)


def test_transparency_that_is_left_out_is_said(tmp_path):
    folder = read_folder(folder_of(tmp_path / "set", "transparent.png", with_alpha))
    found = decoded(folder)
    assert given.sentences(found, SIDE)[1:] == ["1 image has transparency, which is left out."]


def test_broken_exif_turns_nothing(tmp_path):
    save = mode("RGB", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    folder = read_folder(folder_of(tmp_path / "set", "broken.jpg", save))
    assert folder.digest == digest_before(folder.path)


@pytest.mark.parametrize("side", [(4097, 1), (1, 20_000)])
def test_a_side_of_more_than_4096_pixels_is_refused_by_the_command(tmp_path, side):
    folder = folder_of(tmp_path / "set", "bomb.tif", lambda path: Image.new("1", side).save(path))
    line = (
        "--study",
        "null",
        "--scale",
        "smoke",
        "--devices",
        "cpu",
        "--data",
        folder,
        "--record",
        tmp_path / "record",
    )
    done = refused(*line)
    assert done.returncode == 2
    assert f"bomb.tif in {folder} is corrupt (it is {side[0]}x{side[1]} pixels, over 4096): restore it." in done.stderr
    assert not (tmp_path / "record").exists()
