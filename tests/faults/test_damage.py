"""Damaged files are never used: lines, data, evaluators, trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluator import CreatesFile
from tiny_trainings import (
    NAME,
    RENDERED,
    STEPS,
    TRIAL,
    context,
    data_folder,
    flip,
    raise_after,
    shorten,
    trial_folder,
    turn,
)
from torch import nn

from runners import images as scene_images
from runners.ddpm import trial, twins
from runners.evaluation import evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import Note
from runners.process import files, heartbeat

LINES = [{"images": 1}, {"images": 2}]
TORN = {
    "cut in a line": ('{"images": 1}\n{"images": 2}\n{"ima', LINES),
    "cut in a character": (b'{"images": 1}\n{"images": 2}\n{"name": "\xc3', LINES),
    "nothing": ("", []),
    "zeros, as after a power cut": (b'{"images": 1}\n\x00\x00\x00', LINES[:1]),
    "a number": ('{"images": 1}\n7\n', LINES[:1]),
}


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_line_ends_the_lines_and_spoils_no_later_one(tmp_path, torn):
    content, whole_lines = TORN[torn]
    path = tmp_path / "lines.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert files.read_lines(path) == whole_lines
    if torn != "a number":
        files.append_lines(path, [{"images": 3}])
        assert files.read_lines(path) == [*whole_lines, {"images": 3}]


def test_a_damaged_neighbour_fails_no_training(tmp_path):
    folder = tmp_path / STEPS.train_key
    list(turn(folder))
    for name, text in {"a": "{", "b": "[]", "c": "{}", "d": '{"sha256": 3}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "done.json").write_text(text)
    assert twins.same_weights(folder) is None


def change_label(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text().replace("red cube", "red sphere", 1))


DATA_HARM: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: flip(folder / "images.npy"),
    "half the pixels": lambda folder: shorten(folder / "images.npy"),
    "no pixels": lambda folder: (folder / "images.npy").unlink(),
    "a pickle": lambda folder: np.save(folder / "images.npy", np.array([CreatesFile(folder / "planted")])),
    "another label": change_label,
    "half an index": lambda folder: shorten(folder / "index.json"),
    "no index": lambda folder: (folder / "index.json").unlink(),
    "an index that is a list": lambda folder: (folder / "index.json").write_text("[]"),
}


@pytest.mark.parametrize("harm", DATA_HARM)
def test_damaged_data_are_never_used_and_made_again(record, harm):
    folder = data_folder(record)
    wanted = scene_images.open_images(folder)
    pixels = wanted.images_NHWC.tobytes()
    DATA_HARM[harm](folder)
    with pytest.raises(ValueError, match=r"damaged \(.*\): run the same command again\.") as error:
        scene_images.open_images(folder)
    assert "\n" not in str(error.value)
    assert list(scene_images.prepare(RENDERED, None, 16, record / "cache"))
    assert not (folder / "planted").exists()
    again = scene_images.open_images(folder)
    assert again.images_NHWC.tobytes() == pixels
    assert again.lists == wanted.lists
    assert np.array_equal(again.labels_NK, wanted.labels_NK)


def test_data_that_are_made_again_within_a_tick_of_the_clock_are_used(record):
    """What was found damaged had the time that the new files have, where a file system counts in seconds."""
    folder = data_folder(record)
    pixels = folder / "images.npy"
    flip(pixels)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    with pytest.raises(ValueError, match="is not what was written"):
        scene_images.open_images(folder)
    flip(pixels)
    os.utime(pixels, (1, 1))
    assert len(scene_images.open_images(folder).images_NHWC)


def test_a_damaged_evaluator_is_never_used(prepared, tmp_path):
    """Any byte of its header and of its weights, or of the digest beside it."""
    whole = (prepared / "cache" / NAME).read_bytes()
    path = tmp_path / NAME
    beside = evaluator.digest_file(path)
    shutil.copy(evaluator.digest_file(prepared / "cache" / NAME), beside)
    damaged = [whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :] for position in range(0, 900, 7)]
    for content in (*damaged, whole[:-1] + b"?", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged: delete it"):
            evaluator.load(str(path))
    path.write_bytes(whole)
    assert evaluator.load(str(path)).facts["evaluator_held_out_accuracy"] == 0.5
    shorten(beside)
    evaluator.load.cache_clear()  # another process
    with pytest.raises(ValueError, match="is damaged: delete it"):
        evaluator.load(str(path))


def test_another_evaluator_under_the_same_name_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": ResNet18().state_dict()}, path)
    digest = files.sha256(path)
    assert evaluator.load(str(path), f"checkpoint(sha256={digest!r})").facts["evaluator_sha256"] == digest
    evaluator.load.cache_clear()  # another process
    torch.save({"model": ResNet18().state_dict()}, path)
    with pytest.raises(ValueError, match="has changed since the study was started"):
        evaluator.load(str(path), f"checkpoint(sha256={digest!r})")


def test_a_complete_trial_lists_what_it_holds(done):
    folder = trial_folder(done)
    listed = files.read_json(folder / files.MANIFEST)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {files.MANIFEST}
    assert {"result.json", "config.json", "metrics.jsonl", "images/test/0.png"} <= set(listed)
    assert files.damaged(folder) == {}
    assert [path.name for path in (done / "trials").iterdir()] == [folder.name]


ARTIFACTS: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "a picture is gone": (lambda folder: (folder / "grid_test.png").unlink(), {"grid_test.png": "missing"}),
    "a picture has changed": (lambda folder: flip(folder / "images/test/3.png"), {"images/test/3.png": "changed"}),
    "a result is cut short": (lambda folder: shorten(folder / "result.json"), {"result.json": "changed"}),
    "a result is edited": (
        lambda folder: (folder / "result.json").write_text('{"accuracy/test": 1.0}'),
        {"result.json": "changed"},
    ),
    "the list is cut short": (lambda folder: shorten(folder / files.MANIFEST), {files.MANIFEST: "unreadable"}),
    "the list is a number": (lambda folder: (folder / files.MANIFEST).write_text("7"), {files.MANIFEST: "unreadable"}),
    "a figure came later": (lambda folder: (folder / "sheet.png").write_bytes(b"new"), {}),
    "no list, as of old, and half a result": (
        lambda folder: ((folder / files.MANIFEST).unlink(), shorten(folder / "result.json")),
        {"result.json": "unreadable"},
    ),
}


@pytest.mark.parametrize("case", ARTIFACTS)
def test_a_damaged_trial_is_found(done, tmp_path, case):
    folder = Path(shutil.copytree(trial_folder(done), tmp_path / "trial"))
    harm, wanted = ARTIFACTS[case]
    harm(folder)
    assert files.damaged(folder) == wanted


def test_a_trial_out_of_memory_counts_only_the_passes_that_gave_images(record, done, monkeypatch):
    """The proof that guidance took two forwards an image still holds."""
    forward = nn.Conv2d.forward

    def cramped(self, x):
        if self.in_channels == 27 and len(x) > 64:  # the diffusion network's first layer; two passes per image
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", cramped)
    events = list(trial.run(TRIAL, context(record)))
    texts = [event.text for event in events if isinstance(event, Note)]
    assert texts == ["out of memory: 32 images are sampled at once, not 64"]
    results = [files.read_json(trial_folder(root) / "result.json") for root in (record, done)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["network_evaluations"] == results[1]["network_evaluations"] == 4


def test_a_trial_that_is_stopped_leaves_its_training_and_no_half_folder(record, done, monkeypatch):
    raise_after(monkeypatch, 8, heartbeat.Stopped)
    with pytest.raises(heartbeat.Stopped):
        list(trial.run(TRIAL, context(record)))
    assert list((record / "trials").iterdir()) == []
    monkeypatch.undo()
    list(trial.run(TRIAL, context(record)))
    names = ("accuracy/test", "accuracy/validation", "weights_sha256", "diversity")
    results = [files.read_json(trial_folder(root) / "result.json") for root in (record, done)]
    assert [results[0][name] for name in names] == [results[1][name] for name in names]
