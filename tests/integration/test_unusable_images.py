"""Images that leave nothing to train on, to hold out or to validate on are refused before anything is written."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN, refused
from PIL import Image

from runners import images, splits, tasks
from runners.contents import About, Produced
from runners.experiment import Task
from runners.tasks.iclevr.labels import LABELS

SMOKE = ("--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1")
RNG = np.random.default_rng(0)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def labelled(root: Path, sets: Sequence[Sequence[str]], **lists: Sequence[Sequence[str]]) -> None:
    """120 pictures that show the sets in turn, and train.json beside them."""
    labels = {f"{number}.png": sets[number % len(sets)] for number in range(120)}
    for name in labels:
        picture(root / name)
    for name, content in {"train": labels, **lists}.items():
        (root / f"{name}.json").write_text(json.dumps(content))


def clevr(root: Path, sets: Sequence[Sequence[str]], lists: Sequence[Sequence[str]]) -> None:
    labelled(root, sets, test=lists, new_test=lists)
    (root / "objects.json").write_text(json.dumps({label: number for number, label in enumerate(LABELS)}))


SINGLES = [[label] for label in LABELS[:8]]
FOURS = [LABELS[first : first + 4] for first in range(20)]
PETS = [["cat"], ["dog"], ["cat", "dog"], ["owl"]]


def parts(root: Path) -> None:
    picture(root / "train" / "one.png")
    for number in range(120):
        picture(root / "test" / f"{number}.png")


def domains(root: Path, groups: int, tested: int = 0) -> None:
    """Two domains of 120 images in so many groups; `tested`: groups of the user's own split."""
    for name in ("a", "b"):
        rows = []
        for number in range(120):
            picture(root / name / "data" / f"{number}.png")
            rows.append([f"{number}.png", number % 2, number * groups // 120])
        for table, held in (("train.csv", False), ("val.csv", True)):
            of_table = [row for row in rows if (row[2] < tested) is held]
            if of_table:
                with (root / name / table).open("w", newline="") as file:
                    csv.writer(file).writerows([("image_name", "label", "group"), *of_table])


CASES = {
    "i-CLEVR whose label sets are all tested": (lambda root: clevr(root, SINGLES, SINGLES), "in test.json or new_test"),
    "i-CLEVR of four objects": (lambda root: clevr(root, FOURS, SINGLES), "shows more than 3 objects"),
    "sets that are all in test.json": (lambda root: labelled(root, PETS, test=PETS), "No condition is left"),
    "one training image": (parts, "holds out 120 of its 121 images: leave 8 or more for training."),
    "a domain of two groups": (lambda root: domains(root, 2), "has 2 groups, copies of one picture being one"),
    "a domain of one training group": (lambda root: domains(root, 2, tested=1), "are of one group or copies of one"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_leaves_nothing_is_refused_before_anything_runs(case, tmp_path):
    make, said = CASES[case]
    make(tmp_path / "data")
    record = tmp_path / "record"
    study = ["adaptation_lambda", "--set", "source=a", "--set", "target=b"] if "domain" in case else ["null"]
    done = refused("--study", *study, *SMOKE, "--record", record, "--data", tmp_path / "data")
    assert done.returncode == 2, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("run.py: ")
    assert said in last
    assert "max()" not in last
    assert not record.exists()


@pytest.mark.slow
def test_the_command_refuses_without_its_assertions_too(tmp_path):
    """No assertion refuses it."""
    clevr(tmp_path / "data", SINGLES, SINGLES)
    line = [sys.executable, "-O", "study/run.py", "--study", "null", *SMOKE, "--record", str(tmp_path / "record")]
    line += ["--data", str(tmp_path / "data")]
    done = subprocess.run(line, cwd=ROOT, env=UNDRAWN, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "No condition is left to validate on" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "record").exists()


def stripes(held_out: Sequence[int], validation: int) -> Produced:
    """What a task of a user's own file makes."""
    pictures = [np.zeros((16, 16, 3), np.uint8)] * 120
    units = [str(number) for number in range(120)]
    lists = {"validation": [("a",)] * validation, "test": [("b",)]}
    return Produced(pictures, "drawing stripes", [("a",), ("b",)] * 60, lists, held_out, units, About(("a", "b")))


@pytest.mark.parametrize(
    ("held_out", "validation", "said"),
    [
        (range(120), 4, "Of the 120 images of stripes all would be held out"),
        ((), 4, "Of the 120 images of stripes none would be held out"),
        ((3,), 0, "The list validation of stripes has no conditions"),
    ],
)
def test_a_task_of_an_own_file_leaves_something_too(held_out, validation, said, tmp_path, monkeypatch):
    module = type("Stripes", (), {})()
    module.task = lambda source: Task("stripes", "class", 2, splits.ACCURACY, splits.LISTS, 264, 120)
    module.stored = lambda source: ("stripes", False)
    module.produce = lambda source, given, size: stripes(held_out, validation)
    monkeypatch.setattr(tasks, "module", lambda source: module)
    monkeypatch.setattr(tasks, "of", module.task)
    with pytest.raises(ValueError, match=said):
        list(images.prepare("stripes", None, 16, tmp_path))
    assert list(tmp_path.iterdir()) == []
