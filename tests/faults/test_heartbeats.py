"""A worker sends heartbeats while it gets things done, and saves its training when it is terminated."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_trainings import (
    CPU,
    ROOT,
    STEPS,
    TRIAL,
    Small,
    context,
    raise_after,
    tiny_evaluator,
    turn,
)

from runners.ddpm import sample, trainings, trial
from runners.evaluation import evaluator, recognition
from runners.process import checkpoints, heartbeat, protocol, worker


def test_a_worker_sends_heartbeats_while_it_gets_things_done_and_only_then(monkeypatch):
    told: list[object] = []
    waits = iter([3, 0, 2, 0, 0])  # pieces of work between two looks

    def sleep(seconds: float) -> None:
        assert seconds == 10
        for _ in range(next(waits)):
            heartbeat.tick()

    monkeypatch.setattr(worker.time, "sleep", sleep)
    with pytest.raises(StopIteration):
        worker.send_heartbeats(told.append, 10)
    assert told == [protocol.Heartbeat()] * 2


def count_ticks(work: Callable[[], object]) -> int:
    before = heartbeat.ticks()
    work()
    return heartbeat.ticks() - before


def test_training_and_sampling_count_as_life(tmp_path):
    c_NK = torch.zeros(1, 24)
    short = STEPS.replace(sampler="ddim(steps=5)")
    counts = {
        "a training": count_ticks(lambda: list(turn(tmp_path / STEPS.train_key))),
        "sampling": count_ticks(lambda: sample.sample_list(short, Small(), "test", [("red cube",)], c_NK, 1)),
    }
    assert counts == {"a training": 80 + 2 * (10 + 1), "sampling": 5}  # a point is sampled and scored


def test_every_batch_of_an_evaluator_counts_as_life():
    """A list of thousands of images on a slow device is no silence."""
    images = np.zeros((5, 16, 16, 3), np.uint8)
    model = tiny_evaluator().model
    assert count_ticks(lambda: recognition.probabilities(model, images, batch_size=2)) == 3


def test_an_evaluators_training_counts_as_life(record):
    config = TRIAL.replace(evaluator="stand_in(size='smoke')")
    other = dataclasses.replace(context(record), inputs={})
    events: list[object] = []
    scored = 2  # the held-out images, as they are and distorted
    assert count_ticks(lambda: events.extend(trial.prepare(config, other))) - scored == len(events) > 4
    assert evaluator.load(str(trial.evaluator_place(config, other))).facts["evaluator_kind"] == "stand-in"


def test_who_waits_for_a_lock_lives_and_can_be_stopped(tmp_path, monkeypatch):
    from runners.process.locks import lock

    monkeypatch.setattr("runners.process.locks.LOOK_SECONDS", 0.0)
    raise_after(monkeypatch, 5, heartbeat.Stopped)
    with lock(tmp_path / "lock"), pytest.raises(heartbeat.Stopped), lock(tmp_path / "lock", wait=True):
        pass


@pytest.mark.slow
def test_a_worker_that_is_terminated_saves_its_training_and_says_so(record):
    """SIGTERM in the middle of a training: a checkpoint, the message `Stopped`, exit code 143, and no half folder."""
    endless = TRIAL.replace(total_images=10**7, batch_size=8)
    job = protocol.Job("trial", 1, "ddpm", endless.to_dict(), context(record))
    process = subprocess.Popen(
        [sys.executable, "-m", "runners.process.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(protocol.encode(job) + "\n")
    process.stdin.flush()
    folder = record / "cache" / "trainings" / endless.train_key
    deadline = time.monotonic() + 60
    while not (folder / trainings.STARTS).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # of training; its first report would take minutes
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - told < 30  # a second on an idle machine
    assert protocol.decode(output.splitlines()[-1]) == protocol.Stopped(asked=False)
    state, complaint = checkpoints.load(folder, CPU)
    assert complaint == ""
    assert state is not None
    assert state["training"]["images"] > 0
    assert not list((record / "trials").iterdir())
