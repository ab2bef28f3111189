"""The seconds of sampling are those of a sampler that runs: what a first call costs is told apart."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sample import Net
from test_train import TINY, images_and_labels

from runners.ddpm import graphs, sample, trial
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import ExecutionContext
from runners.images import Images
from runners.process import heartbeat
from runners.tasks.iclevr.labels import ABOUT

CONFIG = TINY.replace(sampler="ddim(steps=6)", guidance_scale=2.0, sampling_seeds=2)
LISTS = {"test": [("red cube",), ("blue sphere",)] * 40, "unseen": [("green cube",)] * 6}


class Slow(Net):
    """Its first pass of each size takes .2 s, as cuDNN's search does."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.passes = 0

    def forward(self, x, t, c):
        if len(x) not in self.known:
            self.known.add(len(x))
            time.sleep(0.2)
        self.passes += len(x)
        return super().forward(x, t, c)


def drawn(network: torch.nn.Module) -> trial.Sampled:
    images, labels = images_and_labels(24)
    data = Images(images, labels, np.arange(24), np.arange(24), LISTS, "digest", ABOUT)
    evaluator = Evaluator(ResNet18(width=4, stem="half"), {})
    context = ExecutionContext("record", "cpu")
    one = trial._Trial(CONFIG, context, torch.device("cpu"), Path("a"), data, Path("b"), evaluator)
    events = trial.draw(one, trial.Trained(network, Path("c"), {"sha256": {"ema": "", "raw": ""}}))
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_search_of_kernels_is_not_sampling() -> None:
    """A pass of 86 images in chunks of 64 and 22: both sizes are searched before the clock starts."""
    network = Slow()
    found = drawn(network)
    assert network.known == {2 * 64, 2 * 22}
    assert found.warm_up_seconds > 0.4
    assert found.seconds < 0.4  # some ten milliseconds, and a busy machine
    assert found.passes == 12  # an image's, which the warm-up's are not among


def test_the_images_are_those_of_a_sampler_that_was_not_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn(Net())
    monkeypatch.setattr(sample, "warm_up", lambda *_: 0.0)
    for name, images in drawn(Net()).images.items():
        assert np.array_equal(images, found.images[name])


def test_the_recording_of_a_graph_is_not_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded:
        def __init__(self, function, device) -> None:
            self.function, self.calls = function, 0

        def __call__(self, *given):
            self.calls += 1
            if self.calls == graphs.WARM + 1:
                time.sleep(0.2)
                graphs.Replayed.seconds += 0.2
            return self.function(*given)

    monkeypatch.setattr(graphs, "replayed", Recorded)
    monkeypatch.setattr(graphs.Replayed, "seconds", 7.0)  # of trials before
    monkeypatch.setattr(sample, "WORTH_A_GRAPH", 5)
    found = drawn(Net())
    assert found.warm_up_seconds > 0.4
    assert found.seconds < 0.4


def test_who_warms_up_lives_and_what_lacks_memory_is_halved() -> None:
    class Cramped(Net):
        def forward(self, x, t, c):
            if len(x) > 20:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x, t, c)

    wanted = [sample.Wanted("test", LISTS["test"], torch.zeros(40, 24))]
    before = heartbeat.ticks()
    sample.warm_up(CONFIG, Cramped(), wanted, 2)
    assert heartbeat.ticks() - before == 2 * sample.WARM_UP
