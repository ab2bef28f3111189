"""Data: the folder format and every way it can be wrong; the split by scene; the lists."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from launch import refused
from PIL import Image

from runners import images
from runners.process.files import read_json, write_json
from runners.tasks.iclevr import scenes, source, split
from runners.tasks.iclevr.folder import read_folder
from runners.tasks.iclevr.labels import LABELS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def rendered_folder(tmp_path_factory):
    """An i-CLEVR folder as a user has it, 40 scenes."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    command = [sys.executable, "-m", "runners.render", str(folder), "--scenes", "40", "--image-size", "24"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture
def folder(rendered_folder, tmp_path):
    """A copy that a test may damage."""
    import shutil

    return Path(shutil.copytree(rendered_folder, tmp_path / "scenes"))


def prepare(folder: Path, size: int, cache: Path) -> images.Images:
    checked = read_folder(folder)
    for _ in images.prepare(checked.data, checked, size, cache):
        pass
    return images.open_images(images.place(checked.data, size, cache))


def test_a_folder_becomes_one_array(rendered_folder, tmp_path):
    scenes = prepare(rendered_folder, 16, tmp_path)
    assert scenes.images_NHWC.shape == (120, 16, 16, 3)
    assert isinstance(scenes.images_NHWC, np.memmap)
    labels = json.loads((rendered_folder / "train.json").read_text())
    name = sorted(labels)[7]
    with Image.open(rendered_folder / name) as image:
        wanted = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(scenes.images_NHWC[7], wanted)
    assert {LABELS[i] for i in np.flatnonzero(scenes.labels_NK[7])} == set(labels[name])


def test_resizing_is_antialiased(tmp_path):
    """A one-pixel checkerboard shrunk by four is gray, not black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).convert("RGB").save(tmp_path / "board.png")
    small, remarks = source.decoded_image(tmp_path / "board.png", 16)
    assert remarks == ()
    assert 120 < small.min() <= small.max() < 135


def test_the_second_call_finds_what_the_first_made(rendered_folder, tmp_path):
    prepare(rendered_folder, 16, tmp_path)
    checked = read_folder(rendered_folder)
    assert list(images.prepare(checked.data, checked, 16, tmp_path)) == []


def test_the_digest_follows_the_content(folder):
    before = read_folder(folder).digest
    name = sorted(json.loads((folder / "train.json").read_text()))[0]
    Image.new("RGB", (24, 24), "red").save(folder / name)
    assert read_folder(folder).digest != before


def test_the_split_is_by_scene(rendered_folder, tmp_path):
    scenes = prepare(rendered_folder, 16, tmp_path)
    names = sorted(json.loads((rendered_folder / "train.json").read_text()))
    train = {split.scene_of(names[i]) for i in scenes.train_indices}
    held_out = {split.scene_of(names[i]) for i in scenes.held_out_indices}
    assert train & held_out == set()
    assert len(train) == 38
    assert len(held_out) == 2
    assert len(scenes.train_indices) + len(scenes.held_out_indices) == 120


@pytest.mark.parametrize("name", ["img_{:05d}.png", "img_{}.png", "scene_of_a_user_{}.jpg", "{}.png"])
def test_images_that_are_only_numbered_are_held_out_one_by_one(name, tmp_path):
    """They were one scene, which was held out whole: no image was left for training."""
    labels = {name.format(number): [LABELS[number % 24]] for number in range(100)}
    for file in labels:
        Image.new("RGB", (16, 16)).save(tmp_path / file)
    content = {"train": labels, "objects": {label: i for i, label in enumerate(LABELS)}}
    for file, value in (content | {"test": [[LABELS[0]]], "new_test": [[LABELS[1]]]}).items():
        (tmp_path / f"{file}.json").write_text(json.dumps(value))
    found = prepare(tmp_path, 16, tmp_path / "cache")
    assert len(found.held_out_indices) == 5
    assert len(found.train_indices) == 95


@pytest.fixture(scope="session")
def full_lists():
    """The lists of the whole set of 6,003 scenes, from their labels alone."""
    conditions = [tuple(labels) for scene in scenes.sample_scenes() for labels in scenes.frame_labels(scene)]
    lists = {name: [tuple(c) for c in values] for name, values in scenes.test_lists().items()}
    return conditions, lists


@pytest.mark.slow
def test_validation_list(full_lists):
    conditions, lists = full_lists
    validation = split.validation(conditions, lists)
    sets = [frozenset(condition) for condition in validation]
    assert len(set(sets)) == len(sets) == 64
    assert set(sets) <= {frozenset(condition) for condition in conditions}
    assert not set(sets) & {frozenset(condition) for values in lists.values() for condition in values}
    assert [sum(len(condition) == k for condition in validation) for k in (1, 2, 3)] == [12, 24, 28]


@pytest.mark.slow
def test_unseen_list(full_lists):
    conditions, _ = full_lists
    unseen = split.unseen(conditions)
    seen = {frozenset(condition) for condition in conditions}
    assert len(unseen) == 136
    assert not {frozenset(condition) for condition in unseen} & seen
    assert set(unseen) == {triple for triple in combinations(LABELS, 3) if frozenset(triple) not in seen}


def change_json(name, change):
    def damage(folder):
        path = folder / name
        value = json.loads(path.read_text())
        path.write_text(json.dumps(change(value)))

    return damage


def first_name(folder):
    return sorted(json.loads((folder / "train.json").read_text()))[0]


def rename_first(new):
    def change(value):
        name = sorted(value)[0]
        return {(new if key == name else key): labels for key, labels in value.items()}

    return change


DAMAGE = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "is not there"),
    "no train.json": (lambda folder: (folder / "train.json").unlink(), "has no train.json"),
    "no objects.json": (lambda folder: (folder / "objects.json").unlink(), "has no objects.json"),
    "no test.json": (lambda folder: (folder / "test.json").unlink(), "has no test.json"),
    "broken JSON": (lambda folder: (folder / "train.json").write_text("{"), "cannot be read as JSON (it is cut short"),
    "list for mapping": (change_json("train.json", list), "must map file names"),
    "unknown label": (
        change_json("train.json", lambda v: v | {sorted(v)[0]: ["red cubes"]}),
        "did you mean 'red cube'",
    ),
    "unknown label in a list": (
        change_json("new_test.json", lambda v: [["gray sfere"], *v]),
        "did you mean 'gray sphere'",
    ),
    "no label": (change_json("train.json", lambda v: v | {sorted(v)[0]: []}), "must be a list of labels"),
    "other objects": (change_json("objects.json", lambda v: {k: 23 - i for k, i in v.items()}), "must be i-CLEVR's"),
    "missing image": (lambda folder: (folder / first_name(folder)).unlink(), "is missing"),
    "corrupt image": (
        lambda folder: (folder / first_name(folder)).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99) + b"IEND"),
        "is corrupt",
    ),
    "truncated image": (
        lambda folder: (folder / first_name(folder)).write_bytes((folder / first_name(folder)).read_bytes()[:200]),
        "is cut short: download it again",
    ),
    "image bomb": (lambda folder: Image.new("L", (5000, 8)).save(folder / first_name(folder)), "over 4096"),
    "parent path": (change_json("train.json", rename_first("../secret.png")), "leaves the folder"),
    "absolute path": (change_json("train.json", rename_first("/etc/passwd")), "leaves the folder"),
    "few images": (change_json("train.json", lambda v: dict(list(v.items())[:99])), "at least 100"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_damaged_folder_is_refused_before_anything_is_written(folder, tmp_path, damage):
    spoil, words = DAMAGE[damage]
    spoil(folder)
    record = tmp_path / "record"
    study = ("--study", "schedules", "--scale", "smoke", "--devices", "cpu")
    done = refused(*study, "--data", folder, "--record", record)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not record.exists()


@pytest.mark.parametrize("given", ["rendered(scenes=3)", "rendered(view='far')", "rendred", "rendered(scenes=6003)"])
def test_bad_sources_are_refused(given):
    with pytest.raises(ValueError, match=r"write|no source"):
        source.rendered_arguments(given)


SOURCE = "rendered(scenes=34, view='near')"


def test_scenes_of_an_earlier_version_are_found_by_their_source(tmp_path):
    """It named rendered data after the program's text, so that a comment rendered everything anew."""
    assert list(images.prepare(SOURCE, None, 16, tmp_path))
    own = images.place(SOURCE, 16, tmp_path)
    earlier = own.rename(tmp_path / "data-0123456789ab-16")
    assert images.place(SOURCE, 16, tmp_path) == earlier
    assert list(images.prepare(SOURCE, None, 16, tmp_path)) == []
    assert images.place("rendered(scenes=35, view='near')", 16, tmp_path) not in (own, earlier)
    assert images.place(SOURCE, 32, tmp_path) != earlier
    index = read_json(earlier / "index.json")
    write_json(earlier / "index.json", {name: value for name, value in index.items() if name != "source"})
    assert images.place(SOURCE, 16, tmp_path) == own


def test_the_scenes_are_those_of_this_version(tmp_path):
    """A change of what is drawn changes these numbers: then raise source.RENDERER, and put the new ones here."""
    assert source.RENDERER == 1
    for _ in images.prepare(SOURCE, None, 16, tmp_path):
        pass
    drawn = images.open_images(images.place(SOURCE, 16, tmp_path))
    assert abs(float(drawn.images_NHWC.mean()) - 117.280) < 0.01
    assert drawn.images_NHWC[5, 8].tolist()[:2] == [[130, 131, 131], [132, 132, 132]]
