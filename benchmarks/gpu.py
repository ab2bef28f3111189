"""What a GPU reaches: training by network, batch, precision and execution, with its share of the measured bf16 peak;
our loop beside the plain one; sampling.

Every function takes the device, so that the same lines run on a CPU at a small size.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import loops
from runners import models
from runners.ddpm import precision, sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.execution import PLAIN, Benchmark
from runners.ddpm.steps import Execution
from runners.ddpm.train import TRAINING_FORWARDS
from runners.ddpm.trial import build_model
from runners.process import device as devices
from runners.process import memory
from runners.tasks.iclevr.labels import LABELS

BATCHES = (32, 128, 256)
COMPILED_AT = (128,)  # a batch size is a compilation, minutes of a large network
CONDITIONS = 64
LADDER = (
    ("fp32", PLAIN),
    ("tf32", PLAIN),
    ("bf16", PLAIN),
    ("bf16_copy", PLAIN),
    ("bf16_copy", Execution(channels_last=True)),
    ("bf16_copy", Execution(graphed=True)),
    ("bf16_copy", Execution(channels_last=True, graphed=True)),
    ("bf16", Execution(channels_last=True, compiled=True, graphed=True)),
    ("bf16_copy", Execution(channels_last=True, compiled=True, graphed=True)),
)


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


def training(config: TrialConfig, device: torch.device, peak: float, how: Execution) -> dict[str, Any]:
    """Images per second of the project's loop (0: too little memory, or the execution failed), its share of `peak`, the
    memory it took, and the seconds of its first step, which a compilation makes long."""
    size = models.measure(config.model, config.image_size, len(LABELS), config.timesteps)
    memory.reset_peak(device)
    error = ""
    try:
        rate, first = Benchmark(config, build_model(config), device).rate(how)
    except Exception as failure:  # a compiler's, say: the other rows are to be had
        rate, first, error = 0.0, 0.0, str(failure).strip().split("\n")[0][:200]
    return {
        "model": config.model,
        "batch": config.batch_size,
        "precision": config.precision,
        "execution": str(how),
        "images/s": rate,
        "MFU": rate * TRAINING_FORWARDS * size.forward_flop / peak,
        "memory MB": memory.peak_mb(device),
        "first step, s": first,
        **({"error": error} if error else {}),
    }


def beside_the_plain_loop(
    config: TrialConfig, device: torch.device, rate: float, fp32: float, rounds: int = 3
) -> dict[str, Any]:
    """The loop of the reports, PNGs decoded in every epoch, and one with images in memory, both in IEEE fp32,
    beside the best `rate` of ours at any precision, and ours in `fp32`."""
    scenes = loops.scenes(config.image_size)
    found: dict[str, Any] = {
        "model": config.model,
        "batch": config.batch_size,
        "ours, images/s": rate,
        "ours in fp32": fp32,
    }
    for name, side in (("reports' loop", loops.of_the_reports), ("in memory", loops.in_memory)):
        seconds = [side(config, *scenes, device) for _ in range(rounds + 1)][1:]
        plain = loops.STEPS * config.batch_size / statistics.median(seconds)
        found |= {f"{name}, images/s": plain, f"ours / {name}": rate / plain}
    return found


@torch.no_grad()
def sampling(config: TrialConfig, device: torch.device) -> dict[str, Any]:
    """Seconds for CONDITIONS guided images with the config's sampler, the second time."""
    network = precision.working(build_model(config).to(device).eval(), config.precision)
    each = torch.arange(CONDITIONS) % len(LABELS)
    conditions, c_NK = [[LABELS[index]] for index in each], torch.eye(len(LABELS))[each].to(device)
    for _ in range(2):
        _wait(device)
        start = time.perf_counter()
        sample.sample_list(config, network, "bench", conditions, c_NK, seeds=1)
        _wait(device)
    seconds = time.perf_counter() - start
    return {
        "model": config.model,
        "precision": config.precision,
        "sampler": config.sampler,
        "seconds": seconds,
        "s an image": seconds / CONDITIONS,
    }


@devices.algorithms(deterministic=False)  # as a trial's process is
def measure(
    configs: Sequence[TrialConfig], device: torch.device, batches: tuple[int, ...] = BATCHES, rounds: int = 3
) -> dict[str, Any]:
    """The measured peak; a row of training a network, batch, precision and execution; at the smallest batch our best
    beside the plain loops; a row of sampling a network and precision."""
    devices.use(device)
    peak = peak_flop(device) if device.type == "cuda" else peak_flop(device, 256, 3)
    rows: list[dict[str, Any]] = []
    beside = []
    for config in configs:
        for batch in batches:
            for at, how in LADDER:
                if not how.compiled or batch in COMPILED_AT:
                    rows.append(training(config.replace(batch_size=batch, precision=at), device, peak, how))
                    print(rows[-1], file=sys.stderr, flush=True)
        smallest = [row for row in rows if row["model"] == config.model and row["batch"] == batches[0]]
        best = max(row["images/s"] for row in smallest)
        fp32 = max(row["images/s"] for row in smallest if row["precision"] == "fp32")
        beside.append(beside_the_plain_loop(config.replace(batch_size=batches[0]), device, best, fp32, rounds))
    samples = [
        sampling(config.replace(precision=at, guidance_scale=2.0, sampler=sampler), device)
        for config in configs
        for at in ("bf16", "bf16_copy")
        for sampler in ("ddpm", "ddim")
    ]
    return {"bf16 peak FLOP/s": peak, "training": rows, "plain loops": beside, "sampling": samples}
