"""A full disk fails a training or a trial in one sentence, and spoils nothing."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tiny_trainings import (
    NAME,
    RECIPE,
    RENDERED,
    STEPS,
    TRIAL,
    context,
    notes_of,
    outcome,
    tiny_evaluator,
    trial_folder,
    turn,
)

from runners import images as scene_images
from runners.ddpm import trainings, trial
from runners.evaluation import evaluator
from runners.process import checkpoints, files, worker


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A real file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # its arrays may still be mapped


def whole_or_absent(folder: Path) -> None:
    """Every file under its own name can be read."""
    assert not list(folder.rglob("*.partial"))
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            files.read_json(path)
        elif path.name == trainings.CURVE:
            assert len(files.read_lines(path)) == len(path.read_text().splitlines())
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".pt":
            checkpoints._content(path)
        elif path.suffix == ".npy":
            np.load(path)


# Kilobytes that are left: a checkpoint of this training has 33, its weights 6 each, a curve 12.
@pytest.mark.parametrize("left", [0, 24, 40, 76])
def test_a_full_disk_fails_a_training_in_one_sentence_and_spoils_nothing(undisturbed, disk, monkeypatch, left):
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    folder = disk / STEPS.train_key
    folder.mkdir()
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - left * 1024))
    with pytest.raises(Exception, match="No space left on device") as error:
        list(turn(folder))
    status, text = worker.explain(error.value)
    assert status == "failed"
    assert text.startswith("the disk is full (")
    assert text.endswith("make space and run the same command again.")
    assert "\n" not in text
    whole_or_absent(folder)
    filler.unlink()
    assert notes_of(folder) == []
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("left", [100, 300])
def test_a_full_disk_fails_a_trial_and_leaves_no_half_folder(done, disk, left):
    """The training is there: it is the pictures that do not fit."""
    record = Path(shutil.copytree(done, disk / "record"))
    shutil.rmtree(record / "trials")
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - left * 1024))
    with pytest.raises(Exception, match="No space left on device") as error:
        list(trial.run(TRIAL, context(record)))
    assert worker.explain(error.value)[1].startswith("the disk is full (")
    assert list((record / "trials").iterdir()) == []
    whole_or_absent(record / "cache")
    filler.unlink()
    list(trial.run(TRIAL, context(record)))
    assert files.damaged(trial_folder(record)) == {}


def test_a_full_disk_takes_no_half_line(disk):
    """The file's last page has room for a part of the line."""
    path = disk / "lines.jsonl"
    files.append_lines(path, [{"images": 1, "text": "x" * 4000}])
    with (disk / "filler").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(10**7))
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        files.append_lines(path, [{"images": 2, "text": "y" * 400}])
    assert path.read_bytes() == before


def test_a_full_disk_leaves_no_half_data_and_no_half_evaluator(disk):
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 40 * 1024))
    with pytest.raises(OSError, match=r"No space left|requested and") as error:
        list(scene_images.prepare(RENDERED, None, 16, disk / "cache"))
    assert files.disk_full(error.value)
    with pytest.raises(Exception, match="No space left") as error:
        evaluator.save(disk / "cache" / NAME, tiny_evaluator().model, RECIPE, {"accuracy": 0.5})
    assert files.disk_full(error.value)
    assert sorted(path.name for path in disk.rglob("*")) == ["cache", "filler"]
