"""The renderer's promises: composition of the scenes, geometry, pixels, and the folder that the command writes."""

from __future__ import annotations

import colorsys
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runners.render import main
from runners.tasks.iclevr import render
from runners.tasks.iclevr import scenes as scenery
from runners.tasks.iclevr.scenes import LABELS, Scene, Thing

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return scenery.sample_scenes()


def labels_of(scene: Scene) -> frozenset[str]:
    return frozenset(thing.label for thing in scene.things)


def middle(low: float, high: float) -> slice:
    """The pixels in the middle third of an object's box."""
    return slice(int((2 * low + high) / 3), math.ceil((low + 2 * high) / 3))


def alone(label: str) -> Scene:
    """A scene whose first object stands at the origin and whose others are far behind it."""
    things = (Thing(label, 0, 0, 0.4), Thing("gray cube", -2, 2.9, 0), Thing("gray sphere", -2.9, 0, 0))
    return Scene(things, ((0, 0, 0),) * 3)


def test_labels_are_in_the_index_order_of_the_data_set() -> None:
    assert len(LABELS) == len(set(LABELS)) == 24
    some = [LABELS[i] for i in (0, 7, 8, 11, 23)]
    assert some == ["gray cube", "yellow cube", "gray sphere", "green sphere", "yellow cylinder"]


def test_held_out_triples_never_occur_and_all_others_do(scenes: list[Scene]) -> None:
    held_out = {frozenset(triple) for triple in scenery.held_out_triples()}
    shown = {labels_of(scene) for scene in scenes}
    assert len(held_out) == 136
    assert len(scenes) == 6003
    assert shown == {frozenset(triple) for triple in itertools.combinations(LABELS, 3)} - held_out


def test_every_single_and_every_pair_occurs(scenes: list[Scene]) -> None:
    frames = [frozenset(labels) for scene in scenes for labels in scenery.frame_labels(scene)]
    assert {len(frame) for frame in frames} == {1, 2, 3}
    assert len({frame for frame in frames if len(frame) == 1}) == 24
    assert len({frame for frame in frames if len(frame) == 2}) == 276


def test_another_seed_holds_out_other_triples_and_a_prefix_is_the_same_scenes(scenes: list[Scene]) -> None:
    assert scenery.held_out_triples(1) != scenery.held_out_triples(0) == scenery.held_out_triples(0)
    assert scenery.sample_scenes(20, seed=1) != scenery.sample_scenes(20) == scenes[:20]


@pytest.mark.parametrize("view", ["clevr", "near"])
def test_objects_neither_intersect_nor_leave_the_view(view: str) -> None:
    corner = {"cube": math.sqrt(2), "sphere": 1.0, "cylinder": 1.0}
    camera = scenery.VIEWS[view]
    for scene in scenery.sample_scenes(500, view=view):
        for a, b in itertools.combinations(scene.things, 2):
            reach = sum(scenery.RADIUS[thing.shape] * corner[thing.shape] for thing in (a, b))
            assert math.dist((a.x, a.y), (b.x, b.y)) > reach
        for thing in scene.things:
            edges = scenery.box_on_picture(thing, camera)[:4]
            assert min(edges) >= 0
            assert max(edges) <= 1


def test_the_first_object_of_a_clevr_scene_stands_at_the_centre(scenes: list[Scene]) -> None:
    assert all(scene.things[0].x == scene.things[0].y == 0 for scene in scenes)


def test_composition_of_the_test_lists() -> None:
    lists = scenery.test_lists()
    held_out = {frozenset(triple) for triple in scenery.held_out_triples()}
    for name, sizes in {"test": [1] * 6 + [2] * 12 + [3] * 14, "new_test": [2] * 12 + [3] * 20}.items():
        conditions = lists[name]
        assert sorted(map(len, conditions)) == sizes
        assert all(len(set(condition)) == len(condition) for condition in conditions)
        assert {label for condition in conditions for label in condition} == set(LABELS)
        assert len({frozenset(condition) for condition in conditions}) == 32
        assert not held_out & {frozenset(condition) for condition in conditions}
    repeats = [len({label.split()[0] for label in c}) < len(c) for c in lists["new_test"]]
    assert sum(repeats) == 28
    assert scenery.test_lists() == lists != scenery.test_lists(1)


@pytest.mark.parametrize("view", ["clevr", "near"])
def test_a_frame_only_changes_around_its_new_object(view: str, scenes: list[Scene]) -> None:
    camera = scenery.VIEWS[view]
    for scene in scenery.sample_scenes(12, view=view):
        frames = render.render_scene(scene, 64, view).astype(int)
        for k in (1, 2):
            change = np.abs(frames[k] - frames[k - 1]).max(-1)
            left, top, right, bottom, _ = (64 * edge for edge in scenery.box_on_picture(scene.things[k], camera))
            wide, tall = right - left, bottom - top
            row, column = np.mgrid[:64, :64] + 0.5
            # A shadow is at most a few objects long, wherever the lamps stand.
            far = (np.abs(column - (left + right) / 2) > 4 * wide) | (np.abs(row - (top + bottom) / 2) > 3 * tall)
            assert change[far].max(initial=0) <= 2
            rows, columns = middle(top, bottom), middle(left, right)
            boxes = [scenery.box_on_picture(thing, camera) for thing in scene.things]
            hidden = any(scenery._covered(boxes[k], box) > 0 for box in boxes[:k])
            assert hidden or np.median(change[rows, columns]) > 12


def test_an_object_casts_a_shadow() -> None:
    things = (Thing("cyan sphere", 0, 0, 0.0), Thing("red cube", 2, -2, 0.0), Thing("gray cube", -2.5, -2.5, 0.0))
    frames = render.render_scene(Scene(things, ((0, 0, 0),) * 3)).astype(int)
    left, top, right, bottom, _ = (int(64 * edge) for edge in scenery.box_on_picture(things[1], scenery.VIEWS["clevr"]))
    drop = (frames[0] - frames[1]).min(-1)
    drop[top - 1 : bottom + 2, left - 1 : right + 2] = 0  # the cube itself
    assert (drop > 6).sum() > 10
    assert (drop[:, :left] > 6).sum() > 2 * (drop[:, right:] > 6).sum()  # the key lamp stands at the right


def test_a_nearer_object_hides_a_farther_one_that_comes_later() -> None:
    things = (Thing("red cube", 0, 0, 0.0), Thing("cyan sphere", -1.5, 1.3, 0.0), Thing("gray cube", 2.5, 2.5, 0.0))
    scene = Scene(things, ((0, 0, 0),) * 3)
    alone, both = (frame.astype(int) for frame in render.render_scene(scene)[:2])
    boxes = [scenery.box_on_picture(thing, scenery.VIEWS["clevr"]) for thing in things]
    assert 0.2 < scenery._covered(boxes[1], boxes[0]) < 0.8
    red = alone[..., 0] > 1.5 * alone[..., 1]
    cyan = both[..., 1] > 1.5 * both[..., 0]
    assert red.sum() > 80
    assert cyan.sum() > 20
    assert not (red & cyan).any()
    assert np.percentile(np.abs(both - alone).max(-1)[red], 95) < 20  # shaded a little at most


# Degrees on the colour wheel, None for no colour.
HUES = {"gray": None, "red": 0, "blue": 229, "green": 114, "brown": 28, "purple": 276, "cyan": 180, "yellow": 55}


@pytest.mark.parametrize(("image_size", "view"), [(64, "clevr"), (16, "near")])
@pytest.mark.parametrize("label", LABELS)
def test_the_hue_of_each_colour_is_recognisable(label: str, image_size: int, view: str) -> None:
    picture = render.render_scene(alone(label), image_size, view)[0]
    box = scenery.box_on_picture(Thing(label, 0, 0, 0.4), scenery.VIEWS[view])
    left, top, right, bottom, _ = (image_size * edge for edge in box)
    rows, columns = middle(top, bottom), middle(left, right)
    hue, saturation, _ = colorsys.rgb_to_hsv(*(picture[rows, columns].mean((0, 1)) / 255))
    wanted = HUES[label.split()[0]]
    if wanted is None:
        assert saturation < 0.1
    else:
        assert saturation > 0.3
        assert abs((360 * hue - wanted + 180) % 360 - 180) < 12


def test_the_pictures_have_the_light_and_the_grain_of_clevr(scenes: list[Scene]) -> None:
    frames = np.concatenate([render.render_scene(scene) for scene in scenes[:20]]) / 255
    assert frames.mean((0, 1, 2)) == pytest.approx([0.486, 0.483, 0.477], abs=0.02)
    assert frames.std((0, 1, 2)) == pytest.approx([0.074, 0.072, 0.072], abs=0.015)
    grain = np.diff(255 * frames[:, :6], axis=2).std() / math.sqrt(2)  # the empty ground far away
    assert 1.5 < grain < 2.5


def test_two_processes_draw_what_one_draws(scenes: list[Scene]) -> None:
    one = list(render.render_scenes(scenes[:40], 16))
    two = list(render.render_scenes(scenes[:40], 16, workers=2))
    assert len(one) == 40
    assert one[0].shape == (3, 16, 16, 3)
    assert one[0].dtype == np.uint8
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda scene: render.render_scene(scene, 4), "write 8 to 512"),
        (lambda scene: render.render_scene(scene, 64, "far"), "write one of clevr, near"),
        (lambda scene: list(render.render_scenes([scene], workers=0)), "write 1 or more"),
        (lambda scene: scenery.sample_scenes(-1), "write 0 or more"),
        (lambda scene: scenery.sample_scenes(0, view="far"), "write one of clevr, near"),
    ],
)
def test_nonsense_is_refused_with_what_to_write(call, words: str, scenes: list[Scene]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        call(scenes[0])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "runners.render", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_writes_a_folder_and_refuses_an_occupied_one(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()  # an empty folder is as good as none
    small = ("--scenes", "3", "--image-size", "16", "--view", "near", "--workers", "1")
    done = command(str(folder), *small)
    assert done.returncode == 0, done.stderr
    assert "9 of 9 images" in done.stderr
    train = json.loads((folder / "train.json").read_text())
    assert sorted(path.name for path in folder.glob("*.png")) == sorted(train)
    assert [len(train[scenery.frame_name(2, k)]) for k in range(3)] == [1, 2, 3]
    assert json.loads((folder / "objects.json").read_text()) == {label: i for i, label in enumerate(LABELS)}
    for name, conditions in scenery.test_lists().items():
        assert json.loads((folder / f"{name}.json").read_text()) == conditions
    scene = scenery.sample_scenes(3, view="near")[2]
    with Image.open(folder / scenery.frame_name(2, 1)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), render.render_scene(scene, 16, "near")[1])
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]

    again = command(str(folder), *small)
    assert again.returncode == 2
    assert again.stderr == f"{folder} exists and is not empty; name a new folder.\n"


@pytest.mark.parametrize(("option", "value"), [("--image-size", "4"), ("--scenes", "0"), ("--workers", "0")])
def test_the_command_refuses_bad_numbers(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "new"), option, value]) == 2
    assert f"{option} is {value}; write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
