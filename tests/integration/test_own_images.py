"""Studies on images of the user's own and on the built-in digits, started as a user starts them."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN, refused
from PIL import Image
from test_recipes import run as run_in
from test_recipes import tree

from runners.ddpm.config import TrialConfig
from runners.process.files import read_json
from study.record import reader

__all__ = ["tree"]  # a fixture

SMOKE = ("--scale", "smoke", "--devices", "cpu", "--per-device", "1")
TIMED = re.compile(r"seconds|images_per_second|peak_memory|packed")
CUBES = re.compile(r"\b(cubes?|spheres?|cylinders?|colou?rs?|scenes?|objects?|clevr)\b", re.IGNORECASE)


def launch(record: Path, *arguments: object, drawn: bool = False, code: int = 0) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "study/run.py", *SMOKE, "--record", record, *arguments]
    environment = None if drawn else UNDRAWN
    done = subprocess.run(
        [str(word) for word in line], cwd=ROOT, capture_output=True, text=True, timeout=900, env=environment
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr
    return done


def grey(count: int = 160, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Four classes, each bright in another quarter, with noise: uint8 (N, side, side), and the class of each."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    images = rng.integers(0, 80, (count, side, side))
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        image[half * (label // 2) :, half * (label % 2) :][:half, :half] += 150
    return images.astype(np.uint8), labels


def class_folders(root: Path) -> Path:
    for number, (image, label) in enumerate(zip(*grey(), strict=True)):
        (root / f"{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / f"{label}" / f"z{199 - number}.png")
    return root


def metadata(root: Path) -> Path:
    root.mkdir()
    lines = []
    for number, (image, label) in enumerate(zip(*grey(), strict=True)):
        Image.fromarray(image).save(root / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "label": str(label)}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def idx(root: Path) -> Path:
    root.mkdir()
    images, labels = grey()
    heads = {
        "train-images-idx3-ubyte.gz": np.array([0x00000803, *images.shape], ">i4").tobytes() + images.tobytes(),
        "train-labels-idx1-ubyte.gz": np.array([0x00000801, len(labels)], ">i4").tobytes()
        + labels.astype(np.uint8).tobytes(),
    }
    for name, content in heads.items():
        (root / name).write_bytes(gzip.compress(content))
    return root


COPIES = {"class folders": class_folders, "metadata.jsonl": metadata, "IDX": idx}


@pytest.mark.long
def test_copies_of_one_set_have_the_same_numbers(tmp_path):
    found = {}
    for name, make in COPIES.items():
        record = tmp_path / f"record of {name}"
        launch(record, "--study", "null", "--data", make(tmp_path / name))
        rows = reader.load("null", record)
        assert set(rows["data"]) == {rows["data"].iloc[0]}
        assert rows["data"].iloc[0].startswith("classes(digest=")
        results = {path.parent.name: read_json(path) for path in (record / "trials").glob("*/result.json")}
        found[name] = {
            key: {name: value for name, value in result.items() if not TIMED.search(name)}
            for key, result in results.items()
        }
        assert len(found[name]) == 2
    first, *others = found.values()
    assert all(other == first for other in others)


def words(page: Path) -> str:
    """What a reader of a page sees: no markup, no script, no pictures, no digests."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", text)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """The record of the schedules study on the built-in digits, with its page."""
    record = tmp_path_factory.mktemp("digits") / "record"
    launch(record, "--study", "schedules", "--set", "data=digits", drawn=True)
    return record


@pytest.mark.long
def test_digits_have_a_page_in_their_own_words(digits):
    (page,) = digits.glob("studies/*/report/index.html")
    text = words(page)
    assert not sorted({match.group(0).lower() for match in CUBES.finditer(text)} - {"shape"})
    assert "not drawn" not in text
    names = {path.stem for path in (page.parent / "figures").glob("*.png")}
    assert {"class_grid", "confusion", "accuracy_by_class", "feature_map"} <= names
    study = reader.load_study("schedules", digits)
    assert study.task is not None
    assert (study.task.name, study.task.kind, study.metric) == ("digits", "class", "accuracy/validation")
    (trial, *_) = digits.glob("trials/*/task.json")
    assert read_json(trial)["labels"] == list("0123456789")
    result = read_json(trial.with_name("result.json"))
    assert (result["chance/test"], result["objects/validation"], result["objects/test"]) == (0.1, 64, 200)
    assert not set(result) & set(TrialConfig.types())  # a row of the record has both
    assert {"kid", "improved_precision", "coverage", "diversity_features", "evaluator_ece"} <= set(result)


@pytest.mark.long
def test_images_without_labels(tmp_path):
    """An unconditional model, judged by KID, of which less is better; labels that are there are left out."""
    images, labels = grey()
    np.savez(tmp_path / "faces.npz", x=images, y=labels)
    record = tmp_path / "record"
    own = ("--data", tmp_path / "faces.npz", "--task", "images")
    done = launch(record, "--study", "schedules", "report_r3_ddim", *own, drawn=True)
    assert "160 images without labels" in done.stderr
    rows = reader.load("schedules", record)
    assert set(rows["drop_probability"]) == {0.0}
    assert (rows["images/validation"] == 256).all()
    assert "accuracy/validation" not in rows
    study = reader.load_study("schedules", record)
    assert (study.metric, study.margin) == ("kid/validation", None)
    best = rows.loc[rows["kid/validation"].idxmin(), "arm"]
    assert f"in KID/validation the best arm is {best}" in done.stdout
    names = {path.stem for path in record.glob("studies/schedules*/report/figures/*.png")}
    assert not {"class_grid", "confusion", "accuracy_by_class", "failures"} & names
    (steps, *_) = record.glob("trials/*/interpolation.csv")
    lines = steps.read_text().splitlines()
    assert lines[0] == "mix,condition,step,pixels,features"
    assert [line.split(",")[0] for line in lines[1:]] == ["slerp"] * 10 + ["lerp"] * 10
    eta = reader.load("report_r3_ddim", record)
    assert sorted(eta["sampler"]) == sorted(
        f"ddim(clipped_eps=True, {eta}steps=2)" for eta in ("", "eta=0.25, ", "eta=0.5, ", "eta=0.75, ", "eta=1.0, ")
    )
    assert eta["train_key"].nunique() == 1
    # Questions about labels are refused, with those that make sense; all of them are left out of "all".
    refusal = refused("--study", "guidance", *SMOKE, "--record", record, *own)
    assert refusal.returncode == 2
    assert (
        "these are images without labels. Write --study with one of null, objective, report_r3_ddim" in refusal.stderr
    )
    every = refused("--study", "all", *SMOKE, "--record", record, *own, "--dry-run")
    assert every.returncode == 0
    assert "guidance is left out: it is about images with sets of labels" in every.stderr
    assert (
        "note: margin=0.05 of the study is a difference of shares, and KID is none: it does not count" in every.stdout
    )


@pytest.mark.long
def test_sets_of_labels(tmp_path):
    """i-CLEVR's form with other labels: train.json, objects.json in an order of its own, test.json."""
    images, labels = grey()
    sets = [["left", "top"], ["right", "top"], ["left"], ["right"]]
    names = [f"{number}.png" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    files = {
        "train": {name: sets[label] for name, label in zip(names, labels, strict=True)},
        "objects": {"top": 0, "left": 1, "right": 2},
        "test": [["top"], ["left", "right"]],
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    record = tmp_path / "record"
    done = launch(record, "--study", "guidance", "--data", tmp_path)
    assert "160 images" in done.stderr
    rows = reader.load("guidance", record)
    assert set(rows["state"]) == {"complete"}
    assert (rows["objects/test"] == 3).all()
    assert {"spurious/test", "exact/validation", "accuracy_2_objects/test"} <= set(rows)
    assert not [name for name in rows if "_only/" in name]


TASK = '''"""Stripes, across or down: the smallest task there is."""

import numpy as np

from runners import splits
from runners.config import Call
from runners.contents import About, Produced
from runners.experiment import Task

LABELS = ("across", "down")


def task(source):
    return Task("stripes", "class", 2, splits.ACCURACY, splits.LISTS, 264, 200)


def stored(source):
    return "stripes", False


def produce(source, given, image_size):
    rng = np.random.default_rng(0)
    across = rng.integers(0, 256, (200, image_size, 1, 3), dtype=np.uint8).repeat(image_size, 2)
    pictures = [image if i % 2 == 0 else image.swapaxes(0, 1) for i, image in enumerate(across)]
    units = [str(i) for i in range(200)]
    conditions = [(LABELS[i % 2],) for i in range(200)]
    lists = splits.class_lists(LABELS)
    return Produced(pictures, "drawing stripes", conditions, lists, splits.held_out(units), units, About(LABELS))
'''


@pytest.mark.long
def test_a_task_is_one_file(tree):
    (tree / "runners/tasks/stripes.py").write_text(TASK)
    record = tree / "record"
    run_in(tree, "study/run.py", "--study", "null", *SMOKE, "--record", record, "--set", "data=stripes")
    rows = reader.load("null", record)
    assert set(rows["state"]) == {"complete"}
    assert (rows["chance/test"] == 0.5).all()


# --- bad input ---------------------------------------------------------------------------------------


def two_classes(root: Path, sizes: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (sum(sizes), 8, 8, 3), dtype=np.uint8)
    position = 0
    for label, size in enumerate(sizes):
        (root / f"kind {label}").mkdir(parents=True)
        for number in range(size):
            Image.fromarray(images[position]).save(root / f"kind {label}" / f"{number}.png")
            position += 1


@pytest.mark.parametrize(
    ("sizes", "more", "said"),
    [
        ((120,), (), "one class"),
        ((120, 7), (), "kind 1"),
        ((120, 20), ("--evaluator", "net:build"), "no code of a user's is run"),
        ((120, 20), ("--evaluator", "checkpoint.pth"), "There is no file checkpoint.pth"),
        ((120, 20), ("--set", "data=digits"), "leave one of them out"),
        ((120, 20), ("--task", "faces"), "--task faces is unknown"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(sizes, more, said, tmp_path):
    two_classes(tmp_path / "images", sizes)
    record = tmp_path / "record"
    study = ("--study", "schedules", *SMOKE, "--record", record, "--data", tmp_path / "images")
    done = refused(*study, *more)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("run.py: ")
    assert said in last
    assert not record.exists()


@pytest.mark.parametrize("option", [("--task", "classes"), ("--allow-unlabelled",)])
def test_options_about_images_want_images(option, tmp_path):
    done = refused("--study", "schedules", *SMOKE, "--record", tmp_path / "record", *option)
    assert (done.returncode, "add --data PATH" in done.stderr) == (2, True)


# --- many images -------------------------------------------------------------------------------------


def resident(pid: int) -> int:
    """Bytes of a process and its descendants, pages that they share counted once (PSS)."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE).group(1))
            children = [path.read_text() for path in Path(f"/proc/{one}/task").glob("*/children")]
            waiting += [int(child) for text in children for child in text.split()]
        except (OSError, AttributeError):  # it has ended
            continue
    return total


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_50_000_images_of_200_classes_stay_under_2_gib(tmp_path):
    """614 MB of pixels, prepared, trained on, scored and reported by one worker."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50_000, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", x=images, y=np.arange(50_000) % 200)
    del images
    record = tmp_path / "record"
    line = [
        sys.executable,
        "study/run.py",
        *SMOKE,
        "--record",
        record,
        "--study",
        "null",
        "--data",
        tmp_path / "many.npz",
    ]
    line += ["--set", "image_size=64", "--per-device", "1"]
    running = subprocess.Popen([str(word) for word in line], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    most = 0
    while running.poll() is None:
        most = max(most, resident(running.pid))
        time.sleep(0.5)
    output = running.stdout.read().decode()
    assert running.returncode == 0, output[-3000:]
    assert "50,000 images in 200 classes" in output
    assert most < 2 << 30, f"{most / 2**30:.2f} GiB"
    shutil.rmtree(tmp_path)
