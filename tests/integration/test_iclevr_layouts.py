"""i-CLEVR in the folders in which people have it: found, or the sentence names what was looked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN, refused
from PIL import Image

from runners import given, tasks
from runners.tasks.iclevr import scenes
from runners.tasks.iclevr.folder import Folder, read_folder
from runners.tasks.iclevr.labels import LABELS
from study.record import reader

SMOKE = ("--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1")
OBJECTS = {label: number for number, label in enumerate(LABELS)}


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """Labels and images in one folder: 40 scenes of noise with i-CLEVR's lists."""
    root, rng, labels = tmp_path_factory.mktemp("iclevr"), np.random.default_rng(0), {}
    for scene in range(40):
        things = [LABELS[i] for i in rng.permutation(24)[:3]]
        for frame in range(3):
            name = scenes.frame_name(scene, frame)
            labels[name] = things[: frame + 1]
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / name)
    for name, content in {"train": labels, "objects": OBJECTS, **scenes.test_lists()}.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    return root


def laid_out(together: Path, root: Path, labels: str, images: str, **elsewhere: str) -> Path:
    """A copy with the JSON files in one folder and the images in another; `elsewhere`: JSON file -> its folder."""
    for path in together.iterdir():
        folder = images if path.suffix == ".png" else elsewhere.get(path.stem, labels)
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / folder)
    return root


def code_beside(root: Path) -> None:
    """Files of the same names that are none of i-CLEVR's, hidden folders and code."""
    for name, content in {
        "train.json": {"input": "abandon", "target": "abandons"},
        "test.json": [["abandon", "x"]],
    }.items():
        (root / "spelling").mkdir(exist_ok=True)
        (root / "spelling" / name).write_text(json.dumps(content))
    for folder in (".git", "__MACOSX"):
        (root / folder).mkdir()
        (root / folder / "train.json").write_text("{}")
    (root / "train.py").write_text("")


LAYOUTS = {
    "the course's file/ and iclevr/": ("file", "iclevr", {}),
    "code/ with the labels": ("code", "iclevr", {}),
    "labels beside the code, images deeper": (".", "dataset/iclevr", {}),
    "dataset/ with both": ("dataset", "dataset/iclevr", {}),
    "unpacked into a folder of its name": ("data/file", "data/iclevr/iclevr", {}),
    "a task's folder": ("dataset/task_1", "dataset/task_1/images", {}),
    "lists beside the code": ("dataset", "dataset/iclevr", {"test": ".", "new_test": ".", "objects": "code"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_and_is_the_same_data(layout, together, tmp_path):
    labels, images, elsewhere = LAYOUTS[layout]
    root = laid_out(together, tmp_path / "lab", labels, images, **elsewhere)
    code_beside(root)
    done = refused("--study", "null", *SMOKE, "--data", root, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "120 images of i-CLEVR's 24 labels" in done.stderr
    assert f"the images those in {images}/." in done.stderr
    assert given.is_iclevr(root)
    found = read_folder(root)
    assert found.data == read_folder(together).data
    assert found.images == root / images


def test_images_behind_a_link_are_found(together, tmp_path):
    """On another disk, as on a cluster."""
    root = laid_out(together, tmp_path / "lab", "file", ".")
    (tmp_path / "scratch").mkdir()
    for path in root.glob("*.png"):
        path.rename(tmp_path / "scratch" / path.name)
    (root / "pictures").symlink_to(tmp_path / "scratch")
    (root / "again").symlink_to(root)  # leads in a circle
    assert read_folder(root).images == root / "pictures"


def test_the_first_layouts_are_read_as_before(together, tmp_path):
    assert read_folder(together).notes == ()
    for images in ("images", "iclevr"):
        root = laid_out(together, tmp_path / images, ".", images)
        shutil.copytree(root / images, root / "at_64")  # a smaller copy, say
        assert (read_folder(root).images, read_folder(root).notes) == (root / images, ())


# --- editions --------------------------------------------------------------------------------------------


def test_the_edition_without_new_test(together, tmp_path):
    root = laid_out(together, tmp_path / "lab", "file", "iclevr")
    (root / "file" / "new_test.json").unlink()
    found = read_folder(root)
    assert found.data == f"folder(digest='{found.digest}', lists=('test',))"
    assert [one.name for one in tasks.of(found.data).lists] == ["validation", "test", "unseen"]
    assert tasks.of(found.data).conditions == 232
    assert found.notes[-1] == "There is no new_test.json: nothing is scored on the list new_test."


def test_a_folder_with_both_lists_has_the_setting_that_it_had(together):
    found = read_folder(together)
    assert found.data == f"folder(digest='{found.digest}')"
    assert [one.name for one in tasks.of(found.data).lists] == ["validation", "test", "new_test", "unseen"]
    assert tasks.of(found.data).conditions == 264


@pytest.mark.long
def test_the_course_s_layout_of_2020_runs_through(together, tmp_path):
    """A study with a published value on new_test, which is not there."""
    root = laid_out(together, tmp_path / "lab", "file", "iclevr")
    (root / "file" / "new_test.json").unlink()
    record = tmp_path / "record"
    line = [sys.executable, "study/run.py", "--study", "report_r2", *SMOKE, "--record", record, "--data", root]
    done = subprocess.run(list(map(str, line)), cwd=ROOT, env=UNDRAWN, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Traceback" not in done.stderr
    rows = reader.load("report_r2", record)
    assert set(rows["state"]) == {"complete"}
    assert {"accuracy/validation", "accuracy/test", "accuracy/unseen"} <= set(rows)
    assert "accuracy/new_test" not in rows


# --- what is not found -----------------------------------------------------------------------------------


def without(name: str) -> Callable[[Path], object]:
    return lambda root: (root / "file" / name).unlink()


def emptied(root: Path) -> None:
    shutil.rmtree(root / "iclevr")
    (root / "pictures").mkdir()


def packed(root: Path) -> None:
    shutil.rmtree(root / "iclevr")
    (root / "iclevr.zip").write_bytes(b"PK")


def twice(root: Path) -> None:
    (root / "iclevr").rename(root / "big")
    shutil.copytree(root / "big", root / "small")


def differing(root: Path) -> None:
    shutil.copytree(root / "file", root / "old")
    (root / "old" / "train.json").write_text(json.dumps({f"{i}.png": ["red cube"] for i in range(100)}))


SPOILT = {
    "no test.json": (without("test.json"), ["has no test.json, nor has any folder in it (file/, iclevr/)"]),
    "no objects.json": (without("objects.json"), ["has no objects.json, nor has any folder in it (file/, iclevr/)"]),
    "broken objects.json": (
        lambda root: (root / "file" / "objects.json").write_text("{"),
        ["file/objects.json"],
    ),
    "no images": (
        emptied,
        ["None of the 120 images", "or the folders in it (file/, pictures/)", "put the images there"],
    ),
    "images in an archive": (packed, ["None of the 120 images", "unpack iclevr.zip"]),
    "images twice": (twice, ["in 2 folders (big/, small/): leave the images of one"]),
    "labels that differ": (differing, ["2 files train.json that differ (file/, old/)"]),
    "some images": (
        lambda root: [path.unlink() for path in sorted((root / "iclevr").iterdir())[5:12]],
        ["7 images of train.json (CLEVR_train_000001_2.png, ", "and 4 more) are missing in "],
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_is_not_found_is_named(spoilt, together, tmp_path):
    spoil, said = SPOILT[spoilt]
    root = laid_out(together, tmp_path / "lab", "file", "iclevr")
    spoil(root)
    done = refused("--study", "null", *SMOKE, "--data", root, "--record", tmp_path / "record")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    for words in said:
        assert words in line
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("half", ["file", "iclevr"])
def test_one_half_of_the_course_s_layout_is_told_the_whole(half, together, tmp_path):
    root = laid_out(together, tmp_path / "lab", "file", "iclevr")
    done = refused("--study", "null", *SMOKE, "--data", root / half, "--dry-run")
    assert done.returncode == 2
    assert f"give --data {root}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_images_alone_are_still_images_where_that_is_asked_for(together, tmp_path):
    root = laid_out(together, tmp_path / "lab", "file", "iclevr")
    done = refused("--study", "null", *SMOKE, "--data", root / "iclevr", "--task", "images", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "120 images without labels" in done.stderr


def test_other_data_are_not_taken_for_iclevr(together, tmp_path):
    """A table, or other labels, beside a folder that holds i-CLEVR."""
    root = laid_out(together, tmp_path / "lab", "old/file", "old/iclevr")
    (root / "metadata.csv").write_text("file_name,label\n")
    assert not given.is_iclevr(root)
    (root / "metadata.csv").unlink()
    (root / "train.json").write_text(json.dumps({"a.png": ["cat"]}))
    assert not given.is_iclevr(root)


def test_the_digest_is_that_of_earlier_versions(tmp_path):
    """Of labels, lists and images alone: a record goes on with the same folder."""
    labels = {f"CLEVR_train_{i // 3:06d}_{i % 3}.png": list(LABELS[i // 3 % 20 :][: i % 3 + 1]) for i in range(120)}
    for name in labels:
        (tmp_path / name).write_bytes(b"not decoded here")
    for name, content in {
        "train": labels,
        "objects": OBJECTS,
        "test": [["red cube"]],
        "new_test": [["red cube"]],
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = read_folder(tmp_path)
    assert isinstance(found, Folder)
    assert found.digest == "f838d6daa568"
