"""The laptop scale beside variants of it, each trained for the same time on one core.

    python -m benchmarks.laptop --record /tmp/laptop        every variant, 2 training seeds: 40 minutes on 2 cores
    python -m benchmarks.laptop --record /tmp/laptop --variant base --variant eps

First the rates are measured, in rounds in which each variant has its turn, and kept in the record; then every variant
trains on as many images as it manages in `--seconds`, and its samples are scored. The same command goes on where it
was stopped. A single-seed accuracy of this list has a standard error of about .03: gaps under .06 are unproven.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks import loops
from runners import docstrings
from runners.config import Scalar, nearest
from runners.ddpm import trial
from runners.ddpm.config import TrialConfig
from runners.experiment import ExecutionContext
from runners.process.files import read_json, write_json
from study.design.scales import SCALES

CHOSEN = SCALES["laptop"].config.replace(schedule="cosine", sampling_seeds=3)
NETWORK = "unet(attention=(-1,), channels={}, encoder='embedding', groups=8, layers=1{})"
VARIANTS: dict[str, dict[str, Scalar]] = {
    "base": {},
    "batch 64": {"batch_size": 64},
    "batch 16": {"batch_size": 16},
    "lr 2.5e-3": {"lr": 2.5e-3},
    "eps": {"prediction": "eps"},
    "eps, uniform, lr 1e-3": {"prediction": "eps", "weighting": "uniform", "lr": 1e-3},
    "v, uniform": {"weighting": "uniform"},
    "narrower": {"model": NETWORK.format("(8, 16, 16)", "")},
    "wider": {"model": NETWORK.format("(32, 64, 64)", "")},
    "two levels": {"model": NETWORK.format("(16, 32)", "")},
    "two levels, bf16_copy": {"model": NETWORK.format("(16, 32)", ""), "precision": "bf16_copy"},
    "attention at 8x8": {"model": "unet(channels=(16, 32, 32), encoder='embedding', groups=8, layers=1)"},
    "flips": {"flips": True},
    "bf16_copy": {"precision": "bf16_copy"},
    "bf16_copy, batch 64": {"precision": "bf16_copy", "batch_size": 64},
    "32 px": {"image_size": 32},
    "32 px, patch 2": {"image_size": 32, "model": NETWORK.format("(16, 32, 32)", ", patch=2")},
}
ROUNDS = 7
STEP_IMAGES = 384  # of a round


def rates(names: Sequence[str]) -> dict[str, float]:
    """Training images per second of processor time on one thread: medians over rounds in which each has its turn."""
    import torch

    torch.set_num_threads(1)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            config = CHOSEN.replace(**VARIANTS[name]).replace(total_images=STEP_IMAGES, warmup_images=0)
            found[name].append(STEP_IMAGES / loops.ours(config, *loops.scenes(config.image_size)))
    return {name: statistics.median(values) for name, values in found.items()}


def prepare(config: TrialConfig, record: Path) -> ExecutionContext:
    """The scenes and the surrogate evaluator of a config's picture size, once per record."""
    context = ExecutionContext(str(record), "cpu")
    for _ in trial.prepare(config, context):
        pass
    return context


def run(config: TrialConfig, context: ExecutionContext) -> tuple[float, float]:
    """Accuracy on the validation and on the test list."""
    import torch

    torch.set_num_threads(1)
    for _ in trial.run(config, context):
        pass
    result = read_json(Path(context.record) / "trials" / config.trial_key / "result.json")
    return result["accuracy/validation"], result["accuracy/test"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.laptop",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=docstrings.of(sys.modules[__name__]),
    )
    parser.add_argument("--record", type=Path, required=True, metavar="DIR", help="where everything is kept")
    parser.add_argument("--seconds", type=float, default=108.0, help="of one core for each training (108)")
    parser.add_argument("--seeds", type=int, default=2, help="training seeds (2)")
    parser.add_argument("--variant", action="append", metavar="NAME", help="one of them; repeatable (default: all)")
    given = parser.parse_args(argv)
    names = given.variant or list(VARIANTS)
    for name in names:
        if name not in VARIANTS:
            parser.error(f"unknown variant {name!r}{nearest(name, VARIANTS)}")
    given.record.mkdir(parents=True, exist_ok=True)
    kept = given.record / "rates.json"
    known = read_json(kept) if kept.is_file() else {}
    if missing := [name for name in names if name not in known]:
        print(f"measuring the rates of {len(missing)} variants", file=sys.stderr, flush=True)
        known |= rates(missing)
        write_json(kept, known)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    images = {name: max(1, round(given.seconds * known[name] / 1000)) * 1000 for name in names}
    configs = {name: CHOSEN.replace(**VARIANTS[name]).replace(total_images=images[name]) for name in names}
    contexts = {
        size: prepare(config, given.record) for size, config in {c.image_size: c for c in configs.values()}.items()
    }
    start = time.perf_counter()
    with ProcessPoolExecutor(loops.CORES, get_context("spawn")) as processes:
        running = {
            processes.submit(run, config.replace(seed=seed), contexts[config.image_size]): name
            for seed in range(given.seeds)
            for name, config in configs.items()
        }
        for number, done in enumerate(as_completed(running), start=1):
            name = running[done]
            found[name].append(done.result())
            left = (time.perf_counter() - start) / number * (len(running) - number)
            print(
                f"[{number}/{len(running)}] {name}: {done.result()[0]:.3f}, {left / 60:.0f} min left", file=sys.stderr
            )
    print(f"| {given.seconds:g} s of one core, {given.seeds} seeds | images/s | images | validation | test |")
    print("|---|---|---|---|---|")
    for name in sorted(names, key=lambda name: -statistics.mean(score for score, _ in found[name])):
        validation, test = (statistics.mean(column) for column in zip(*found[name], strict=True))
        print(f"| {name} | {known[name]:.0f} | {images[name]:,} | {validation:.3f} | {test:.3f} |")
    (given.record / "found.json").write_text(json.dumps({"images": images, "accuracy": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
