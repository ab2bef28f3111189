"""Every task: what is known of it without its images, what it makes, and what is kept of that."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from runners import given, images, prepared, splits, tasks
from runners.contents import About, Shown
from runners.ddpm.config import TrialConfig
from runners.evaluation.evaluator import recipe

# Of each task what a config may say; the user's images are read from the arrays that `own` writes.
BUILT_IN = {
    "iclevr": ["rendered(scenes=34, view='near')"],
    "digits": ["digits", "digits(background='photos')", "digits(labels=False)"],
}
WANTED = {"classes": "classes", "sets": "sets", "images": "images"}


def test_every_task_is_tested():
    assert sorted([*BUILT_IN, *WANTED]) == tasks.names()


def pictures(count: int = 120, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def own(folder: Path, task: str) -> Path:
    """Images as a user has them: ten classes, three labels of which each image has one to three, or none."""
    if task != "sets":
        np.savez(folder / "own.npz", x=pictures(), y=np.arange(120) % 10)
        return folder / "own.npz"
    from PIL import Image

    names = [f"{number}.png" for number in range(120)]
    labels = {name: [["cat", "dog", "owl"], ["cat"], ["dog", "owl"]][i % 3] for i, name in enumerate(names)}
    for name, picture in zip(names, pictures(), strict=True):
        Image.fromarray(picture).save(folder / name)
    (folder / "train.json").write_text(json.dumps(labels))
    return folder


def made(source: str, users, cache: Path, side: int = 16) -> images.Images:
    for _ in images.prepare(source, users, side, cache):
        pass
    return images.open_images(images.place(source, side, cache))


def check(source: str, found: images.Images) -> None:
    """What holds for every task."""
    task = tasks.of(source)
    assert (task.classes, task.kind == "none") == (len(found.about.labels), not found.about.labels)
    assert list(found.lists) == [one.name for one in task.lists]
    assert [one.role for one in task.lists].count("choose") == 1
    assert task.choice_list == "validation"
    count = len(found.images_NHWC)
    assert sorted([*found.train_indices, *found.held_out_indices]) == list(range(count))
    assert len(found.held_out_indices)
    if task.name != "iclevr" or not source.startswith("folder"):
        assert task.images == count
    for conditions in found.lists.values():
        assert found.hot(conditions).shape == (len(conditions), task.classes)
    per_image = found.labels_NK.sum(1)
    assert {"set": per_image.min() >= 1, "class": (per_image == 1).all(), "none": not per_image.any()}[task.kind]
    assert (
        len({int(unit) for unit in found.unit_N[found.train_indices]} & set(found.unit_N[found.held_out_indices])) == 0
    )
    described = found.described(task)
    assert About.from_json(json.loads(json.dumps(described))) == found.about
    assert TrialConfig(data=source).task is task


@pytest.mark.parametrize("source", [source for sources in BUILT_IN.values() for source in sources])
def test_what_is_built_in(source, tmp_path):
    check(source, made(source, None, tmp_path))


@pytest.mark.parametrize("task", WANTED)
def test_a_user_s_own(task, tmp_path):
    read = given.read({"data": str(own(tmp_path, task)), "task": WANTED[task]})
    users = _value(read)
    assert users.data.startswith(f"{task}(")
    found = made(users.data, users, tmp_path / "cache")
    check(users.data, found)
    assert found.images_NHWC.shape == (120, 16, 16, 3)
    again = list(images.prepare(users.data, users, 16, tmp_path / "cache"))
    assert again == []


def _value(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_user_may_say_that_pictures_may_be_mirrored(tmp_path):
    path = own(tmp_path, "classes")
    plain, mirrored = (_value(given.read({"data": str(path), "task": task})) for task in ("", "classes(mirror=True)"))
    assert [tasks.of(users.data).mirror for users in (plain, mirrored)] == [False, True]
    assert [recipe("stand_in", 16, tasks.of(users.data)).mirror for users in (plain, mirrored)] == [False, True]
    assert recipe("stand_in", 16, tasks.of("rendered")).mirror


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("clases", "did you mean 'classes'"),
        ("classes(flip=True)", "takes no argument 'flip'"),
        ("classes(mirror=1)", "write --task classes"),
        ("iclevr(mirror=True)", "is unknown"),
    ],
)
def test_tasks_that_are_none_are_refused(task, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        given.task_of(task)


def test_what_a_surrogate_learns_follows_the_task():
    learned = {source: recipe("stand_in", 16, tasks.of(source)).loss for source in ("rendered", "digits")}
    learned["digits(labels=False)"] = recipe("stand_in", 16, tasks.of("digits(labels=False)")).loss
    assert learned == {"rendered": "sets", "digits": "classes", "digits(labels=False)": "rotations"}


# --- lists -------------------------------------------------------------------------------------------


def test_lists_of_classes_go_round():
    few, many = splits.class_lists("abc"), splits.class_lists([str(i) for i in range(1000)])
    assert [len(few[name]) for name in ("validation", "test")] == [64, 200]
    assert few["validation"][:4] == [("a",), ("b",), ("c",), ("a",)]
    assert len(set(many["validation"])) == 64
    assert many["test"][0] == ("0",)
    assert many["test"][-1] == ("999",)


def test_lists_of_sets_share_no_label_set():
    conditions = [("a",), ("a", "b"), ("b", "c"), ("c",), ("a", "c")]
    found = splits.set_lists("abc", conditions * 3, {})
    sets = [frozenset(condition) for values in found.values() for condition in values]
    assert len(set(sets)) == len(sets) == 5
    assert [len(values) for values in found.values()] == [3, 2]
    own = {"test": [("a",)], "new_test": [("b", "a")]}
    kept = splits.set_lists("abc", conditions, own)
    assert list(kept) == ["validation", "test", "new_test"]
    assert {frozenset(condition) for condition in kept["validation"]} == {
        frozenset("bc"),
        frozenset("c"),
        frozenset("ac"),
    }


def test_what_is_held_out_is_whole_and_follows_the_order_of_units():
    units = [f"unit {number // 3}" for number in range(300)]
    held = splits.held_out(units)
    assert len(held) == 15
    assert {units[position] for position in held}.isdisjoint(units[i] for i in range(300) if i not in held)


@pytest.mark.parametrize(
    ("sizes", "held"),
    [
        ([1] * 100, 5),
        ([279, 21], 21),  # the smallest, where none is 5 %: 21 were trained on once, and 279 held out
        ([90, 60, 5, 145], 5),
        ([260] + [1] * 40, 15),  # copies of one picture are one unit
        ([2], None),
        ([60, 60], 60),
    ],
)
def test_5_percent_of_the_images_are_held_out_however_large_their_groups_are(sizes, held):
    units = [str(unit) for unit, size in enumerate(sizes) for _ in range(size)]
    if held is None:
        with pytest.raises(ValueError, match="Make smaller groups"):
            splits.held_out(units)
    else:
        assert len(splits.held_out(units)) == held


def test_no_label_loses_most_of_its_images():
    """A group that holds a whole class is trained on; a class of 8 loses one image at most."""
    units = ["all of b"] * 8 + [f"image {number}" for number in range(200)]
    conditions = [("b",)] * 8 + [("a",)] * 200
    held = splits.held_out(units, conditions)
    assert len(held) == 10
    assert min(held) >= 8
    small = [(label,) for label in "abcde" for _ in range(8)]
    assert max(Counter(small[i] for i in splits.held_out([str(i) for i in range(40)], small)).values()) == 1
    with pytest.raises(ValueError, match="7 of each label are to be left"):
        splits.held_out(["one", "two"] * 6, [("a",)] * 12)


@pytest.mark.parametrize("source", ["classes", "images", "sets", "folder", "folder(path='/somewhere')"])
def test_a_source_of_files_is_given_by_its_path(source):
    with pytest.raises(ValueError, match="stands for images of your own: give them with --data PATH"):
        tasks.of(source)


def test_the_sources_that_are_recommended_can_be_written():
    with pytest.raises(ValueError, match=r"write one of digits, rendered\. Your own images"):
        tasks.of("mnist")


@pytest.mark.parametrize(("word", "nearest"), [("class", "classes"), ("classs", "classes"), ("set", "sets")])
def test_an_unknown_task_is_told_the_nearest_one(word, nearest):
    with pytest.raises(ValueError, match=f"--task {word} is unknown: did you mean '{nearest}'"):
        given.task_of(word)


def test_one_image_of_each_unit_at_every_stage():
    """Frames of a scene are nested: the first scene shows its first frame, the second its second."""
    unit_N = np.repeat(np.arange(4), 3)
    some = images.Images(
        pictures(12, 4), np.zeros((12, 0), bool), np.arange(12), np.arange(0), {}, "digest", About(()), unit_N
    )
    assert some.one_of_each_unit(np.arange(12)).tolist() == [0, 4, 8, 9]
    assert some.one_of_each_unit(np.array([11, 0])).tolist() == [11, 0]


# --- what is kept ------------------------------------------------------------------------------------


def test_images_of_versions_that_knew_one_task_are_iclevr_s(tmp_path):
    """Their index says neither labels nor units."""
    source = BUILT_IN["iclevr"][0]
    now = made(source, None, tmp_path)
    place = images.place(source, 16, tmp_path)
    index = json.loads((place / "index.json").read_text())
    old = {name: index[name] for name in prepared.OLD_INDEX}
    (place / "index.json").write_text(json.dumps(old))
    then = images.open_images(place)
    assert then.about == now.about
    assert then.unit_N.tolist() == now.unit_N.tolist()
    assert then.lists == now.lists


def test_what_figures_show_survives_being_written():
    about = About(("a", "b"), {"colour": ("red", "blue")}, {"red": "#ff0000"}, "thing", Shown(("a",), "class_grid", 6))
    assert About.from_json(json.loads(json.dumps(about.to_json()))) == about


def test_pictures_are_written_one_by_one(tmp_path):
    """Nothing stays of images of which one cannot be used."""

    def broken():
        yield from pictures(3, 8)
        raise ValueError("the fourth is corrupt")

    with pytest.raises(ValueError, match="the fourth"):
        list(prepared.write(tmp_path / "data", broken(), (5, 8, 8, 3), {}))
    assert list(tmp_path.iterdir()) == []
    assert list(prepared.write(tmp_path / "data", pictures(3, 8), (3, 8, 8, 3), {"held_out": []})) == [1, 2, 3]
    written, _ = prepared.read(tmp_path / "data")
    np.testing.assert_array_equal(written, pictures(3, 8))
