"""The domains: folders in both layouts, the built-in sets, their split, and what is refused."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_domains import TINY, bars, context, save_npz, value_of

from runners import dann
from runners.dann import domains, folder, split, street, tasks
from runners.experiment import Note
from runners.tasks.digits import images as digits


def read(path: Path, **inputs: str) -> folder.Folder:
    return value_of(folder.read({"data": str(path), **inputs}))


def refused(path: Path, words: str, **inputs: str) -> str:
    with pytest.raises(ValueError, match=words) as error:
        read(path, **inputs)
    text = str(error.value)
    assert re.fullmatch(r"[^\n]{20,500}[.]", text), text
    return text


def save_table(root: Path, train: int = 120, held_out: int = 40, seed: int = 0, names: str = "01") -> Path:
    """The course's layout: data/NNNNN.png, train.csv and val.csv with image_name and label."""
    images_NHWC, label_N = bars(train + held_out, seed)
    (root / "data").mkdir(parents=True)
    for position, image in enumerate(images_NHWC):
        Image.fromarray(image).save(root / "data" / f"{position:05d}.png")
    rows = [(f"{position:05d}.png", names[label]) for position, label in enumerate(label_N)]
    for name, part in (("train.csv", rows[:train]), ("val.csv", rows[train:])):
        with (root / name).open("w", newline="") as file:
            csv.writer(file).writerows([("image_name", "label"), *part])
    return root


@pytest.fixture
def arrays(tmp_path) -> Path:
    """A folder of a domain in two files and one in a single file."""
    save_npz(tmp_path / "usps_train.npz")
    save_npz(tmp_path / "usps_test.npz", count=30, seed=1)
    save_npz(tmp_path / "mnist_m.npz", seed=2)
    return tmp_path


# --- layouts ---------------------------------------------------------------------------------------------


def test_the_layout_of_the_course(tmp_path):
    save_table(tmp_path / "mnistm")
    save_table(tmp_path / "usps", seed=1)
    found = read(tmp_path)
    assert found.classes == ("0", "1")
    assert found.count == 320
    assert tasks.parse(str(found.changes["data"])).names == ("mnistm", "usps")
    assert sum(found.sources["usps"].held_out) == 40
    assert found.sentences()[0] == "Domain mnistm: 160 images in 2 classes; 40 of them for the test by your own split."


def test_files_of_arrays(arrays):
    found = read(arrays)
    assert set(found.sources) == {"mnist_m", "usps"}
    usps = found.sources["usps"]
    assert len(usps.of_image) == 150
    assert sum(usps.held_out) == 30
    assert found.sources["mnist_m"].held_out is None
    images_NHWC, _ = bars(30, 1)
    held = [picture for picture, held in zip(usps.pictures(), usps.held_out, strict=True) if held]
    assert sorted(map(bytes, held)) == sorted(map(bytes, images_NHWC))


def test_both_layouts_of_the_same_images_are_the_same_data(tmp_path):
    """The digest is of the content: neither layout nor path nor the other domains' order belong to it."""
    table, files = tmp_path / "table", tmp_path / "files"
    save_table(table / "a")
    save_table(table / "b", seed=1)
    files.mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        images_NHWC, label_N = bars(160, seed)
        for part, rows in (("train", slice(120)), ("test", slice(120, None))):
            np.savez(files / f"{name}_{part}.npz", x=images_NHWC[rows], y=label_N[rows])
    assert read(table).changes == read(files).changes


def test_a_domain_without_labels_can_be_adapted_to(tmp_path):
    save_npz(tmp_path / "named.npz")
    save_npz(tmp_path / "unnamed.npz", seed=1, y=None)
    data = str(read(tmp_path).changes["data"])
    config = TINY.replace(data=data, source="named", target="unnamed")
    dann.check(config)
    assert [one.name for one in config.task.lists] == ["source_validation"]
    assert any("no labels" in text for text in dann.warnings(config))
    with pytest.raises(ValueError, match="source='unnamed' has no labels to train on: write a domain that has, named"):
        dann.check(config.replace(source="unnamed", target="named"))
    with pytest.raises(ValueError, match=r"target_only.*which has none"):
        dann.check(config.replace(method="target_only"))


# --- what is refused -------------------------------------------------------------------------------------


def test_classes_must_have_the_same_names(tmp_path):
    save_npz(tmp_path / "a.npz")
    images_NHWC, label_N = bars(120, 1)
    save_npz(tmp_path / "b.npz", x=images_NHWC, y=np.array(["zero", "one"])[label_N])
    text = refused(tmp_path, "has no images of 2 classes of")
    assert "name the classes alike" in text


def test_a_class_missing_in_a_domain_is_named(tmp_path):
    save_npz(tmp_path / "full.npz", y=np.arange(120) % 3)
    save_npz(tmp_path / "part.npz", seed=1)
    assert "part has no images of 1 class of full (2)" in refused(tmp_path, "no images of")


def test_bad_folders(tmp_path):
    refused(tmp_path / "missing", "is not there: name a folder of domains")
    refused(tmp_path, "holds no domain")
    save_npz(tmp_path / "one.npz")
    refused(tmp_path, r"holds one domain \(one\), and adaptation takes two")
    save_npz(tmp_path / "two.npz", seed=1, y=None)
    refused(tmp_path, "does not fit domains", task="sets")
    save_npz(tmp_path / "one.npz", y=None)
    refused(tmp_path, "No domain .* has labels")


def test_one_part_without_labels(arrays):
    save_npz(arrays / "usps_test.npz", count=30, y=None)
    refused(arrays, "usps_test.npz has no labels")


def test_a_domain_twice(arrays):
    save_table(arrays / "usps")
    refused(arrays, "holds usps twice|holds the domain usps twice")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lambda_max": -0.1}, r"lambda_max=-0.1 must lie in \[0, 10\]: write 1.0"),
        ({"lambda_max": 11.0}, r"lambda_max=11.0 must lie in \[0, 10\]"),
        ({"lambda_gamma": 0.0}, r"lambda_gamma=0.0 must lie in \(0, 1000\]"),
        ({"optimiser": "sgd(momentum=1.0)"}, r"momentum=1.0 must lie in \[0, 1\): write 0.9"),
        ({"optimiser": "sgd(momentum=-0.5)"}, "momentum=-0.5 must lie"),
        ({"optimiser": "adan"}, "Unknown optimiser 'adan': did you mean 'adam'"),
        ({"network": "cn"}, "Unknown network 'cn': did you mean 'cnn'"),
        ({"network": "cnn(norm='layer')"}, "norm='layer' .* is unknown: write 'none', 'batch' or 'domain'"),
        ({"network": "cnn(bottleneck=-1)"}, "bottleneck=-1"),
        ({"augmentation": "shift(pixels=9)"}, "pixels=9 of shift must be a whole number from 1 to 8"),
        ({"augmentation": "flip"}, "Unknown augmentation 'flip'"),
        ({"method": "both"}, "method='both' is unknown: write source_only, dann or target_only"),
        ({"target": "photos"}, "target='photos' is no domain of the data: did you mean 'photo'"),
        ({"target": "photo"}, "source and target are both 'photo'"),
        ({"image_size": 8}, "image_size=8 must lie from 16 to 128: write 28 or 32"),
        ({"batch_size": 0}, "batch_size=0 must be above 0"),
        ({"data": "digit"}, "data='digit' is no set of domains: did you mean 'digits'"),
        ({"data": "domains(k=3)"}, "is written by --data FOLDER"),
    ],
    ids=str,
)
def test_settings_that_cannot_run(change, words):
    with pytest.raises(ValueError, match=words) as error:
        dann.check(TINY.replace(**change))
    assert re.fullmatch(r"[^\n]{20,500}[.?]", str(error.value)), error.value


# --- prepared --------------------------------------------------------------------------------------------


def prepared(config: dann.Config, record: Path, **inputs: str) -> tuple[domains.Domain, list[str]]:
    """The target's domain, and what was said."""
    place = context(record, **inputs)
    notes = [event.text for event in dann.prepare(config, place) if isinstance(event, Note)]
    return domains.open_domain(config.data, config.target, config.image_size, place.cache), notes


def test_a_folder_is_prepared_once_and_channels_are_converted_and_said(arrays, tmp_path_factory):
    grey, label_N = bars(150, 3)
    np.savez(arrays / "grey.npz", x=grey[..., 0], y=label_N)
    record = tmp_path_factory.mktemp("record")
    config = TINY.replace(data=str(read(arrays).changes["data"]), source="mnist_m", target="grey")
    found, notes = prepared(config, record, data=str(arrays))
    assert notes == ["The domain grey is grey: its one channel is used as red, green and blue."]
    assert found.grey
    assert (found.images_NHWC == found.images_NHWC[..., :1]).all()
    assert prepared(config, record)[1] == []  # without the folder
    colours = config.replace(target="usps", channels="grey")
    assert prepared(colours, record, data=str(arrays))[1] == ["The domain usps has colours: its luminance is used."]
    with pytest.raises(ValueError, match="name their folder with --data"):
        prepared(config.replace(image_size=20), record)
    (arrays / "grey.npz").unlink()
    with pytest.raises(ValueError, match="other domains than those of the study"):
        prepared(config.replace(image_size=20), record, data=str(arrays))


def test_the_own_split_is_the_test(arrays, tmp_path_factory):
    config = TINY.replace(data=str(read(arrays).changes["data"]), source="mnist_m", target="usps")
    found, _ = prepared(config, tmp_path_factory.mktemp("record"), data=str(arrays))
    assert len(found.test) == 30
    assert len(found.validation) == 12
    held = bars(30, 1)[0]
    assert sorted(map(bytes, found.images_NHWC[found.test])) == sorted(map(bytes, held))


def test_a_split_holds_out_whole_units_and_looks_at_no_label():
    units = [str(position // 3) for position in range(300)]
    train, validation, test = split.split(units, None)
    assert sorted([*train, *validation, *test]) == list(range(300))
    assert len(test) == 45
    assert len(validation) == 24  # 8 of the 85 units that are left
    for part in (train, validation, test):
        assert len({units[i] for i in part}) * 3 == len(part)
    held = [position < 60 for position in range(300)]
    assert split.split(units, held)[2] == list(range(60))


def test_photo_and_plain_hold_out_the_same_digits(tmp_path):
    plain, _ = prepared(TINY, tmp_path)
    photo = domains.open_domain("digits", "photo", 16, context(tmp_path).cache)
    assert np.array_equal(plain.test, photo.test)
    assert np.array_equal(plain.validation, photo.validation)
    assert np.array_equal(plain.label_N, photo.label_N)
    assert plain.grey
    assert not photo.grey


# --- street numbers --------------------------------------------------------------------------------------


def test_street_numbers_look_like_photographed_ones():
    """Little colour, blurred, of light and dark digits alike, all ten classes alike; and the same ones every time."""
    images_NHWC = street.images(28)
    assert images_NHWC.shape == (street.IMAGES, 28, 28, 3)
    assert np.bincount(street.labels()).tolist() == [200] * 10
    hls = images_NHWC.astype(float)
    saturation = (hls.max(-1) - hls.min(-1)).mean()
    photos = digits.images("digits(background='photos')", 28).astype(float)
    assert saturation < 25
    assert (photos.max(-1) - photos.min(-1)).mean() > 2 * saturation
    middle, edge = hls[:, 8:20, 10:18].mean((1, 2, 3)), hls[:, :2].mean((1, 2, 3))
    assert 0.3 < (middle > edge).mean() < 0.7
    assert len(np.unique(images_NHWC.reshape(len(images_NHWC), -1), axis=0)) == street.IMAGES
    again = street._drawn(int(street.labels()[7]), np.random.default_rng([street.SEED, 7]), 28)
    assert np.array_equal(again, images_NHWC[7])


def test_every_font_is_there():
    for name in street.FONTS:
        assert street._font(name, 20).getlength("0") > 5
