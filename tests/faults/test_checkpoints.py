"""Checkpoints: killed while one is written, or with a damaged one, a training goes on from a whole one."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_evaluator import CreatesFile
from tiny_trainings import (
    CPU,
    STEPS,
    Crash,
    empty,
    flip,
    notes_of,
    outcome,
    raise_after,
    shorten,
    turn,
)

from runners.ddpm import trainings
from runners.process import checkpoints, files


def in_a_child(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own; its exit code (0 when it came to its end)."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a fork must not wait for ever for a thread that it has not got
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def exit_in(owner: object, name: str, call: int = 1, before: bool = True) -> None:
    """End this process at the `call`-th call of a function, before it or after it."""
    function, calls = getattr(owner, name), iter(range(1, 10**6))

    def ending(*arguments, **keywords):
        last = next(calls) == call
        if last and before:
            os._exit(9)
        result = function(*arguments, **keywords)
        if last:
            os._exit(9)
        return result

    setattr(owner, name, ending)


def write_half(path: Path, parts: tuple[bytes, ...]) -> None:
    path.write_bytes(b"".join(parts)[: len(parts[1]) // 2])
    os._exit(9)


# The third checkpoint is written when the process ends; each one renames .partial, the newest and the next.
KILLS = {
    "before torch.save": lambda: exit_in(torch, "save", 3),
    "with half the file written": lambda: exit_in(checkpoints, "write_aside", 3),
    "in the middle of the file": lambda: setattr(checkpoints, "_write", write_half),
    "before it is forced to the disk": lambda: exit_in(os, "fsync", 9),
    "before it gets a name": lambda: exit_in(checkpoints, "_content", 2, before=False),
    "before the newest becomes the one before": lambda: exit_in(checkpoints, "sync_folder", 2, before=False),
    "between the two renames": lambda: exit_in(Path, "replace", 7),
}


@pytest.mark.parametrize("kill", KILLS)
def test_killed_while_a_checkpoint_is_written_it_goes_on_from_a_whole_one(undisturbed, tmp_path, monkeypatch, kill):
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    folder = tmp_path / STEPS.train_key

    def work() -> None:
        KILLS[kill]()
        list(turn(folder))

    assert in_a_child(work) == 9
    assert notes_of(folder) == []
    assert outcome(folder) == undisturbed
    assert sorted(path.name for path in folder.glob("*state*")) == []
    assert not list(folder.glob("*.partial"))


def plant_code(path: Path) -> None:
    """A pickle that runs code, with the digest that belongs to it."""
    content = pickle.dumps(CreatesFile(path.parent / "planted"))
    checkpoints._write(path, (hashlib.sha256(content).hexdigest().encode() + b"\n", content))


HARM = {"flipped": flip, "shortened": shorten, "empty": empty, "code": plant_code, "missing": Path.unlink}


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """A training that crashed half way, with both generations of its checkpoint."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("half") / STEPS.train_key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
        raise_after(patch, 30, Crash)
        with pytest.raises(Crash):
            list(turn(folder))
    return folder


def began_at(folder: Path) -> int:
    return int(files.read_lines(folder / trainings.STARTS)[-1]["images"])


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_is_not_used_but_the_one_before(undisturbed, half, tmp_path, harm):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    HARM[harm](folder / checkpoints.NEWEST)
    notes = notes_of(folder)
    if harm != "missing":
        assert len(notes) == 1
        assert "state.pt: " in notes[0]
        assert "goes on from the one at " in notes[0]
    assert 0 < began_at(folder) < 80
    assert not (folder / "planted").exists()
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("harm", HARM)
def test_with_both_damaged_it_begins_again_and_says_so(undisturbed, half, tmp_path, harm):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    for name in (checkpoints.NEWEST, checkpoints.PREVIOUS):
        HARM[harm](folder / name)
    notes = notes_of(folder)
    if harm != "missing":
        assert "state.previous.pt: " in notes[0]
        assert notes[0].endswith("the training begins again")
    assert began_at(folder) == 0
    assert not (folder / "planted").exists()
    assert outcome(folder) == undisturbed


def test_a_damaged_checkpoint_never_takes_the_place_of_the_whole_one_before(half, tmp_path):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    whole = (folder / checkpoints.PREVIOUS).read_bytes()
    flip(folder / checkpoints.NEWEST)
    state, _ = checkpoints.load(folder, CPU)
    assert state is not None
    checkpoints.save(folder, state)
    assert (folder / checkpoints.PREVIOUS).read_bytes() == whole
    assert checkpoints.load(folder, CPU)[1] == ""


def test_the_checkpoint_of_another_training_is_not_used(undisturbed, half, tmp_path):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    state, _ = checkpoints.load(folder, CPU)
    assert state is not None
    checkpoints.save(folder, state | {"train_key": "0" * 12})
    assert "another setting" in notes_of(folder)[0]
    assert outcome(folder) == undisturbed
