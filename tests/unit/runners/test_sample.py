"""Samplers against diffusers', step by step; noise that is keyed; guidance in one forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import nn

from runners.ddpm import sample, schedules
from runners.ddpm.config import TrialConfig
from runners.ddpm.diffusion import x0_and_eps
from runners.ddpm.noise import InterpolatedNoise, KeyedNoise, slerp

SHAPE = (3, 8, 8)
CONDITIONS = [(0, ["red cube"]), (1, ["blue sphere", "gray cube"])]


class Net(nn.Module):
    """A cheap function of all three inputs; float64 keeps the comparison at 1e-6 over a thousand steps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.tanh(x) + 0.1 * c.sum(1).view(-1, 1, 1, 1) - 0.0002 * t.view(-1, 1, 1, 1)


def conditions() -> torch.Tensor:
    c = torch.zeros(2, 24)
    c[0, 1] = c[1, 10] = c[1, 0] = 1
    return c


def ours(schedule: str, timesteps: int, sampler: str, prediction: str, scale: float) -> torch.Tensor:
    noise = KeyedNoise("test", CONDITIONS, 0)
    bars = schedules.alpha_bars(schedule, timesteps)
    *_, last = sample.sample(Net(), conditions(), noise, SHAPE, bars, sampler, prediction, scale)
    return last.x_BCHW


def theirs(scheduler, steps: int, scale: float, **step_arguments) -> torch.Tensor:
    noise = KeyedNoise("test", CONDITIONS, 0)
    net, c, x = Net(), conditions(), noise.draw(SHAPE)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        t_B = torch.full((2,), int(t))
        with torch.no_grad():
            u, cond = net(x, t_B, torch.zeros_like(c)), net(x, t_B, c)
            output = u + scale * (cond - u)
        if isinstance(scheduler, DDIMScheduler):
            variance_noise = (
                noise.draw(SHAPE) if step_arguments["eta"] > 0 and t != scheduler.timesteps[-1] else torch.zeros_like(x)
            )
            x = scheduler.step(output, t, x, variance_noise=variance_noise, **step_arguments).prev_sample
        else:
            x = ancestral_step(scheduler, output, t, x, noise)
    return x


def ancestral_step(scheduler, output, t, x, noise):
    """DDPMScheduler.step draws its own noise; take its mean and add ours with its own variance."""
    last = int(t) == int(scheduler.timesteps[-1])
    mean_only = scheduler.step(output, t, x, generator=torch.Generator().manual_seed(0)).prev_sample
    if last:
        return mean_only
    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    sigma = scheduler._get_variance(int(t)) ** 0.5
    return mean_only - sigma * drawn + sigma * noise.draw(SHAPE)


PREDICTION_NAMES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ddim_equals_diffusers(schedule, eta, prediction):
    scheduler = DDIMScheduler(
        1000,
        beta_schedule=schedule,
        prediction_type=PREDICTION_NAMES[prediction],
        timestep_spacing="trailing",
        clip_sample=True,
    )
    wanted = theirs(scheduler, 50, 2.0, eta=eta)
    sampler = "ddim" if eta == 0 else f"ddim(eta={eta})"
    torch.testing.assert_close(ours(schedule, 1000, sampler, prediction, 2.0), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_ddim_with_the_eps_of_the_clipped_image_equals_diffusers(schedule, eta, prediction):
    scheduler = DDIMScheduler(
        1000,
        beta_schedule=schedule,
        prediction_type=PREDICTION_NAMES[prediction],
        timestep_spacing="trailing",
        clip_sample=True,
    )
    wanted = theirs(scheduler, 50, 40.0, eta=eta, use_clipped_model_output=True)
    sampler = "ddim(clipped_eps=True)" if eta == 0 else f"ddim(clipped_eps=True, eta={eta})"
    found = ours(schedule, 1000, sampler, prediction, 40.0)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    plain = ours(schedule, 1000, "ddim" if eta == 0 else f"ddim(eta={eta})", prediction, 40.0)
    if prediction != "x0":  # where all of both images is clipped in the end
        assert float((plain - wanted).abs().max()) > 0.01


@pytest.mark.parametrize(("steps", "sampler"), [(100, "ddpm"), (20, "ddpm(steps=20)")])
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_ddpm_equals_diffusers(prediction, steps, sampler):
    scheduler = DDPMScheduler(
        100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=PREDICTION_NAMES[prediction],
        timestep_spacing="trailing",
    )
    wanted = theirs(scheduler, steps, 2.0)
    torch.testing.assert_close(ours("squaredcos_cap_v2", 100, sampler, prediction, 2.0), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("steps", [20, 50, 1000])
@pytest.mark.parametrize("name", ["linear", "squaredcos_cap_v2"])
def test_coefficients_equal_diffusers_to_1e6(name, steps):
    """One step from the same x and output at every timestep visited, in float64: no rounding hides a formula."""
    generator = torch.Generator().manual_seed(1)
    x, output = torch.randn(2, 1, 3, 4, 4, generator=generator, dtype=torch.float64)
    bars = schedules.alpha_bars(name, 1000)
    scheduler = DDIMScheduler(1000, beta_schedule=name, timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.alphas_cumprod = torch.from_numpy(bars)  # test_schedules.py compares these
    scheduler.set_timesteps(steps)
    table = sample.sampler_steps(f"ddim(steps={steps})" if steps != 50 else "ddim", bars)
    assert table.t.tolist() == scheduler.timesteps.tolist()
    for index, t in enumerate(table.t):
        x0, eps = x0_and_eps("eps", output, x, bars[t] ** 0.5, (1 - bars[t]) ** 0.5)
        mine = table.x0[index] * x0.clamp(-1, 1) + table.eps[index] * eps
        torch.testing.assert_close(mine, scheduler.step(output, int(t), x).prev_sample, atol=1e-6, rtol=0)


def test_the_first_step_is_the_noisiest_one_of_the_training():
    bars = schedules.alpha_bars("linear", 1000)
    for sampler in ("ddpm", "ddpm(steps=7)", "ddim(steps=3)"):
        assert sample.sampler_steps(sampler, bars).t[0] == 999


def test_noise_depends_on_list_condition_and_seed_alone():
    def first(name, numbered, seed):
        return KeyedNoise(name, numbered, seed).draw(SHAPE)

    both = first("test", CONDITIONS, 0)
    assert torch.equal(both[1], first("test", CONDITIONS[1:], 0)[0])
    assert torch.equal(both[1], first("test", [(1, ["gray cube", "blue sphere"])], 0)[0])
    for other in (first("new_test", CONDITIONS, 0), first("test", CONDITIONS, 1)):
        assert not torch.equal(both, other)
    assert abs(float(both.std()) - 1) < 0.1


def test_interpolation_keeps_the_ends_and_the_length_of_the_noise():
    """Half-way between orthogonal unit vectors lies (1, 1) / sqrt(2): a great circle, not a chord."""
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(slerp(a, b, torch.tensor([0.5]))[0, 0], torch.tensor([0.5, 0.5]).sqrt())
    first, last = (KeyedNoise("i", CONDITIONS, seed).draw(SHAPE) for seed in (0, 1))
    noise = InterpolatedNoise(*(KeyedNoise("i", CONDITIONS, seed) for seed in (0, 1)), frames=5)
    start = noise.draw(SHAPE).view(2, 5, *SHAPE)
    torch.testing.assert_close(start[:, 0], first)
    torch.testing.assert_close(start[:, -1], last)
    assert start.flatten(2).norm(dim=2).min() > 0.9 * start[:, [0, -1]].flatten(2).norm(dim=2).min()
    step = noise.draw(SHAPE).view(2, 5, *SHAPE)
    assert all(torch.equal(step[:, 0], step[:, frame]) for frame in range(5))
    assert not torch.equal(step[0], step[1])


def test_only_the_start_differs_between_interpolated_samples():
    """The ends of a row are the samples of its two noises, also with a sampler that adds noise on the way."""
    config = TrialConfig(image_size=8, timesteps=50, sampler="ddpm", guidance_scale=2.0)
    names = [labels for _, labels in CONDITIONS]
    rows = sample.interpolate(config, Net(), names, conditions(), 4)
    assert rows.shape == (2, 4, 8, 8, 3)
    assert np.array_equal(rows[:, 0], sample.sample_list(config, Net(), "interpolation", names, conditions(), 1)[0])
    moves = np.abs(np.diff(rows.astype(float), axis=1)).mean((0, 2, 3, 4))
    ends = np.abs(rows[:, -1].astype(float) - rows[:, 0]).mean()
    assert 0 < moves.max() < ends  # neighbours are nearer to each other than the ends are


def test_samples_do_not_depend_on_the_chunk():
    config = TrialConfig(image_size=8, timesteps=50, sampler="ddpm", guidance_scale=2.0)
    names = [["red cube"], ["blue sphere", "gray cube"]] * 3
    c = conditions().repeat(3, 1)
    whole = sample.sample_list(config, Net(), "test", names, c, seeds=2, chunk=6)
    parts = sample.sample_list(config, Net(), "test", names, c, seeds=2, chunk=1)
    assert whole.shape == (2, 6, 8, 8, 3)
    assert np.array_equal(whole, parts)
    assert not np.array_equal(whole[0], whole[1])


def test_guidance_one_is_the_conditional_model_and_zero_the_unconditional_one():
    unguided = ours("linear", 20, "ddpm", "eps", 1.0)
    torch.testing.assert_close(unguided, ours("linear", 20, "ddpm", "eps", 1.0 + 1e-9), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        ours("linear", 20, "ddpm", "eps", 0.0), ours("linear", 20, "ddpm", "eps", 1e-9), atol=1e-5, rtol=0
    )
    assert not torch.allclose(unguided, ours("linear", 20, "ddpm", "eps", 0.0))


def test_eight_bits_are_clamped_and_rounded():
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert sample.to_uint8(x)[0, 0, :, 0].tolist() == [0, 0, 128, 191, 255, 255]


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("ddimm", "did you mean 'ddim'"),
        ("ddim(steps=1001)", "1 to timesteps=1000"),
        ("ddim(steps=0)", "1 to"),
        ("ddim(eta=2.0)", "leaves"),
        ("ddpm(stepz=3)", "did you mean 'steps'"),
    ],
)
def test_bad_samplers_say_what_to_write(sampler, words):
    with pytest.raises(ValueError, match=words):
        sample.sampler_steps(sampler, schedules.alpha_bars("linear", 1000))
