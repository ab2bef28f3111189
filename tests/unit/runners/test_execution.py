"""Channels last, compiled, recorded, ahead: however a step is executed, its numbers are those of the plain one."""

from __future__ import annotations

import copy
import gc
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sample import CONDITIONS, Net, conditions
from test_train import PINNED_LOSSES, TINY, images_and_labels
from torch.fx.experimental.proxy_tensor import make_fx

from runners.ddpm import execution, graphs, sample, train
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import Execution
from runners.ddpm.train import Training
from runners.ddpm.trial import build_model
from runners.process.locks import Held, lock
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
    # bf16 rounds to 8 bits (0.4 %), and processors with and without its instructions round at different steps.
    np.testing.assert_allclose(losses, PINNED_LOSSES, rtol=1e-3 if at == "fp32" else 4e-3)
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


@pytest.mark.parametrize(
    ("error", "found"),
    [("GET was unable to find an engine to execute this computation", 0.0), ("out of memory", 0.0), ("shapes", None)],
)
def test_an_execution_that_the_device_cannot_do_is_not_chosen(
    error: str, found: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> tuple[float, float]:
        raise RuntimeError(error)

    monkeypatch.setattr(execution.Benchmark, "_measure", fail)
    benchmark = execution.Benchmark(TINY, build_model(TINY), CPU)
    if found is None:
        with pytest.raises(RuntimeError, match=error):
            benchmark.rate(Execution())
    else:
        assert benchmark.rate(Execution()) == (found, found)


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


def test_workers_of_one_record_measure_once_and_one_after_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers that benchmark beside each other on one GPU chose different executions for the arms of one study."""
    taken = []

    def measured(benchmark: execution.Benchmark, *_: object) -> execution.Choice:
        with pytest.raises(Held), lock(tmp_path / "lock"):  # nobody else measures meanwhile
            pass
        taken.append(benchmark.config.batch_size)
        return execution.Choice(Execution(graphed=True), rates={"plainly": 1.0, "as a CUDA graph": 2.0})

    monkeypatch.setattr(execution, "_measured", measured)
    monkeypatch.setattr(execution.devices, "name", lambda device: "a GPU")
    model, gpu = build_model(LONG), torch.device("cuda")

    def choose(config: TrialConfig = LONG) -> execution.Choice:
        monkeypatch.setattr(execution, "_chosen", {})  # another process
        return execution.choose(config, model, gpu, shared=tmp_path)

    first, second = choose(), choose()
    assert first.rates
    assert not second.rates
    assert first.execution == second.execution == Execution(graphed=True)
    assert choose(LONG.replace(batch_size=4)).rates  # another step
    (tmp_path / sorted(path.name for path in tmp_path.glob("*.json"))[0]).write_text("{")
    choose(), choose(LONG.replace(batch_size=4))
    assert len(taken) == 3  # once each, and again what could not be read
    monkeypatch.setattr(execution.devices, "name", lambda device: "another GPU")
    assert choose().rates


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
