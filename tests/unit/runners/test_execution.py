"""Channels last, compiled, recorded, ahead: however a step is executed, its numbers are those of the plain one."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sample import CONDITIONS, SHAPE, Net, conditions
from test_train import PINNED_LOSSES, TINY, images_and_labels
from torch.fx.experimental.proxy_tensor import make_fx

from runners.ddpm import execution, graphs, noise, sample, train
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import Execution
from runners.ddpm.train import Training
from runners.ddpm.trial import build_model
from runners.process import png
from study.design import cost, plan, registry
from study.design.scales import SCALES

CPU = torch.device("cpu")
LONG = TINY.replace(total_images=execution.WORTH_MEASURING * TINY.batch_size)
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(execution, "_chosen", {})


def trained(chosen: Execution, config: TrialConfig = TINY, device: torch.device = CPU) -> tuple[Training, list[float]]:
    training = Training(config, build_model(config), device, chosen)
    reports = train.train(training, *images_and_labels(24), config.batch_size)
    return training, [progress.loss for progress in reports if progress]


# --- training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["fp32", "bf16", "bf16_copy"])
def test_channels_last_trains_the_same(at: str) -> None:
    training, losses = trained(Execution(channels_last=True), TINY.replace(precision=at))
    assert training.network.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(losses, PINNED_LOSSES, rtol=1e-3)
    assert all(value.is_contiguous() for which in ("raw", "ema") for value in training.weights(which).values())


def test_a_checkpoint_of_one_memory_format_goes_on_in_another() -> None:
    first, _ = trained(Execution(), TINY)
    second = Training(TINY, build_model(TINY), CPU, Execution(channels_last=True))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    weight = second.model.unet.conv_in.weight
    assert second.optimizer.state[weight]["exp_avg"].stride() == weight.stride()
    for which in ("raw", "ema"):
        for name, value in first.weights(which).items():
            assert torch.equal(second.weights(which)[name], value), name
    for _ in train.train(second, *images_and_labels(24)):
        pass


def test_compiled_it_trains_the_same_and_a_second_training_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler's front end alone: the real one takes a minute and needs a C++ compiler."""
    graphs_made = []

    def backend(module, inputs):
        graphs_made.append(module)
        return module.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    _, losses = trained(Execution(compiled=True))
    np.testing.assert_allclose(losses, PINNED_LOSSES, rtol=1e-3)
    assert len(graphs_made) == 1  # no graph break
    trained(Execution(compiled=True), TINY.replace(seed=3))
    assert len(graphs_made) == 1


def test_everything_that_changes_from_step_to_step_is_an_argument_of_the_recorded_one() -> None:
    """A recording of one batch, given another one, computes what the step computes."""
    training = Training(TINY, build_model(TINY), CPU)
    generator = torch.Generator().manual_seed(0)

    def batch() -> tuple[torch.Tensor, ...]:
        x0, eps = (torch.randn(8, 3, 16, 16, generator=generator) for _ in range(2))
        return x0, eps, torch.randint(1000, (8,), generator=generator), torch.eye(24)[:8]

    recorded = make_fx(training.whole)(*batch())
    for _ in range(2):
        given = batch()
        for ours, wanted in zip(recorded(*given), training.whole(*given), strict=True):
            torch.testing.assert_close(ours, wanted)


def test_a_training_that_is_over_leaves_no_memory() -> None:
    """Not even until the garbage collector comes: a graph would keep all activations of a batch."""
    gc.disable()
    try:
        training, _ = trained(Execution(graphed=True))
        gone = weakref.ref(training)
        del training
        assert gone() is None
    finally:
        gc.enable()


# --- the choice ----------------------------------------------------------------------------------------


def test_on_a_cpu_and_for_a_short_training_nothing_is_measured() -> None:
    model = build_model(TINY)
    assert execution.choose(LONG, model, CPU) == execution.Choice()
    assert execution.choose(TINY, model, torch.device("cuda")) == execution.Choice()


def test_what_a_worker_has_ahead_is_what_the_record_lacks(tmp_path: Path) -> None:
    """18 trials of the guidance study are 3 trainings of one network; one of them is there."""
    made = plan.make("guidance", registry.find("guidance"), "laptop", SCALES["laptop"], plan.Request())
    key, images = made.baseline.step_key, made.baseline.total_images
    assert cost.images_ahead(cost.missing(made, tmp_path).trainings) == {key: 3 * images}
    folder = tmp_path / "cache" / "trainings" / made.train_keys[0]
    folder.mkdir(parents=True)
    for name in ("done.json", "ema.safetensors", "raw.safetensors"):
        (folder / name).touch()
    assert cost.images_ahead(cost.missing(made, tmp_path).trainings) == {key: 2 * images}
    assert made.baseline.replace(seed=7, schedule="cosine").step_key == key
    assert made.baseline.replace(batch_size=64).step_key != key


class Fake(execution.Benchmark):
    """A GPU on which each execution has a rate; a first step takes 50 s."""

    def __init__(self, rates: dict[str, float]) -> None:
        super().__init__(LONG, build_model(LONG), torch.device("cuda"))
        self.known = rates

    def rate(self, chosen: Execution) -> tuple[float, float]:
        if (rate := self.known[str(chosen)]) < 0:
            raise OSError("no compiler\nat all")
        self.rates[str(chosen)] = rate
        return rate, 50.0


RATES = {
    "plainly": 100.0,
    "channels last": 90.0,
    "as a CUDA graph": 200.0,
    "channels last, as a CUDA graph": 150.0,
    "channels last, compiled, as a CUDA graph": 300.0,
    "channels last, compiled": 120.0,
}


@pytest.mark.parametrize(
    ("changed", "compile", "images", "chosen", "tried"),
    [
        ({}, "off", 10**9, "as a CUDA graph", 3),
        ({"channels last": 110.0}, "off", 10**9, "channels last, as a CUDA graph", 3),
        ({"as a CUDA graph": 99.0}, "auto", 10_000, "plainly", 3),
        ({}, "auto", 10_000, "as a CUDA graph", 3),  # 50 s of training repay no compilation
        ({}, "auto", 1_000_000, "channels last, compiled, as a CUDA graph", 4),
        ({"channels last, compiled, as a CUDA graph": 199.0}, "auto", 1_000_000, "as a CUDA graph", 4),
        ({"channels last, compiled, as a CUDA graph": 199.0}, "on", 10, "channels last, compiled, as a CUDA graph", 4),
    ],
)
def test_what_won_is_kept_and_compiled_where_it_repays(changed, compile, images, chosen, tried) -> None:
    choice = execution._measured(Fake(RATES | changed), compile, images)
    assert str(choice.execution) == chosen
    assert len(choice.rates) == tried
    assert choice.compile_seconds == (50.0 if tried == 4 else 0.0)  # spent, whatever came of it
    assert chosen in str(choice)


def test_without_a_compiler_it_trains_without_and_says_why() -> None:
    choice = execution._measured(Fake(RATES | {"channels last, compiled, as a CUDA graph": -1}), "on", 10**9)
    assert str(choice.execution) == "as a CUDA graph"
    assert str(choice).endswith(": it failed: no compiler)")


def test_a_copy_is_trained_and_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    model = build_model(TINY)
    before = copy.deepcopy(model.state_dict())
    first = execution.choose(TINY, model, CPU, "on")
    assert set(first.rates) == {"plainly", "compiled"}
    assert min(first.rates.values()) > 0
    assert first.compile_seconds > 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    again = execution.choose(TINY.replace(seed=1), model, CPU, "on")
    assert again == execution.Choice(first.execution)


# --- sampling ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("words", ["operation not permitted when stream is capturing", "CUDA out of memory"])
def test_a_recording_that_fails_says_so_and_lack_of_memory_is_raised(monkeypatch, words: str) -> None:
    """The end of a broken recording fails with words of its own."""

    class Breaks:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    def function(x: torch.Tensor) -> tuple[torch.Tensor]:
        if recording:
            raise RuntimeError(words)
        return (x + 1,)

    back = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **_: Breaks())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the stream before")
    monkeypatch.setattr(torch.cuda, "set_stream", back.append)
    monkeypatch.setattr(graphs.Replayed, "broken", False)
    replayed = graphs.Replayed(function)
    monkeypatch.setattr(replayed, "_aside", lambda given: function(*given))
    recording, one = False, torch.ones(1)
    for _ in range(graphs.WARM):
        assert replayed(one)[0] == 2
    recording = True
    if "memory" in words:
        with pytest.raises(RuntimeError, match="out of memory"):
            replayed(one)
        return
    with pytest.warns(UserWarning, match="not permitted"), pytest.raises(RuntimeError, match="stream"):
        replayed(one)  # `recording` still breaks the plain call here
    recording = False
    assert replayed(one)[0] == 2
    assert back == ["the stream before"]
    assert graphs.Replayed.broken


# --- on a GPU ------------------------------------------------------------------------------------------


@on_a_gpu
@pytest.mark.parametrize("at", ["fp32", "bf16", "bf16_copy"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_graph_trains_as_single_kernels_do(at: str, channels_last: bool) -> None:
    config, device = TINY.replace(precision=at, total_images=8 * 30), torch.device("cuda")
    training, losses = trained(Execution(channels_last=channels_last, graphed=True), config, device)
    assert training.whole.graph is not None
    _, plain = trained(Execution(channels_last=channels_last), config, device)
    np.testing.assert_allclose(losses, plain, rtol=1e-3 if at == "fp32" else 3e-2)


@on_a_gpu
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_graph_samples_as_single_kernels_do(monkeypatch, sampler: str) -> None:
    config = TrialConfig(image_size=8, timesteps=60, sampler=sampler, guidance_scale=2.0)
    wanted = [sample.Wanted("test", [labels for _, labels in CONDITIONS], conditions().cuda())]
    (graphed,) = sample.sample_parts(config, Net().cuda(), wanted, 2)
    monkeypatch.setattr(graphs, "replayed", lambda function, device: function)
    (plain,) = sample.sample_parts(config, Net().cuda(), wanted, 2)
    assert np.abs(graphed.images_BHWC.astype(int) - plain.images_BHWC).max() <= 1
    assert graphed.passes == plain.passes


@on_a_gpu
def test_on_a_gpu_every_execution_is_tried() -> None:
    choice = execution.choose(LONG, build_model(LONG), torch.device("cuda"))
    assert min(choice.rates.values()) > 0
    assert len(choice.rates) == 3
