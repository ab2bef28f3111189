"""What the project's loops cost beside the plain ones, what the harness costs around them, and how fast it answers.

    python -m benchmarks.bench            a table, and benchmarks/latest.json (ignored by git)
    python -m benchmarks.bench --quick    fewer rounds, small reports

Medians of several rounds that alternate between the sides, in one run. Ratios carry over to other machines, absolute
times do not: exit code 1 when a ratio misses its target; a start-up or report time that does is only marked. On a GPU
a second table has throughput, share of the measured bf16 peak and memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runners import docstrings

ROOT = Path(__file__).resolve().parent.parent
LATEST = ROOT / "benchmarks" / "latest.json"
AT_LEAST = {
    "one core / reports' loop": 1.3,
    "one core / plain loop, scaled down": 1.0,
    "all cores / plain loop": 1.3,
    "sampling / one by one": 1.5,
}
AT_MOST = {
    "harness, share of a laptop trial": 0.02,
    "harness per trial, 10,000 trials / 100": 1.5,
}
SECONDS = {"--help": 0.5, "--list": 0.5, "--dry-run": 3.0, "report of 100 trials": 10.0, "report of 2000 trials": 30.0}
SECONDS |= {
    "harness, s per trial of 10000": 0.06,
    "start of 10000 trials": 60.0,
    "resume of 10000 trials": 20.0,
    "report of 10000 trials": 60.0,
}
DRY_RUN = ("--study", "schedules", "--scale", "laptop", "--dry-run", "--record", "/nonexistent")


def alternating(sides: Sequence[Callable[[], float]], rounds: int) -> list[float]:
    """Medians of the sides' seconds over rounds in which each has its turn; the first round warms up."""
    found = [[side() for side in sides] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*found, strict=True)]


def loops(rounds: int) -> dict[str, float]:
    """Training and sampling at the laptop scale's own network, on one thread as its workers have."""
    import torch

    from benchmarks import loops as sides
    from runners.ddpm.trial import build_model
    from study.design.scales import SCALES

    torch.set_num_threads(1)
    laptop = SCALES["laptop"].config
    # The plain loop knows neither v nor min-SNR: both train eps, unweighted.
    config = laptop.replace(total_images=sides.STEPS * laptop.batch_size, prediction="eps", weighting="uniform")
    scenes = sides.scenes(config.image_size)
    trained = (sides.ours, sides.of_the_reports, sides.scaled_down_before, sides.in_memory)
    turns = [lambda side=side: side(config, *scenes) for side in trained]
    turns.append(lambda: sides.ours(config.replace(precision="bf16_copy"), *scenes))
    ours, reports, scaled, memory, copied = alternating(turns, rounds)
    machine = sides.Machine()
    ours_everywhere, plain_everywhere = alternating(
        [lambda: machine.ours(config, *scenes), lambda: machine.reports(config, *scenes)], rounds
    )
    machine.processes.shutdown()
    config = laptop.replace(timesteps=sides.SAMPLING_STEPS, sampler="ddpm", prediction="eps")
    model = build_model(config).eval()
    sampled = (sides.sampled_at_once, sides.sampled_one_by_one)
    at_once, one_by_one = alternating([lambda side=side: side(config, model) for side in sampled], rounds)
    images = sides.STEPS * laptop.batch_size
    return {
        "all cores, images/s": images / ours_everywhere,
        "all cores / plain loop": plain_everywhere / ours_everywhere,
        "one core, images/s": images / ours,
        "one core / reports' loop": reports / ours,
        "one core / plain loop, scaled down": scaled / ours,
        "one core / plain loop, in memory": memory / ours,
        "one core, bf16_copy, images/s": images / copied,
        "sampling, images/s": sides.SAMPLED / at_once,
        "sampling / one by one": one_by_one / at_once,
    }


def trials(rounds: int, images_per_second: float) -> dict[str, float]:
    """What a laptop trial is made of, and what it saves to share a training."""
    from benchmarks import harness
    from study.design.scales import SCALES

    parts = harness.around_a_trial(rounds)
    training = SCALES["laptop"].config.total_images / images_per_second
    whole = training + sum(parts.values())
    study = harness.sharing(training, sum(parts.values()))
    return {
        "laptop trial, s of training": training,
        **{f"laptop trial, s of {name}": seconds for name, seconds in parts.items()},
        "harness, share of a laptop trial": parts["harness"] / whole,
        "guidance study, core hours": study["shared"],
        "guidance study, core hours unshared": study["alone"],
    }


def commands(rounds: int, reports: Sequence[int]) -> dict[str, float]:
    """Median seconds of the commands that a person waits for."""
    from benchmarks import harness

    given = {"--help": ("--help",), "--list": ("--list",), "--dry-run": DRY_RUN}
    found = {
        name: alternating([lambda arguments=arguments: harness.command("study/run.py", *arguments)], rounds)[0]
        for name, arguments in given.items()
    }
    return found | {f"report of {count} trials": harness.report_seconds(count) for count in reports}


def growth(counts: Sequence[int]) -> dict[str, float]:
    """What the harness costs per trial in studies of so many trials, and how long they take to start and resume."""
    from benchmarks.growth import grown

    found, per_trial = {}, {}
    for trials in counts:
        with tempfile.TemporaryDirectory() as folder:
            seen = grown(trials, Path(folder))
        per_trial[trials] = seen.per_trial / 1000
        found |= {f"harness, s per trial of {trials}": per_trial[trials]}
        found |= {f"start of {trials} trials": seen.start, f"resume of {trials} trials": seen.resume}
    smallest, largest = min(counts), max(counts)
    return found | {f"harness per trial, {largest:,} trials / {smallest:,}": per_trial[largest] / per_trial[smallest]}


def on_gpu() -> dict[str, Any]:
    """Nothing where there is no GPU."""
    import torch

    from benchmarks import gpu
    from study.design.scales import SCALES

    if not torch.cuda.is_available():
        return {}
    configs = [SCALES[name].config for name in ("gpu", "paper")]
    return {"gpu": torch.cuda.get_device_name(), **gpu.measure(configs, torch.device("cuda"))}


def missed(result: dict[str, float]) -> tuple[list[str], list[str]]:
    """Sentences on ratios that miss their target, and on times that do."""
    ratios = [
        f"MISSED: {name} is {result[name]:.3g}, the target {word} {target:g}"
        for targets, word in ((AT_LEAST, "at least"), (AT_MOST, "at most"))
        for name, target in targets.items()
        if name in result and (result[name] < target if targets is AT_LEAST else result[name] > target)
    ]
    slow = [
        f"slow: {name} took {result[name]:.1f} s, the target {target:g} s is for an idle machine"
        for name, target in SECONDS.items()
        if result.get(name, 0.0) > target
    ]
    return ratios, slow


def main() -> int:
    about = docstrings.of(sys.modules[__name__])
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each comparison (default: 5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds, and the report of 100 trials alone")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds} measures nothing: write --rounds 1 or more.")
    rounds, reports = (2, [100]) if given.quick else (given.rounds, [100, 2000, 10_000])
    counts = [100, 1000] if given.quick else [100, 1000, 10_000]
    result: dict[str, float] = {}
    steps: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("training and sampling", lambda: loops(rounds)),
        ("a trial", lambda: trials(rounds, result["one core, images/s"])),
        ("commands and reports", lambda: commands(rounds, reports)),
        ("studies of growing length", lambda: growth(counts)),
    ]
    for number, (name, step) in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {name} ...", file=sys.stderr, flush=True)
        found = step()
        result |= found
        for line, value in found.items():
            print(f"{line:<38}{value:>10.3f}", flush=True)
    LATEST.write_text(json.dumps({**result, **(card := on_gpu())}, indent=1) + "\n", encoding="utf-8")
    if card:
        print(json.dumps(card, indent=1))
    ratios, slow = missed(result)
    print(*slow, *ratios, sep="\n")
    return 1 if ratios else 0


if __name__ == "__main__":
    sys.exit(main())
