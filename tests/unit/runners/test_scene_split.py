"""Which images of an i-CLEVR folder are frames of one scene, by names or by labels; and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from launch import refused
from PIL import Image

from runners import images
from runners.process.files import read_json, write_json
from runners.tasks.iclevr import split
from runners.tasks.iclevr.folder import read_folder
from runners.tasks.iclevr.labels import LABELS

SCENES = 40


def conditions(frames: int = 3) -> list[tuple[str, ...]]:
    """Of nested frames: each shows one object more."""
    rng = np.random.default_rng(0)
    scenes = [rng.permutation(24)[:frames] for _ in range(SCENES)]
    return [tuple(LABELS[i] for i in scene[: frame + 1]) for scene in scenes for frame in range(frames)]


def save(root: Path, names: Sequence[str], labels: Sequence[tuple[str, ...]]) -> Path:
    root.mkdir()
    for name in names:
        Image.new("RGB", (16, 16)).save(root / name)
    files = {"train": dict(zip(names, labels, strict=True)), "objects": {label: i for i, label in enumerate(LABELS)}}
    for file, value in (files | {"test": [[LABELS[0]]], "new_test": [[LABELS[1]]]}).items():
        (root / f"{file}.json").write_text(json.dumps(value))
    return root


NAMES = {
    "scenes and frames": (lambda scene, frame: f"CLEVR_train_{scene:06d}_{frame}.png", "by file names"),
    "numbers after a word": (
        lambda scene, frame: f"img_{3 * scene + frame:05d}.png",
        "by labels, because file names do not tell them",
    ),
    "i-CLEVR's numbers": (
        lambda scene, frame: f"CLEVR_train_{3 * scene + frame:06d}.png",
        "by labels, because file names do not tell them",
    ),
    "numbers without zeros": (
        lambda scene, frame: f"{3 * scene + frame}.jpg",
        "by labels, because file names do not tell them",
    ),
    "hyphens": (lambda scene, frame: f"scene-{scene}-{frame}.png", "by labels, because file names do not tell them"),
}


@pytest.mark.parametrize("naming", NAMES)
def test_no_frame_of_a_held_out_scene_is_trained_on(naming, tmp_path):
    """Of the real set under the names img_00000.png, ..., 897 of 900 held-out images had a frame of their scene among
    those that were trained on."""
    name, why = NAMES[naming]
    folder = save(tmp_path / "own", [name(i // 3, i % 3) for i in range(3 * SCENES)], conditions())
    checked = read_folder(folder)
    for _ in images.prepare(checked.data, checked, 16, tmp_path / "cache"):
        pass
    found = images.open_images(images.place(checked.data, 16, tmp_path / "cache"))
    scene_of = {name(i // 3, i % 3): i // 3 for i in range(3 * SCENES)}
    scene_N = np.array([scene_of[file] for file in sorted(scene_of)])
    assert not set(scene_N[found.train_indices]) & set(scene_N[found.held_out_indices])
    assert len(found.held_out_indices) == 6  # 2 of 40 scenes
    assert why in split.described(list(checked.labels), checked.units)


def test_five_frames_of_a_scene_stay_together():
    names = [f"CLEVR_train_{i // 5:06d}_{i % 5}.png" for i in range(5 * SCENES)]
    units = split.units(names, conditions(5))
    assert len(set(units)) == SCENES
    held = split.held_out(units)
    assert {position // 5 for position in held} == {scene for scene in range(SCENES) if 5 * scene in held}
    assert "40 scenes of 5 frames" in split.described(names, units)


def test_names_that_say_their_scene_are_believed():
    """Whatever the labels: a scene may lack frames, and another may follow that shows more."""
    names = [f"CLEVR_train_{number:06d}_{number % 3}.png" for number in range(6)]
    labels = [tuple(LABELS[: number + 1]) for number in range(6)]
    assert split.units(names, labels) == split.units(names) == [split.scene_of(name) for name in names]


def test_images_that_nothing_connects_stand_alone():
    names = [f"img_{number:05d}.png" for number in range(100)]
    units = split.units(names, [(LABELS[number % 24],) for number in range(100)])
    assert units == names
    assert len(split.held_out(units)) == 5
    assert split.described(names, units).startswith("one by one, because neither file names (img_00000.png) nor labels")


@pytest.mark.parametrize(
    ("naming", "said"),
    [
        (
            "numbers after a word",
            "6 held out in whole scenes: 40 scenes of 3 frames by labels, because file names do not tell them",
        ),
        ("scenes and frames", "6 held out in whole scenes: 40 scenes of 3 frames by file names (CLEVR_train_000000_0."),
    ],
)
def test_the_command_says_how_images_are_held_out(naming, said, tmp_path):
    name, _ = NAMES[naming]
    folder = save(tmp_path / "own", [name(i // 3, i % 3) for i in range(3 * SCENES)], conditions())
    done = refused("--study", "null", "--scale", "smoke", "--devices", "cpu", "--data", folder, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr


def test_images_of_an_earlier_version_that_held_out_all_are_made_again(tmp_path):
    """Its record keeps them, so the same command with this version would have trained on none."""
    name, _ = NAMES["numbers after a word"]
    checked = read_folder(save(tmp_path / "own", [name(i // 3, i % 3) for i in range(3 * SCENES)], conditions()))
    place = images.place(checked.data, 16, tmp_path / "cache")
    assert list(images.prepare(checked.data, checked, 16, tmp_path / "cache"))
    index = read_json(place / "index.json")
    old = {key: value for key, value in index.items() if key != "index_sha256"} | {"held_out": list(range(120))}
    write_json(place / "index.json", old | {"index_sha256": images.prepared._index_digest(old)})
    assert len(images.open_images(place).train_indices) == 0
    assert list(images.prepare(checked.data, checked, 16, tmp_path / "cache"))
    assert len(images.open_images(place).train_indices) == 114
