"""What is measured before a study is what will run: flags, images on the device, sampling in its chunks, evaluator."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_train import TINY
from test_trainings import scenes, small_evaluator

from runners import experiment
from runners.ddpm import execution, graphs, manipulation_check, pilot, trial
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import Execution
from runners.evaluation import recognition
from runners.experiment import ExecutionContext
from runners.process import benchmark, device
from study.design.scales import SCALES
from study.scheduling import devices

CPU = torch.device("cpu")
CONFIG = TINY.replace(
    sampler="ddim(steps=4)", guidance_scale=2.0, total_images=4000, evaluator="stand_in(size='smoke')"
)


class Spy(torch.nn.Module):
    """Notes how many images each pass has, apart for training and sampling."""

    seen: ClassVar[dict[bool, list[int]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, t, c):
        self.seen[torch.is_grad_enabled()].append(len(x))
        return x * self.weight


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(Spy, "seen", {True: [], False: []})
    monkeypatch.setattr(execution, "_chosen", {})


def test_sampling_has_the_share_that_it_has_in_a_trial() -> None:
    """4,000 images are trained on, and 264 guided ones sampled in 4 steps: 2,112 passes."""
    steps = pilot.trial_steps(CONFIG, Spy(), CPU, Execution())
    trained, sampled = Spy.seen[True], Spy.seen[False]
    assert trained == [8] * benchmark.WARM_STEPS
    assert sampled == [2 * 64] * (graphs.WARM + 2)  # a chunk of this device, guided; so often that a graph is recorded
    for seen in Spy.seen.values():
        seen.clear()
    assert set(islice(steps, 500)) == {8}
    passes = manipulation_check.network_evaluations(CONFIG) * CONFIG.task.conditions
    assert (sum(trained), passes) == (4000, 2112)
    assert sum(sampled) == passes // 128 * 128
    assert set(sampled) == {128}


def test_an_unguided_trial_samples_half_as_much() -> None:
    steps = pilot.trial_steps(CONFIG.replace(guidance_scale=1.0), Spy(), CPU, Execution())
    Spy.seen[False].clear()
    list(islice(steps, 500))
    assert sum(Spy.seen[False]) == 264 * 4 // 64 * 64


@pytest.mark.parametrize("evaluator", ["stand_in(size='smoke')", "checkpoint(sha256='a')"])
def test_the_evaluator_sees_a_chunk_of_images(monkeypatch: pytest.MonkeyPatch, evaluator: str) -> None:
    seen: list[tuple[int, int, torch.device]] = []

    def probabilities(model, images_NHWC, on):
        seen.append((model.fc[0].in_features, len(images_NHWC), on))

    monkeypatch.setattr(recognition, "probabilities", probabilities)
    pilot.trial_steps(CONFIG.replace(evaluator=evaluator), Spy(), CPU, Execution())
    assert seen == [(512 if "checkpoint" in evaluator else 64, 64, CPU)]


def test_a_gpu_holds_as_many_images_as_the_data_have() -> None:
    """The device "meta" stands for a GPU. A gather from some batches would be one from the cache."""
    meta = torch.device("meta")
    for config, count in (
        (TINY.replace(data="rendered(scenes=1000)"), 3000),
        (TINY.replace(data="rendered"), 18_009),
        (TINY.replace(data="folder(digest='0123456789ab')"), 18_009),
        (TINY.replace(data="rendered(scenes=34)", batch_size=50), 200),
    ):
        images, labels, rows = pilot.noise(config, meta)
        assert (len(images), len(labels), len(rows)) == (count, count, count)
        assert (labels.sum(1) == 1).all()
    assert len(pilot.noise(TINY, CPU)[0]) == 4 * TINY.batch_size


def test_what_a_trial_measures_are_its_own_images(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple] = []
    monkeypatch.setattr(execution, "choose", lambda *arguments: given.append(arguments) or execution.Choice())
    monkeypatch.setattr("runners.images.open_images", lambda path: scenes())
    monkeypatch.setattr("runners.evaluation.evaluator.load", lambda *_: small_evaluator())
    context = ExecutionContext(str(tmp_path), "cpu", inputs={"evaluator": "none"}, curve_points=1)
    list(trial.train(trial._begun(TINY, context)))
    (arguments,) = given
    for found, wanted in zip(arguments[-2], (scenes().images_NHWC, scenes().labels_NK, np.arange(24)), strict=True):
        assert np.array_equal(found, wanted)


def test_the_choice_of_an_execution_trains_on_what_it_is_given() -> None:
    images, labels, rows = pilot.noise(TINY, CPU)
    read: list[int] = []

    class Read(np.ndarray):
        def __getitem__(self, index):
            read.append(len(np.atleast_1d(index)))
            return np.asarray(super().__getitem__(index))

    measured = execution.Benchmark(TINY, Spy(), CPU, (images.view(Read), labels, rows))
    assert measured.rate(Execution())[0] > 0
    assert set(read) == {TINY.batch_size}
    assert len(read) == 1 + benchmark.WARM_STEPS + execution.TIMED_STEPS


class Fake:
    """An experiment of one step, which notes the flags that it is measured under."""

    Config = TrialConfig
    seen: ClassVar[list[str]] = []

    def steps(self, config: TrialConfig, name: str, how: str) -> tuple[str, Iterator[int]]:
        self.seen.append(device.arithmetic())

        def work() -> Iterator[int]:
            while True:
                self.seen.append(device.arithmetic())
                yield 1

        return how, work()


@pytest.mark.parametrize("deterministic", ["yes", "no"])
def test_workers_are_measured_under_the_flags_of_a_trial(monkeypatch, capsys, deterministic: str) -> None:
    monkeypatch.setattr(Fake, "seen", [])
    monkeypatch.setattr(experiment, "find", lambda name: Fake())
    monkeypatch.setattr(sys, "argv", ["", "fake", json.dumps(TINY.to_dict()), "cpu", "1", "plain", deterministic])
    monkeypatch.setattr(sys, "stdin", io.StringIO("0.001\n"))
    benchmark.main()
    with device.algorithms(deterministic == "yes"):
        assert set(Fake.seen) == {device.arithmetic()}
    ready, answer = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert set(ready) == {"execution", "memory_mb", "held_mb", "used_mb", "capacity_mb"}
    assert answer["images"] > 0


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_launch_says_which_flags_a_trial_will_have(monkeypatch, deterministic: bool) -> None:
    class Started(Exception):
        pass

    def started(line: list[str], **_: object) -> None:
        raise Started(line[-1])

    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(Started, match="yes" if deterministic else "no"):
        devices.benchmark("ddpm", SCALES["smoke"].config, "cpu", deterministic=deterministic)
