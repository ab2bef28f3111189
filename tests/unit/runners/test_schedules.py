"""Every schedule of the registry, against diffusers where it has the same one."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import DDPMScheduler

from runners.ddpm import schedules

IN_DIFFUSERS = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


@pytest.mark.parametrize("timesteps", [10, 400, 1000, 2000])
@pytest.mark.parametrize("name", IN_DIFFUSERS)
def test_equal_to_diffusers(name, timesteps):
    scheduler = DDPMScheduler(timesteps, beta_schedule=name)
    np.testing.assert_allclose(schedules.betas(name, timesteps), scheduler.betas.numpy(), atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(schedules.alpha_bars(name, timesteps), scheduler.alphas_cumprod.numpy(), atol=1e-6)


def test_every_schedule_of_diffusers_that_we_name_is_compared():
    assert set(IN_DIFFUSERS) | {"cosine"} <= set(schedules.SCHEDULES)


@pytest.mark.parametrize("timesteps", [2, 20, 1000])
@pytest.mark.parametrize("name", sorted(schedules.SCHEDULES))
def test_every_schedule_is_one(name, timesteps):
    betas = schedules.betas(name, timesteps)
    bars = schedules.alpha_bars(name, timesteps)
    assert betas.shape == (timesteps,)
    assert np.all((betas > 0) & (betas < 1))
    assert np.all(np.diff(bars) < 0)
    assert schedules.SCHEDULES[name].__doc__


def test_cosine_is_not_squared():
    u = np.arange(1, 901) / 1000
    wanted = np.cos((u + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)
    np.testing.assert_allclose(schedules.alpha_bars("cosine", 1000)[:900], wanted, rtol=1e-9)


def test_terminal_signal_of_linear_depends_on_timesteps():
    # sqrt(alpha_bar_T), computed by hand from prod(1 - beta): the confound of a study of T with fixed end points.
    terminal = [schedules.alpha_bars("linear", timesteps)[-1] ** 0.5 for timesteps in (100, 500, 1000, 2000)]
    np.testing.assert_allclose(terminal, [0.603, 0.0797, 0.00635, 4.0e-5], rtol=0.01)
    assert all(schedules.alpha_bars("squaredcos_cap_v2", timesteps)[-1] ** 0.5 < 1e-3 for timesteps in (100, 2000))


@pytest.mark.parametrize(
    ("schedule", "timesteps", "words"),
    [
        ("liner", 1000, "did you mean 'linear'"),
        ("linear", 1, "timesteps=2 or more"),
        ("linear(beta_end=1.5)", 1000, "inside \\(0, 1\\)"),
        ("linear(beta_start=-0.1)", 1000, "inside \\(0, 1\\)"),
        ("linear(beta_start='x')", 1000, "must be numbers"),
        ("sigmoid(teu=1.0)", 1000, "did you mean 'tau'"),
    ],
)
def test_bad_schedules_say_what_to_write(schedule, timesteps, words):
    with pytest.raises(ValueError, match=words):
        schedules.betas(schedule, timesteps)
