"""What a GPU reaches: training throughput and share of the measured bf16 peak by network and batch, and sampling.

Every function takes the device, so that the same lines run on a CPU at a small size.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from runners import models, sample
from runners.config import TrialConfig
from runners.data import LABELS
from runners.memory import ran_out
from runners.train import TRAINING_FORWARDS, Training, train
from runners.trial import build_model, peak_memory_mb

BATCHES = (32, 128, 256)
CONDITIONS = 64


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_flop(device: torch.device, side: int = 8192, repeats: int = 20) -> float:
    """FLOP/s of bf16 matrix products of `side` x `side`: the ceiling that a share of the peak refers to."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(3):
        _wait(device)
        start = time.perf_counter()
        for _ in range(repeats):
            a @ b
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * side**3 * repeats / best


def training(config: TrialConfig, device: torch.device, peak: float, warm: int = 10, steps: int = 40) -> dict[str, Any]:
    """Images a second of the project's loop after `warm` steps, its share of `peak`, and the memory it took."""
    name = {"model": config.model, "batch": config.batch_size, "precision": config.precision}
    size = models.measure(config.model, config.image_size, len(LABELS), config.timesteps)
    rng = np.random.default_rng(0)
    shape = (4 * config.batch_size, config.image_size, config.image_size, 3)
    images_NHWC = rng.integers(0, 256, shape, dtype=np.uint8)
    labels_NK = np.eye(len(LABELS), dtype=bool)[rng.integers(0, len(LABELS), len(images_NHWC))]
    config = config.replace(total_images=(warm + steps) * config.batch_size, warmup_images=0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        running = train(Training(config, build_model(config), device), images_NHWC, labels_NK, 10**12)
        for _ in range(warm):
            next(running)
        _wait(device)
        start = time.perf_counter()
        for _ in running:
            pass
        _wait(device)
    except RuntimeError as error:
        if ran_out(error):
            return name | {"images/s": 0.0, "MFU": 0.0, "memory MB": float("nan")}
        raise
    rate = steps * config.batch_size / (time.perf_counter() - start)
    share = rate * TRAINING_FORWARDS * size.forward_flop / peak
    return name | {"images/s": rate, "MFU": share, "memory MB": peak_memory_mb(device)}


@torch.no_grad()
def sampling(config: TrialConfig, device: torch.device) -> dict[str, Any]:
    """Seconds for CONDITIONS guided images with the config's sampler, the second time."""
    model = build_model(config).to(device).eval()
    each = torch.arange(CONDITIONS) % len(LABELS)
    conditions, c_NK = [[LABELS[index]] for index in each], torch.eye(len(LABELS))[each].to(device)
    for _ in range(2):
        _wait(device)
        start = time.perf_counter()
        sample.sample_list(config, model, "bench", conditions, c_NK, seeds=1)
        _wait(device)
    seconds = time.perf_counter() - start
    return {"model": config.model, "sampler": config.sampler, "seconds": seconds, "s an image": seconds / CONDITIONS}


def measure(configs: list[TrialConfig], device: torch.device, batches: tuple[int, ...] = BATCHES) -> dict[str, Any]:
    """The measured peak, a row of training a network and batch, a row of sampling a network."""
    peak = peak_flop(device) if device.type == "cuda" else peak_flop(device, 256, 3)
    rows = [training(config.replace(batch_size=batch), device, peak) for config in configs for batch in batches]
    return {"bf16 peak FLOP/s": peak, "training": rows, "sampling": [sampling(config, device) for config in configs]}
