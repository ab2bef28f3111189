"""Every file that a user names, in every way in which it cannot be read: one sentence that says which of them it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rights
import torch
from launch import ROOT, refused
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from runners.tasks.iclevr.labels import LABELS

SIDE, COUNT = 8, 104
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
NAMES = [f"{position:04d}.png" for position in range(COUNT)]
CLASSES = [f"c{position % 4}" for position in range(COUNT)]


# ---------------------------------------------------------------- files, as a user has them


def checkpoint(folder: Path) -> Path:
    torch.save({"model": {"fc.0.bias": torch.zeros(500)}}, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def old_checkpoint(folder: Path) -> Path:
    """In the form of torch before 1.6, as the course's file is."""
    path = folder / "checkpoint.pth"
    torch.save({"model": {"fc.0.bias": torch.zeros(5000)}}, path, _use_new_zipfile_serialization=False)
    return path


def script(folder: Path) -> Path:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 24))
    torch.jit.script(network).save(str(folder / "own.pt"))
    return folder / "own.pt"


def weights(folder: Path) -> Path:
    save_file({"fc.bias": torch.zeros(500)}, folder / "own.safetensors")
    return folder / "own.safetensors"


def flat(folder: Path) -> None:
    for name, image in zip(NAMES, IMAGES, strict=True):
        Image.fromarray(image).save(folder / name)


def table(folder: Path) -> Path:
    flat(folder)
    rows = [f"{name},{label}\n" for name, label in zip(NAMES, CLASSES, strict=True)]
    (folder / "metadata.csv").write_text("file_name,label\n" + "".join(rows))
    return folder / "metadata.csv"


def json_lines(folder: Path) -> Path:
    flat(folder)
    rows = [{"file_name": name, "label": label} for name, label in zip(NAMES, CLASSES, strict=True)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "metadata.jsonl"


def parquet(folder: Path) -> Path:
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    flat(folder)
    writer.write_table(arrow.table({"file_name": NAMES, "label": CLASSES}), folder / "metadata.parquet")
    return folder / "metadata.parquet"


def train_json(folder: Path) -> Path:
    flat(folder)
    labels = {name: ["cat", "dog"] if position % 3 else ["cat"] for position, name in enumerate(NAMES)}
    (folder / "train.json").write_text(json.dumps(labels))
    return folder / "train.json"


def clevr(folder: Path) -> Path:
    flat(folder)
    content = {
        "train": {name: [LABELS[position % 24]] for position, name in enumerate(NAMES)},
        "objects": {label: position for position, label in enumerate(LABELS)},
    }
    for name, value in (content | {"test": [[LABELS[0]]], "new_test": [[LABELS[1]]]}).items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder / "train.json"


def clevr_list(folder: Path) -> Path:
    return clevr(folder).with_name("new_test.json")


def image(folder: Path) -> Path:
    flat(folder)
    return folder / NAMES[2]


def archive(folder: Path) -> Path:
    np.savez(folder / "a.npz", x=IMAGES, y=np.arange(COUNT) % 4)
    return folder / "a.npz"


def idx(folder: Path) -> Path:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", COUNT, SIDE, SIDE) + IMAGES.tobytes())
    labels = (np.arange(COUNT) % 4).astype(np.uint8).tobytes()
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", COUNT) + labels)
    return path


def idx_labels(folder: Path) -> Path:
    return idx(folder).with_name("train-labels-idx1-ubyte")


def study(folder: Path) -> Path:
    shutil.copy(ROOT / "study" / "studies" / "null.py", folder / "my_study.py")
    return folder / "my_study.py"


EVALUATORS = [checkpoint, old_checkpoint, script, weights]
DATA = [table, json_lines, parquet, train_json, clevr, clevr_list, image, archive, idx, idx_labels]
FILES: list[Callable[[Path], Path]] = [*EVALUATORS, *DATA, study]


def command(make: Callable[[Path], Path], path: Path, record: Path) -> list[object]:
    line: list[object] = ["--scale", "smoke", "--devices", "cpu", "--per-device", "1", "--record", record]
    if make is study:
        return [*line, "--study", path]
    return [*line, "--study", "null", *(("--evaluator", path) if make in EVALUATORS else ("--data", path.parent))]


# ---------------------------------------------------------------- what makes them unreadable

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 44815714\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Virus scan warning</title></head><body>too large</body></html>\n"


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("moved-away")


WAYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no right": (rights.close, r"may not be read by you \(it belongs to \S+, mode (600|0)\): (ask|run)"),
    "a pointer of git LFS": (
        lambda path: path.write_bytes(POINTER),
        "is a pointer of git LFS, not the file itself: run `git lfs pull` in its repository",
    ),
    "a pointer of git-annex": (
        lambda path: path.write_bytes(b"/annex/objects/SHA256E-s44815714--4d4d.pth\n"),
        "is a pointer of git-annex, not the file itself: run `git annex get`",
    ),
    "a web page": (lambda path: path.write_bytes(PAGE), "is a web page, not the file that it leads to: download the"),
    "a refusal of a store": (
        lambda path: path.write_bytes(b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>'),
        r"is the error of a server \(AccessDenied\), not a file: download it again",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "is empty: download it or save it again"),
    "half of it": (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
        r"cut short|was never closed|have no label|names an image that is not|end too early",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_each_file_says_in_which_way_it_cannot_be_read(tmp_path, make, way):
    spoil, words = WAYS[way]
    (tmp_path / "given").mkdir()
    path = make(tmp_path / "given")
    spoil(path)
    with rights.unprivileged():
        done = refused(*command(make, path, tmp_path / "record"))
    if way == "half of it" and make is study:
        words = "cannot be read as a study"  # Python says where
    assert done.returncode == 2, done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert path.name in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Errno" not in done.stderr
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_closed_folder_is_named(tmp_path, make):
    folder = tmp_path / "given"
    folder.mkdir()
    path = make(folder)
    rights.close(folder)
    try:
        with rights.unprivileged():
            done = refused(*command(make, path, tmp_path / "record"))
    finally:
        rights.reopen(folder)
    assert done.returncode == 2, done.stderr
    words = rf"(lies in {folder}, which is closed to you|{folder} may not be read by you) \(it belongs to \S+, mode"
    assert re.search(words, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda path: path.mkdir(), "is a folder: "),
    "a pipe": (os.mkfifo, "is a pipe and no file: save what comes out of it, and give that file"),
    "a link to nothing": (lambda path: path.symlink_to("moved"), "is a link to moved, which is not there: put"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "is a link that leads back to itself: put"),
    "nothing": (lambda path: None, "There is no file"),
}


@pytest.mark.parametrize("name", ["checkpoint.pth", "own.safetensors", "own.pt", "my_study.py"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file(tmp_path, name, kind):
    make, words = SPECIAL[kind]
    make(tmp_path / name)
    option = ("--study",) if name.endswith(".py") else ("--study", "null", "--evaluator")
    done = refused(*option, tmp_path / name, "--scale", "smoke", "--devices", "cpu", "--record", tmp_path / "record")
    assert done.returncode == 2
    assert words in done.stderr
    assert str(tmp_path / name) in done.stderr


@pytest.mark.parametrize("kind", ["a pipe", "a link to itself"])
def test_data_that_is_no_file(tmp_path, kind):
    SPECIAL[kind][0](tmp_path / "a.npz")
    done = refused("--study", "null", "--data", tmp_path / "a.npz", "--scale", "smoke", "--devices", "cpu")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert SPECIAL[kind][1] in done.stderr


@pytest.mark.parametrize("option", ["--record", "--data", "--evaluator", "--study"])
def test_a_name_that_is_too_long(tmp_path, option):
    given = ("--study", "null", "--scale", "smoke", "--devices", "cpu", option, tmp_path / ("a" * 300))
    done = refused(*given)
    assert done.returncode == 2
    assert "has a name that is too long for this file system: rename it." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--record", "--data"])
def test_links_in_a_circle(tmp_path, option):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    done = refused("--study", "null", "--scale", "smoke", "--devices", "cpu", option, tmp_path / "a")
    assert f"{option} {tmp_path}/a is a link that leads back to itself: put the file itself there" in done.stderr


def test_a_socket_and_a_path_through_a_file(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "own.pt"))
        done = refused("--study", "null", "--scale", "smoke", "--devices", "cpu", "--evaluator", tmp_path / "own.pt")
    assert "own.pt is a socket and no file" in done.stderr
    (tmp_path / "file").write_text("x")
    done = refused("--study", "null", "--devices", "cpu", "--evaluator", tmp_path / "file" / "own.pt")
    assert f"own.pt is not there, since {tmp_path / 'file'} is a file and no folder: correct the path" in done.stderr


def test_a_tilde_that_no_shell_has_replaced(tmp_path):
    done = refused("--study", "null", "--scale", "smoke", "--devices", "cpu", "--evaluator", "~/checkpoint.pth")
    assert "There is no file ~/checkpoint.pth: a shell replaces ~ at the beginning of a word alone" in done.stderr


@pytest.mark.parametrize("text", ["Entry not found", "Invalid username or password."])
def test_a_text_in_the_place_of_a_download_is_repeated(tmp_path, text):
    (tmp_path / "own.safetensors").write_text(text)
    done = refused("--study", "null", "--devices", "cpu", "--evaluator", tmp_path / "own.safetensors")
    assert f"own.safetensors holds a text ('{text}') in the place of its content: download it again" in done.stderr


@pytest.mark.parametrize("program", ["study/run.py", "study/ui.py", "study.doctor", "analysis.report"])
@pytest.mark.skipif(not rights.HAS_SETPRIV, reason="takes root's rights over files from a process: needs root, setpriv")
def test_a_record_in_a_closed_folder(tmp_path, program):
    """In processes of their own, each as somebody starts it who may not enter the folder."""
    closed = tmp_path / "theirs"
    closed.mkdir()
    rights.close(closed)
    call = [program] if program.endswith(".py") else ["-m", program]
    more = ["--study", "null", "--scale", "smoke", "--devices", "cpu"] if program == "study/run.py" else []
    line = [*rights.WITHOUT, sys.executable, *call, *more, "--record", str(closed / "record")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    rights.reopen(closed)
    assert done.returncode == 2, done.stderr
    assert f"--record {closed}/record lies in {closed}, which is closed to you (it belongs to" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_experiment_whose_code_may_not_be_read(tmp_path):
    (tmp_path / "mine_closed").mkdir()
    (tmp_path / "mine_closed" / "__init__.py").write_text("Config = None\n")
    (tmp_path / "my_study.py").write_text(
        "from study.spec import StudySpec\n"
        "STUDY = StudySpec(question='?', factors={'lr': [1.0, 2.0]}, baseline={}, experiment='mine_closed')\n"
    )
    rights.close(tmp_path / "mine_closed" / "__init__.py")
    with rights.unprivileged():
        done = refused("--study", tmp_path / "my_study.py", "--devices", "cpu")
    assert done.returncode == 2
    assert "mine_closed/__init__.py may not be read by you" in done.stderr
