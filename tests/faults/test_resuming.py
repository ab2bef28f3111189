"""Interrupted at any moment and resumed, a training gives what the uninterrupted one gives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_trainings import (
    CPU,
    NEVER,
    STEPS,
    Crash,
    outcome,
    raise_after,
    turn,
)

from runners.ddpm import checkpoints, trainings
from runners.process import files, heartbeat


def in_turns(folder: Path, interrupt: Callable[[], None]) -> int:
    """Start again and again, `interrupt` being called before each start; how many turns it took."""
    for turns in range(1, 500):
        interrupt()
        with contextlib.suppress(Crash, heartbeat.Stopped):
            list(turn(folder))
            return turns
    raise AssertionError("it gets nowhere")


def test_stopped_after_any_step_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path, monkeypatch):
    """Every step, also one in the middle of a report, and every sampling step of a point of the curve."""
    ticks = iter([*range(1, 100, 3)])
    folder = tmp_path / STEPS.train_key
    turns = in_turns(folder, lambda: raise_after(monkeypatch, int(next(ticks)), heartbeat.Stopped))
    assert turns > 8
    assert outcome(folder) == undisturbed


def test_stopped_while_a_point_is_scored_it_scores_it_again(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / STEPS.train_key
    with monkeypatch.context() as patch:
        raise_after(patch, 39 + 10, heartbeat.Stopped)  # the steps before that of the point, its sampling
        with pytest.raises(heartbeat.Stopped):
            list(turn(folder))
    list(turn(folder))
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("seed", range(2))
def test_crashed_at_any_moment_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path, monkeypatch, seed):
    """Nothing is saved on the way out; the last checkpoint is from any time before, or there is none."""
    rng = np.random.default_rng(seed)

    def interrupt() -> None:
        monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0 if rng.random() < 0.7 else NEVER)
        raise_after(monkeypatch, int(rng.integers(1, 25)), Crash)

    folder = tmp_path / STEPS.train_key
    assert in_turns(folder, interrupt) > 3
    assert outcome(folder) == undisturbed


def test_closed_after_any_event_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path):
    folder = tmp_path / STEPS.train_key
    turns = 0
    while not trainings.finished(folder):
        turns += 1
        with contextlib.closing(turn(folder)) as events:
            for _ in range(2):  # the lines of the turns before, and one event more
                next(events, None)
    assert turns > 15
    assert outcome(folder) == undisturbed


def test_a_lost_curve_comes_back_from_the_checkpoint(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / STEPS.train_key
    raise_after(monkeypatch, 30, heartbeat.Stopped)
    with pytest.raises(heartbeat.Stopped):
        list(turn(folder))
    (folder / trainings.CURVE).write_text('{"images": 4, "lo')
    monkeypatch.undo()
    list(turn(folder))
    assert outcome(folder) == undisturbed


def test_a_score_is_not_written_twice(undisturbed, tmp_path, monkeypatch):
    """Stopped while a point is drawn, so that the checkpoint is older than the point; then killed right after the line
    of its score."""
    folder = tmp_path / STEPS.train_key
    with monkeypatch.context() as patch:
        raise_after(patch, 45, heartbeat.Stopped)  # 40 steps, and half of the sampling
        with pytest.raises(heartbeat.Stopped):
            list(turn(folder))
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "CHECKPOINT_SECONDS", NEVER)
        raise_after(patch, 11, Crash)  # in the step after the sampling and its score
        with pytest.raises(Crash):
            list(turn(folder))
    assert "accuracy/validation" in files.read_lines(folder / trainings.CURVE)[-1]
    list(turn(folder))
    scores = [line["images"] for line in files.read_lines(folder / trainings.CURVE) if "accuracy/validation" in line]
    assert scores == [40, 80]
    assert outcome(folder) == undisturbed


def test_pictures_that_an_older_version_left_waiting_are_scored(undisturbed, tmp_path, monkeypatch):
    """That version drew a point of the curve before its evaluator was there, and kept the pictures as a file."""
    folder = tmp_path / STEPS.train_key
    drawn: list[np.ndarray] = []
    own = trainings._validation_images
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "_validation_images", lambda *given: drawn.append(own(*given)) or drawn[-1])
        raise_after(patch, 60, heartbeat.Stopped)
        with pytest.raises(heartbeat.Stopped):
            list(turn(folder))
    state, _ = checkpoints.load(folder, CPU)
    lines = [line for line in state["lines"] if "accuracy/validation" not in line]
    checkpoints.save(folder, state | {"lines": lines})
    files.write_lines(folder / trainings.CURVE, lines)
    np.save(folder / "waiting-40-1.250.npy", drawn[0])
    np.save(folder / "waiting-80-2.500.npy", drawn[0])  # after the checkpoint: it is drawn again
    list(turn(folder))
    assert not list(folder.glob("waiting-*"))
    found = outcome(folder)
    assert sorted(found["curve"], key=str) == sorted(undisturbed["curve"], key=str)
    assert found["ema"] == undisturbed["ema"]
