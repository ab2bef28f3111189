"""fp32, autocast and bf16 copies: near each other in every architecture, and masters that keep what bf16 would lose."""

from __future__ import annotations

import copy

import pytest
import torch
from test_models import SMALL, K, batch, build
from test_train import TINY, images_and_labels, trained

from runners import models
from runners.ddpm import precision
from runners.ddpm.train import Training, train
from runners.ddpm.trial import build_model
from runners.ddpm.validation import check

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("at", precision.PRECISIONS)
def test_every_architecture_computes_nearly_the_same_at_every_precision(name: str, at: str) -> None:
    model = build(SMALL[name])
    x, t, c = batch()
    with torch.no_grad():
        exact = model(x, t, c)
        rounded = precision.forward(precision.working(model, at), at, x, t, c)
    assert rounded.dtype == torch.float32
    difference = float((rounded - exact).square().mean() / exact.square().mean())
    assert difference < 1e-3
    assert (difference == 0) == (at in ("fp32", "tf32"))  # a CPU has no TF32


@pytest.mark.parametrize("at", precision.PRECISIONS)
@pytest.mark.parametrize("timesteps", [400, 1000])
def test_the_context_unet_tells_every_timestep_from_the_next(timesteps: int, at: str) -> None:
    """In bf16 the fraction of 1,000 timesteps had 506 distinct values, that of 400 had 328."""
    model = models.build("context_unet(features=8, levels=2)", 16, K, timesteps).eval()
    network = precision.working(model, at)
    embedded: list[torch.Tensor] = []
    network.time[0].register_forward_hook(lambda _module, _inputs, output: embedded.append(output))
    t = torch.arange(timesteps)
    with torch.no_grad():
        precision.forward(network, at, torch.zeros(timesteps, 3, 16, 16), t, torch.zeros(timesteps, K))
    assert embedded[0].dtype == torch.float32
    assert len(embedded[0].unique(dim=0)) == timesteps


@pytest.mark.parametrize("name", models.names())
def test_the_copy_leaves_the_masters_alone_and_trains_them(name: str) -> None:
    model = build(SMALL[name]).train()
    network = precision.working(model, "bf16_copy")
    before = copy.deepcopy(model.state_dict())
    masters = precision.Masters(model, network)
    x, t, c = batch()
    precision.forward(network, "bf16_copy", x, t, c).square().mean().backward()
    masters.take_gradients()
    idle = [key for key, value in model.named_parameters() if value.grad is None or value.grad.dtype != torch.float32]
    assert not idle
    for key, value in model.named_parameters():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("at", ["bf16", "bf16_copy"])
def test_four_steps_lose_nearly_what_fp32_loses(at: str) -> None:
    """The tolerance of a change of precision: 1e-3 of each loss, measured 2e-4 and less."""
    _, wanted = trained(TINY)
    _, found = trained(TINY.replace(precision=at))
    assert found == pytest.approx(wanted, rel=1e-3)


def test_updates_below_the_last_bit_of_bf16_add_up() -> None:
    """At lr 1e-5 bf16 weights of .1 would stand still: a step moves them by 1e-5, their last bit is worth 5e-4."""
    config = TINY.replace(lr=1e-5, precision="bf16_copy", weight_decay=0.0, total_images=8 * 40, lr_schedule="constant")
    training = Training(config, build_model(config), CPU)
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    for _ in train(training, *images_and_labels(24)):
        pass
    weight = training.model.unet.conv_in.weight  # type: ignore[union-attr]
    moved = (weight - before["unet.conv_in.weight"]).detach().abs()
    assert float(moved.median()) > 2e-5
    copied = training.network.unet.conv_in.weight  # type: ignore[union-attr]
    assert copied.dtype == torch.bfloat16
    assert torch.equal(copied, weight.to(torch.bfloat16))


def test_a_bf16_training_goes_on_where_it_stopped() -> None:
    config = TINY.replace(precision="bf16_copy", total_images=64)
    whole = Training(config, build_model(config), CPU)
    steps = train(whole, *images_and_labels(24))
    for _ in range(4):
        next(steps)
    state = copy.deepcopy(whole.state_dict())
    for _ in steps:
        pass
    second = Training(config, build_model(config.replace(seed=5)), CPU)
    second.load_state_dict(state)
    for _ in train(second, *images_and_labels(24)):
        pass
    for name, value in whole.weights("raw").items():
        assert torch.equal(value, second.weights("raw")[name]), name


def test_batch_norm_keeps_its_statistics_in_fp32_and_in_one_place() -> None:
    model = models.build("context_unet(features=16, levels=2)", 16, K, 1000).train()
    network = precision.working(model, "bf16_copy")
    pairs = [
        (a, b) for a, b in zip(model.modules(), network.modules(), strict=True) if isinstance(a, torch.nn.BatchNorm2d)
    ]
    assert pairs
    x, t, c = batch()
    precision.forward(network, "bf16_copy", x, t, c)
    for ours, copied in pairs:
        assert copied.running_mean is ours.running_mean
        assert copied.running_mean.dtype == copied.weight.dtype == torch.float32
        assert bool(ours.running_mean.any())


def test_an_unknown_precision_says_what_to_write() -> None:
    with pytest.raises(ValueError, match="write fp32 or tf32 or bf16 or bf16_copy"):
        check(TINY.replace(precision="fp16"))
