"""What accuracy does not see: copies of training images, samples that are all alike, and where denoising fails.

Shapes: N images, M references, D numbers an image; images uint8 (N, H, W, 3). Distances are root mean squares over
pixels and channels on a scale where white minus black is 1.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.ddpm import diffusion, precision, sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.noise import KeyedNoise
from runners.ddpm.schedules import log_snr
from runners.evaluation import surrogate as evaluator
from runners.process import heartbeat
from runners.tasks.iclevr.data import SceneData, multi_hot

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

CONDITIONS, DRAWS = 8, 4  # of the diversity of samples of one condition
HELD_OUT = 256  # real images that say how near an image that was not trained on lies to the training set
NEAREST_SHARE = 0.05  # of them that lie nearer than the limit below which a sample counts as memorised
CHUNK = 2048  # reference images at a time: 100 MB at 64x64
SNR_EDGES = tuple(range(-8, 9, 2))  # log SNR, nats
DENOISED = 32  # held-out images a bin


def nearest(images_NHWC: Pixels, references_MHWC: Pixels, device: torch.device) -> Floats:
    """Distance of each image to the nearest reference, float64 (N,)."""
    a_ND = _rows(images_NHWC, device)
    best_N = torch.full((len(a_ND),), torch.inf, device=device)
    for start in range(0, len(references_MHWC), CHUNK):
        b_MD = _rows(references_MHWC[start : start + CHUNK], device)
        square_NM = (a_ND**2).sum(1, keepdim=True) - 2 * a_ND @ b_MD.T + (b_MD**2).sum(1)
        best_N = torch.minimum(best_N, square_NM.min(1).values)
        heartbeat.tick()
    distance_N: Floats = (best_N.clamp(min=0) / a_ND.shape[1]).sqrt().double().cpu().numpy()
    return distance_N


def memorisation(images_NHWC: Pixels, scenes: SceneData, device: torch.device) -> dict[str, float]:
    """nearest/generated and nearest/held_out: mean distance to the nearest training image; memorised: share of the
    images that lie nearer to one than 95 % of held-out real images do (.05 is what real images have)."""
    training_MHWC = scenes.images_NHWC[scenes.train_indices]
    held_out_N = nearest(scenes.images_NHWC[scenes.held_out_indices[:HELD_OUT]], training_MHWC, device)
    generated_N = nearest(images_NHWC, training_MHWC, device)
    limit = np.quantile(held_out_N, NEAREST_SHARE)
    return {
        "nearest/generated": float(generated_N.mean()),
        "nearest/held_out": float(held_out_N.mean()),
        "memorised": float((generated_N < limit).mean()),
    }


def draws(config: TrialConfig, network: nn.Module, scenes: SceneData, device: torch.device) -> Pixels:
    """Samples of one condition: 4 noises for each of the first 8 validation conditions, uint8 (4, 8, H, W, 3)."""
    conditions = scenes.lists["validation"][:CONDITIONS]
    c_NK = torch.from_numpy(multi_hot(conditions)).to(device, torch.float32)
    return sample.sample_list(config, network, "diversity", conditions, c_NK, DRAWS)


def diversity(images_SNHWC: Pixels) -> float:
    """Mean distance over all pairs of the S draws of a condition, averaged over the N conditions."""
    rows_SND = images_SNHWC.reshape(*images_SNHWC.shape[:2], -1) / 255.0
    distances = [
        np.sqrt(((rows_SND[i] - rows_SND[j]) ** 2).mean(-1))
        for i in range(len(rows_SND))
        for j in range(i + 1, len(rows_SND))
    ]
    return float(np.mean(distances))


def features(judge: evaluator.ResNet18, images_NHWC: Pixels, device: torch.device) -> NDArray[np.float16]:
    """What the evaluator's head is given, after its last block: float16 (N, 8 x width), N > 0."""
    given: list[NDArray[np.float16]] = []

    def keep(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        given.append(inputs[0].half().cpu().numpy())

    hook = judge.fc[0].register_forward_pre_hook(keep)
    evaluator.probabilities(judge, images_NHWC, device)
    hook.remove()
    return np.concatenate(given)


@torch.no_grad()
def denoising_errors(
    config: TrialConfig, network: nn.Module, scenes: SceneData, alpha_bar_T: Floats, device: torch.device
) -> dict[str, float]:
    """x0_error/snr_<low>_<high>: distance between x0 and its estimate, at one timestep in each bin of log SNR.

    One unit for all schedules, T, targets and weightings, which a training loss is not. Held-out images, their own
    conditions, noise keyed by image; the estimate is clipped as in sampling. A bin that the schedule jumps over is
    left out.
    """
    log_snr_T = log_snr(alpha_bar_T)
    rows = scenes.held_out_indices[:DENOISED]
    x0_NCHW = torch.from_numpy(np.array(scenes.images_NHWC[rows])).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    c_NK = torch.from_numpy(scenes.labels_NK[rows]).to(device, torch.float32)
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


def _rows(images_NHWC: Pixels, device: torch.device) -> torch.Tensor:
    """float32 (N, D) in [0, 1]."""
    return torch.from_numpy(np.array(images_NHWC)).to(device).flatten(1).float() / 255
