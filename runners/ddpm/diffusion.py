"""The mathematics of a conditional diffusion model: noising, targets, weights, guidance.

Shapes: B batch, T timesteps, C H W image, K labels. Images are in [-1, 1]. Per-timestep quantities are
tables (T,), so that schedule, target and weighting are data and one training step serves them all.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from runners.config import Call, nearest

PREDICTIONS = ("eps", "v", "x0")


def at(table_T: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
    """`table_T[t]`, shaped (B, 1, 1, 1) to multiply images."""
    return table_T[t_B].view(-1, 1, 1, 1)


def add_noise(x0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor, ab_B111: torch.Tensor) -> torch.Tensor:
    """x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps (Ho et al. 2020, eq. 4)."""
    return ab_B111.sqrt() * x0_BCHW + (1 - ab_B111).sqrt() * eps_BCHW


def target(prediction: str, x0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor, ab_B111: torch.Tensor) -> torch.Tensor:
    """What the network is asked for; v = sqrt(ab) eps - sqrt(1 - ab) x0 (Salimans & Ho 2022, appendix D)."""
    if prediction == "eps":
        return eps_BCHW
    if prediction == "x0":
        return x0_BCHW
    return ab_B111.sqrt() * eps_BCHW - (1 - ab_B111).sqrt() * x0_BCHW


def x0_and_eps(
    prediction: str,
    output_BCHW: torch.Tensor,
    xt_BCHW: torch.Tensor,
    signal: float | torch.Tensor,
    noise: float | torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The estimates of x0 and eps that follow from the network's output at one timestep, whose `signal` is
    sqrt(alpha_bar) and whose `noise` is sqrt(1 - alpha_bar)."""
    if prediction == "eps":
        return (xt_BCHW - noise * output_BCHW) / signal, output_BCHW
    if prediction == "x0":
        return output_BCHW, (xt_BCHW - signal * output_BCHW) / noise
    return signal * xt_BCHW - noise * output_BCHW, signal * output_BCHW + noise * xt_BCHW


def uniform() -> None:
    """Every timestep weighs 1 (Ho et al. 2020, eq. 14)."""


def min_snr(gamma: float = 5.0) -> None:
    """min(SNR, gamma) in units of the x0 loss (Hang et al. 2023, section 3.4)."""


WEIGHTINGS = {"uniform": uniform, "min_snr": min_snr}


def loss_weights(weighting: str, prediction: str, alpha_bar_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight of each timestep's mean squared error, float64 (T,).

    min_snr: eps min(SNR, g) / SNR, x0 min(SNR, g), v min(SNR, g) / (SNR + 1) (Hang et al. 2023, eq. 12); all
    three are finite at SNR = 0. Raises ValueError for an unknown prediction, weighting or argument.
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"Unknown prediction {prediction!r}{nearest(prediction, PREDICTIONS)}")
    call = Call.parse(weighting)
    if call.name not in WEIGHTINGS:
        raise ValueError(f"Unknown weighting {call.name!r}{nearest(call.name, WEIGHTINGS)}")
    arguments = call.bind(WEIGHTINGS[call.name])
    if call.name == "uniform":
        return np.ones_like(alpha_bar_T)
    gamma = float(arguments.get("gamma", 5.0))
    if not gamma > 0:
        raise ValueError(f"min_snr(gamma={gamma}) weighs nothing: write a gamma above 0, such as 5.0.")
    # With SNR = ab / (1 - ab): min(SNR, g) / SNR = min(1, g / SNR) = min(1, g (1 - ab) / ab), and so on.
    with np.errstate(divide="ignore"):
        snr = alpha_bar_T / (1 - alpha_bar_T)
        if prediction == "eps":
            return np.minimum(1.0, gamma / snr)
    if prediction == "x0":
        return np.minimum(snr, gamma)
    return np.minimum(snr, gamma) / (snr + 1)


def drop_conditions(c_BK: torch.Tensor, drop_B: torch.Tensor) -> torch.Tensor:
    """Zero whole conditions, per sample: zeros mean "unconditional" (Ho & Salimans 2022, algorithm 1)."""
    return c_BK * (~drop_B).to(c_BK.dtype).unsqueeze(1)


def guide(eps_u: torch.Tensor, eps_c: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """eps_u + s (eps_c - eps_u); s = 1 is unguided, s = 0 unconditional (Ho & Salimans 2022, w = s - 1)."""
    return eps_u + guidance_scale * (eps_c - eps_u)
