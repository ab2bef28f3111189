"""The built-in digits: their bytes, what is drawn, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_images

from runners.tasks.digits import images

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = "digits(background='photos')"

# SHA-256 of all images. Where one changes: scikit-learn has other files, or (photographs alone) Pillow decodes JPEGs
# otherwise. Where the drawing was changed on purpose, raise RENDERER too.
DIGESTS = {
    ("digits", 8): "ca3e53b6a32b60fa",
    ("digits", 16): "6aeaacbd6a519405",
    ("digits", 32): "97ec039f6a0d90b1",
    ("digits", 100): "5e508421bd599abf",
    (PHOTOS, 8): "0a64c548ffab45a0",
    (PHOTOS, 16): "bbdafc3f42e75074",
    (PHOTOS, 32): "5f59d148e0428c82",
    (PHOTOS, 100): "e0de817bd2460e5f",
}


@pytest.mark.parametrize(("source", "size"), DIGESTS)
def test_the_same_string_gives_the_same_bytes(source: str, size: int) -> None:
    found = images.images(source, size)
    assert (found.dtype, found.shape) == (np.uint8, (images.IMAGES, size, size, 3))
    assert hashlib.sha256(found).hexdigest()[:16] == DIGESTS[source, size]


def test_a_setting_is_checked_without_scikit_learn() -> None:
    code = f"""
import sys
from runners.tasks.digits import images
print([images.arguments(source)["background"] for source in ("digits", {PHOTOS!r})], images.IMAGES, images.NAMES)
assert not {{"sklearn", "PIL", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['black', 'photos'] 1797 ('0', '1',")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "digits(background='foto')",
            "background='foto' is unknown: write background='photos', or 'digits' for black.",
        ),
        ("digits(background=5)", "background=5 is unknown: write background='photos', or 'digits' for black."),
        ("digits(background='black')", "background='black' is the default of 'digits': write 'digits'."),
        ("digits(colour='red')", "'digits' takes no argument 'colour': write one of background, labels."),
        ("digits(back='photos')", "'digits' takes no argument 'back': did you mean 'background'?"),
        ("rendered", "data='rendered' is not the task digits: write 'digits' or \"digits(background='photos')\"."),
        ("digits()", "'digits()' has one permitted spelling: write 'digits'."),
    ],
)
def test_other_strings_are_refused_in_a_sentence(source: str, sentence: str) -> None:
    for function in (images.arguments, lambda text: images.images(text, 16)):
        with pytest.raises(ValueError, match=r"write|mean") as refused:
            function(source)
        assert str(refused.value) == sentence


@pytest.mark.parametrize("size", [0, 7, 257])
def test_other_sizes_are_refused_in_a_sentence(size: int) -> None:
    with pytest.raises(ValueError, match=f"^image_size={size} does not suit digits: write 8 to 256.$"):
        images.images("digits", size)


def test_labels_are_scikit_learn_s() -> None:
    found = images.labels()
    assert found.tolist() == load_digits().target.tolist()
    assert len(found) == images.IMAGES
    assert (np.bincount(found).min(), np.bincount(found).max(), images.NAMES[found[3]]) == (174, 183, "3")


def test_strokes_are_white_on_black_and_do_not_ring() -> None:
    """Grey in all channels alike; black where the recorded digit is black all around, white where it is all ink."""
    ink_N88 = load_digits().images
    for size in (16, 32, 56):
        found = images.images("digits", size)
        assert (found == found[..., :1]).all()
        around = np.pad(ink_N88, ((0, 0), (1, 1), (1, 1)))
        at = (np.arange(size) + 0.5) * 8 / size - 0.5  # the middle of each pixel, in recorded ones
        below = np.floor(at).astype(int) + 1
        corners = np.stack([around[:, below + y][:, :, below + x] for y in (0, 1) for x in (0, 1)])
        assert found[(corners == 0).all(0)].max() <= 1
        assert found[(corners == 16).all(0)].min() >= 254


def test_smaller_images_are_the_larger_ones_averaged() -> None:
    large = images.images("digits", 64)[..., 0].astype(float)
    small = images.images("digits", 16)[..., 0]
    averaged = large.reshape(-1, 16, 4, 16, 4).mean((2, 4))
    assert np.abs(averaged - small).max() <= 1


def is_cut_out(patch: np.ndarray) -> bool:
    """Whether the patch is a part of one of the photographs, pixel by pixel."""
    height, width, first = *patch.shape[:2], patch[0].tobytes()
    for photograph in load_sample_images().images:
        for top in range(len(photograph) - height + 1):
            left = photograph[top].tobytes().find(first) // 3
            if left >= 0 and (photograph[top : top + height, left : left + width] == patch).all():
                return True
    return False


def test_photographs_show_through_or_inverted() -> None:
    """Where there is no ink a patch of a photograph, where there is ink alone 255 minus it, else between the two."""
    size = 40
    black, found = images.images("digits", size)[..., 0], images.images(PHOTOS, size).astype(int)
    ink_NSS1 = black[..., None].astype(int)
    patches = images._patches(range(images.IMAGES), size)
    assert all(is_cut_out(patches[index].astype(np.uint8)) for index in (0, 1, 900, 1796))
    assert not is_cut_out(patches[0].astype(np.uint8)[::-1])
    bare, full = np.broadcast_to(ink_NSS1 == 0, found.shape), np.broadcast_to(ink_NSS1 == 255, found.shape)
    assert (found[bare] == patches[bare]).all()
    assert (found[full] == 255 - patches[full]).all()
    low, high = np.minimum(patches, 255 - patches), np.maximum(patches, 255 - patches)
    assert ((low <= found) & (found <= high)).all()  # no dark outline


def test_patches_are_many_and_stay_in_place() -> None:
    """Nearly every image has a patch of its own, of both photographs, and shows the same at another size."""
    small, large = images._patches(range(300), 16), images._patches(range(300), 32)
    assert len({patch.tobytes() for patch in large}) > 290
    averaged = large.reshape(300, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(averaged - small).max() <= 0.5
