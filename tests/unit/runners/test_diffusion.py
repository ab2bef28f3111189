"""Noising, targets, weights, guidance: against diffusers and hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from runners.ddpm import diffusion, schedules


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 3, 8, 8, generator=generator)


def test_noise_and_velocity_equal_diffusers(images):
    x0, eps = images.double()
    t = torch.tensor([0, 10, 500, 999])
    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    table = torch.from_numpy(schedules.alpha_bars("squaredcos_cap_v2", 1000))
    scheduler.alphas_cumprod = table  # test_schedules.py compares these
    ab = diffusion.at(table, t)
    torch.testing.assert_close(diffusion.add_noise(x0, eps, ab), scheduler.add_noise(x0, eps, t), atol=1e-6, rtol=0)
    velocity = scheduler.get_velocity(x0, eps, t)
    torch.testing.assert_close(diffusion.target("v", x0, eps, ab), velocity, atol=1e-6, rtol=0)


@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
@pytest.mark.parametrize("alpha_bar", [0.999, 0.5, 0.01])
def test_a_perfect_network_gives_back_x0_and_eps(images, prediction, alpha_bar):
    x0, eps = images.double()
    ab = torch.tensor(alpha_bar, dtype=torch.float64)
    output = diffusion.target(prediction, x0, eps, ab)
    xt = diffusion.add_noise(x0, eps, ab)
    estimates = diffusion.x0_and_eps(prediction, output, xt, alpha_bar**0.5, (1 - alpha_bar) ** 0.5)
    torch.testing.assert_close(estimates[0], x0)
    torch.testing.assert_close(estimates[1], eps)


def test_min_snr_weights_by_hand():
    # alpha_bar .9, .5, .1: SNR 9, 1, 1/9; gamma 5.
    bars = np.array([0.9, 0.5, 0.1])
    np.testing.assert_allclose(diffusion.loss_weights("min_snr", "eps", bars), [5 / 9, 1, 1])
    np.testing.assert_allclose(diffusion.loss_weights("min_snr", "x0", bars), [5, 1, 1 / 9])
    np.testing.assert_allclose(diffusion.loss_weights("min_snr", "v", bars), [0.5, 0.5, 0.1])
    np.testing.assert_allclose(diffusion.loss_weights("min_snr(gamma=1.0)", "x0", bars), [1, 1, 1 / 9])


@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
def test_weights_are_finite_at_zero_snr(prediction):
    assert np.isfinite(diffusion.loss_weights("min_snr", prediction, np.array([0.5, 0.0]))).all()


def test_dropping_is_per_sample():
    c = torch.ones(3, 24)
    dropped = diffusion.drop_conditions(c, torch.tensor([True, False, True]))
    assert dropped.sum(1).tolist() == [0, 24, 0]


def test_guidance_convention():
    eps_u, eps_c = torch.tensor([1.0]), torch.tensor([3.0])
    assert diffusion.guide(eps_u, eps_c, 0.0) == 1  # unconditional
    assert diffusion.guide(eps_u, eps_c, 1.0) == 3  # unguided
    w = 1.5  # (1 + w) eps_c - w eps_u, the other convention, is s = 1 + w
    assert diffusion.guide(eps_u, eps_c, 1 + w) == (1 + w) * eps_c - w * eps_u


@pytest.mark.parametrize(
    ("weighting", "prediction"), [("min_snrr", "eps"), ("min_snr(gamma=0.0)", "eps"), ("uniform", "velocity")]
)
def test_bad_objectives_are_refused(weighting, prediction):
    with pytest.raises(ValueError, match=r"write|did you mean"):
        diffusion.loss_weights(weighting, prediction, np.array([0.5]))
