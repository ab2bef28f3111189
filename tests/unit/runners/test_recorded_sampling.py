"""Sampling in steps that are recorded once, in batches that lists share, with noise that is drawn ahead."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sample import CONDITIONS, SHAPE, Net, conditions
from test_train import TINY
from torch.fx.experimental.proxy_tensor import make_fx

from runners.ddpm import execution, graphs, noise, sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.trial import build_model
from runners.process import png

CPU = torch.device("cpu")
LONG = TINY.replace(total_images=execution.WORTH_MEASURING * TINY.batch_size)
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(execution, "_chosen", {})


class Recorded:
    """What a CUDA graph does, on a CPU: the operations of one call, replayed on whatever later calls give."""

    def __init__(self, function, device) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *given):
        self.calls += 1
        if self.calls <= graphs.WARM:
            return self.function(*given)
        if self.calls == graphs.WARM + 1:
            self.recorded = make_fx(self.function)(*(value.clone() for value in given))
        return self.recorded(*given)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim(eta=0.5, steps=40)", "ddim(steps=40)"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_a_recorded_step_samples_and_counts_the_same(monkeypatch, sampler: str, scale: float) -> None:
    config = TrialConfig(image_size=8, timesteps=60, sampler=sampler, guidance_scale=scale, prediction="v")
    wanted = [sample.Wanted("test", [labels for _, labels in CONDITIONS], conditions())]
    (plain,) = sample.sample_parts(config, Net(), wanted, 2)
    monkeypatch.setattr(graphs, "replayed", Recorded)
    (recorded,) = sample.sample_parts(config, Net(), wanted, 2)
    assert np.array_equal(plain.images_BHWC, recorded.images_BHWC)
    steps = 60 if sampler == "ddpm" else 40
    # Recording runs the step once more here; a GPU records without running it.
    again = 2 * len(CONDITIONS) * (2 if scale == 2.5 else 1)
    assert plain.passes == again * steps
    assert recorded.passes == again * (steps + 1)


def test_lists_and_seeds_go_together_and_come_back_apart() -> None:
    """However they are cut into batches, each image is the one of its list, condition and seed."""
    config = TrialConfig(image_size=8, timesteps=20, sampler="ddpm", guidance_scale=2.0)
    names = [labels for _, labels in CONDITIONS]
    wanted = [sample.Wanted("a", names * 2, conditions().repeat(2, 1)), sample.Wanted("b", names[:1], conditions()[:1])]
    alone = {each.name: sample.sample_list(config, Net(), *vars(each).values(), 3) for each in wanted}
    for chunk in (1, 4, 7, 100):
        parts = list(sample.sample_parts(config, Net(), wanted, 3, chunk))
        assert [part.done for part in parts] == [min(15, chunk * k) for k in range(1, len(parts) + 1)]
        together = sample.gathered(parts, wanted, 3)
        assert {name: images.shape[:2] for name, images in together.items()} == {"a": (3, 4), "b": (3, 1)}
        for name, images in together.items():
            assert np.array_equal(images, alone[name]), (name, chunk)


def test_in_a_real_network_who_shares_its_batch_moves_an_image_by_rounding_alone() -> None:
    config = TINY.replace(sampler="ddim(steps=4)", guidance_scale=2.0)
    network = build_model(config).eval()
    names = [labels for _, labels in CONDITIONS]
    wanted = [sample.Wanted("a", names, conditions()), sample.Wanted("b", names * 2, conditions().repeat(2, 1))]
    together = sample.gathered(list(sample.sample_parts(config, network, wanted, 2)), wanted, 2)
    for each in wanted:
        alone = sample.sample_list(config, network, *vars(each).values(), 2, chunk=1)
        assert np.abs(together[each.name].astype(int) - alone).max() <= 1


def test_noise_that_is_drawn_ahead_is_the_same_noise() -> None:
    """ "meta" stands for a device that is not this processor: a thread draws for it."""
    drawn = []

    class Seen(noise.KeyedNoise):
        def draw(self, shape):
            drawn.append(super().draw(shape))
            return drawn[-1]

    with noise.ahead(Seen("test", CONDITIONS, 0), SHAPE, 9, torch.device("meta")) as draws:
        assert next(draws).device.type == "meta"
        time.sleep(0.2)
        assert 1 < len(drawn) <= 1 + noise.AHEAD
        assert len(list(draws)) == 8
    plain = noise.KeyedNoise("test", CONDITIONS, 0)
    assert len(drawn) == 9
    assert all(torch.equal(ahead, plain.draw(SHAPE)) for ahead in drawn)


def test_who_stops_sampling_leaves_no_thread_behind() -> None:
    class Slow(noise.KeyedNoise):
        def draw(self, shape):
            time.sleep(1)
            return super().draw(shape)

    with noise.ahead(Slow("test", CONDITIONS, 0), SHAPE, 1000, torch.device("meta")) as draws:
        next(draws)
        start = time.perf_counter()
    assert time.perf_counter() - start < 2  # the draw that was begun, not the three that wait
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("noise")]


def test_pictures_are_there_when_the_block_ends_and_an_error_is_not_lost(tmp_path: Path) -> None:
    gray = np.full((4, 4, 3), 100, np.uint8)
    with png.aside() as later:
        for number in range(5):
            later(partial(png.save, tmp_path / f"{number}.png", gray))
    assert len(list(tmp_path.glob("*.png"))) == 5
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), png.aside() as later:
        later(partial(png.save, tmp_path / "file" / "x.png", gray))
