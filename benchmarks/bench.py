"""What the project's loops cost beside the plain ones, side by side in one run; medians of several rounds.

    python benchmarks/bench.py            a table, and benchmarks/latest.json (ignored by git)

Ratios carry over to other machines, absolute times do not. Exit code 1 when a ratio or a start-up time misses its
target: training 1.0x or more of the plain loop, sampling 1.3x or more, `--help` within 1 s, `--dry-run` within 5 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers import DDPMScheduler  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from runners import sample  # noqa: E402
from runners.data import LABELS  # noqa: E402
from runners.train import Training, train  # noqa: E402
from runners.trial import build_model  # noqa: E402
from study.scales import SCALES  # noqa: E402

TARGETS = {"training ratio": 1.0, "sampling ratio": 1.3, "--help seconds": 1.0, "--dry-run seconds": 5.0}
STEPS = 12


def training_seconds(images_NHWC: np.ndarray, labels_NK: np.ndarray) -> tuple[float, float]:
    """Seconds of one round of STEPS steps: (ours, the plain loop), same network, batch and objective."""
    config = SCALES["laptop"].config
    config = config.replace(total_images=STEPS * config.batch_size, prediction="eps", weighting="uniform")
    ours = Training(config, build_model(config), torch.device("cpu"))
    start = time.perf_counter()
    for _ in train(ours, images_NHWC, labels_NK):
        pass
    seconds = time.perf_counter() - start

    model = build_model(config).train()
    scheduler = DDPMScheduler(config.timesteps)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    images = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    loader = DataLoader(TensorDataset(images, torch.from_numpy(labels_NK).float()), config.batch_size, shuffle=True)
    start = time.perf_counter()
    done = 0
    while done < STEPS:
        for x0, c in loader:
            t = torch.randint(0, config.timesteps, (len(x0),))
            noise = torch.randn_like(x0)
            loss = F.mse_loss(model(scheduler.add_noise(x0, noise, t), t, c), noise)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            for kept, parameter in zip(average, model.parameters(), strict=True):
                kept.mul_(0.999).add_(parameter.detach(), alpha=0.001)
            loss.item()
            done += 1
            if done == STEPS:
                break
    return seconds, time.perf_counter() - start


@torch.no_grad()
def sampling_seconds(count: int = 16, steps: int = 20) -> tuple[float, float]:
    """Seconds for `count` guided images: (all at once, guidance in one forward; one at a time with two forwards)."""
    config = SCALES["laptop"].config.replace(timesteps=steps, sampler="ddpm", prediction="eps")
    model = build_model(config).eval()
    conditions = [[LABELS[i % len(LABELS)]] for i in range(count)]
    c_NK = torch.eye(len(LABELS))[torch.arange(count) % len(LABELS)]
    start = time.perf_counter()
    sample.sample_list(config, model, "bench", conditions, c_NK, seeds=1)
    seconds = time.perf_counter() - start
    scheduler = DDPMScheduler(steps)
    start = time.perf_counter()
    for c in c_NK:
        x = torch.randn(1, 3, config.image_size, config.image_size)
        for t in scheduler.timesteps:
            eps_u = model(x, t.view(1), torch.zeros(1, len(LABELS)))
            eps_c = model(x, t.view(1), c.view(1, -1))
            x = scheduler.step(eps_u + config.guidance_scale * (eps_c - eps_u), t, x).prev_sample
    return seconds, time.perf_counter() - start


def command_seconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "study/run.py", *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def medians(measure: Callable[[], tuple[float, float]], rounds: int) -> tuple[float, float]:
    """Medians of (ours, theirs) over rounds that alternate between the two; the first round warms up."""
    found = [measure() for _ in range(rounds + 1)][1:]
    return statistics.median(ours for ours, _ in found), statistics.median(plain for _, plain in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    config = SCALES["laptop"].config
    images_NHWC = rng.integers(0, 256, (2000, config.image_size, config.image_size, 3), dtype=np.uint8)
    labels_NK = np.eye(len(LABELS), dtype=bool)[rng.integers(0, len(LABELS), 2000)]

    ours, plain = medians(lambda: training_seconds(images_NHWC, labels_NK), rounds)
    ours_sampling, plain_sampling = medians(sampling_seconds, rounds)
    images = STEPS * config.batch_size
    result = {
        "training images/s, ours": images / ours,
        "training images/s, plain loop": images / plain,
        "training ratio": plain / ours,
        "sampling images/s, ours": 16 / ours_sampling,
        "sampling images/s, one at a time": 16 / plain_sampling,
        "sampling ratio": plain_sampling / ours_sampling,
    }
    dry_run = ("--study", "schedules", "--scale", "laptop", "--dry-run", "--record", "/nonexistent")
    for name, arguments in {"--help": ("--help",), "--list": ("--list",), "--dry-run": dry_run}.items():
        result[f"{name} seconds"] = statistics.median(command_seconds(*arguments) for _ in range(rounds))
    for name, value in result.items():
        print(f"{name:<34}{value:>10.2f}")
    (ROOT / "benchmarks" / "latest.json").write_text(json.dumps(result, indent=1) + "\n")
    missed = [name for name, at in TARGETS.items() if (result[name] < at if "ratio" in name else result[name] > at)]
    for name in missed:
        print(f"MISSED: {name} is {result[name]:.2f}, target {TARGETS[name]}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
