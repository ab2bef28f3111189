"""Where denoising fails: the error of the estimated image by noise level, in one unit for all settings.

Shapes: N held-out images, uint8 (N, H, W, 3). Distances are root mean squares over pixels and channels on a scale where
white minus black is 1.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.ddpm import diffusion, precision
from runners.ddpm.config import TrialConfig
from runners.ddpm.noise import KeyedNoise
from runners.ddpm.schedules import log_snr
from runners.images import Images

Floats = NDArray[np.float64]
SNR_EDGES = tuple(range(-8, 9, 2))  # log SNR, nats
DENOISED = 32  # held-out images per bin


@torch.no_grad()
def errors(
    config: TrialConfig, network: nn.Module, images: Images, alpha_bar_T: Floats, device: torch.device
) -> dict[str, float]:
    """x0_error/snr_<low>_<high>: distance between x0 and its estimate, at one timestep in each bin of log SNR.

    One unit for all schedules, T, targets and weightings, which a training loss is not. Held-out images, their own
    conditions, noise keyed by image; the estimate is clipped as in sampling. A bin that the schedule jumps over is
    left out.
    """
    log_snr_T = log_snr(alpha_bar_T)
    rows = images.held_out_indices[:DENOISED]
    x0_NCHW = torch.from_numpy(np.array(images.images_NHWC[rows])).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    c_NK = torch.from_numpy(images.labels_NK[rows]).to(device, torch.float32)
    noise = KeyedNoise("denoising_errors", [(int(row), ()) for row in rows], 0)
    errors = {}
    for low, high in itertools.pairwise(SNR_EDGES):
        t = int(np.abs(log_snr_T - (low + high) / 2).argmin())
        eps_NCHW = noise.draw(tuple(x0_NCHW.shape[1:])).to(device)
        if not low <= log_snr_T[t] < high:
            continue
        ab = float(alpha_bar_T[t])
        xt_NCHW = diffusion.add_noise(x0_NCHW, eps_NCHW, torch.tensor(ab, device=device))
        t_N = torch.full((len(rows),), t, device=device)
        output = precision.forward(network, config.precision, xt_NCHW, t_N, c_NK)
        estimate, _ = diffusion.x0_and_eps(config.prediction, output, xt_NCHW, ab**0.5, (1 - ab) ** 0.5)
        difference = (estimate.clamp(-1, 1) - x0_NCHW) / 2
        errors[f"x0_error/snr_{low}_{high}"] = float(difference.square().mean((1, 2, 3)).sqrt().mean())
    return errors
