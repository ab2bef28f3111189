"""The devices of a study and how many workers each gets: one, a number, or as many as pay by a benchmark."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

from runners import packages
from runners.config import StagedConfig
from runners.experiment import leaves_out
from runners.process.cores import usable
from study.design.plan import Plan
from study.executors import Slot
from study.executors.local import PYTHON, ROOT, slots, surroundings

AUTO = "auto"
MOST = 4  # workers that are tried on one GPU
SECONDS = 3.0  # of training with each number of workers
GAIN = 1.1  # that another worker must bring: a benchmark of seconds does not measure less
FULL = 0.8  # of the memory that the workers of a device may fill


def cuda_count() -> int:
    """How many CUDA devices there are; torch is asked only where a driver is, because its import takes seconds."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() or shutil.which("nvidia-smi")):
        return 0
    import torch

    return torch.cuda.device_count()


def named(
    devices: str | None, per_device: str | None, has_cuda: int, deterministic: bool = False, compile: str = "auto"
) -> list[Slot]:
    """The slots of `--devices` and `--per-device`, of "auto" those of the default. ValueError for what is not there or
    contradicts itself."""
    if deterministic and compile == "on":
        raise ValueError("--deterministic and --compile on contradict each other: leave one of them out.")
    count = None if per_device in (None, AUTO) else per_device
    if count is not None and not (count.isdecimal() and int(count) > 0):
        raise ValueError(f"--per-device {per_device} runs nothing: write --per-device 1 or more, or auto.")
    if devices is None:
        found = [f"cuda:{number}" for number in range(has_cuda)] or ["cpu"]
    else:
        found = [device.strip() for device in devices.split(",")]
    available = cuda_count() if any(device != "cpu" for device in found) else 0
    for device in found:
        number = device.removeprefix("cuda:")
        if device != "cpu" and not (device.startswith("cuda:") and number.isdecimal()):
            raise ValueError(f"--devices {device!r} is unknown: write cpu, or cuda:0,cuda:1 and so on.")
        if device != "cpu" and int(number) >= available:
            raise ValueError(f"--devices {device}: this machine has {available} CUDA devices; write --devices cpu.")
    if len(set(found)) < len(found):
        raise ValueError(f"--devices {devices} names a device twice: write --per-device N instead.")
    return slots(found, int(count) if count is not None else None, deterministic, compile)


def describe(slots: Sequence[Slot]) -> str:
    devices = [slot.device for slot in slots]
    return ", ".join(f"{devices.count(device)} x {device}" for device in dict.fromkeys(devices))


def benchmarked(plans: Sequence[Plan], given: Sequence[Slot]) -> list[Slot]:
    """On the devices of `given` as many workers as pay, by a benchmark of the largest network of the plans.

    Prints what it saw. ValueError where it cannot train at all.
    """
    for plan in plans:
        if leaves_out(plan.experiment, "steps"):
            raise ValueError(
                f"--per-device auto: the experiment {plan.spec.experiment} has no `steps` to benchmark: write "
                "--per-device 1, or another number."
            )
    print("benchmark: training for seconds with one, two and more workers", file=sys.stderr, flush=True)
    sizes = {
        (packages.address(plan.spec.experiment), trial.config.at_seed(0, 0)): plan.experiment
        for plan in plans
        for trial in plan.trials
    }
    name, heaviest = max(sizes, key=lambda size: sizes[size].cost(size[1]).step_flop)
    devices = list(dict.fromkeys(slot.device for slot in given))
    seen = benchmark(name, heaviest, devices[0], deterministic=given[0].deterministic)
    print(seen, flush=True)
    return slots(devices, seen.chosen, given[0].deterministic, given[0].compile)


@dataclass(frozen=True)
class Benchmark:
    """Workers at once -> images per second of all of them; memory of one and of the device."""

    rates: Mapping[int, float]
    memory_mb: float
    capacity_mb: float

    @property
    def chosen(self) -> int:
        """The most workers of which each brought GAIN and which fit into memory."""
        best = 1
        for workers, rate in sorted(self.rates.items()):
            if workers * self.memory_mb <= FULL * self.capacity_mb and rate >= GAIN * self.rates[best]:
                best = workers
        return best

    def __str__(self) -> str:
        each = ", ".join(f"{workers}: {rate:,.0f}" for workers, rate in sorted(self.rates.items()))
        return (
            f"benchmark: images/s of training by workers on the device ({each}), {self.memory_mb:,.0f} MB each of "
            f"{self.capacity_mb:,.0f}: {self.chosen} per device"
        )


def benchmark(
    experiment: str, config: StagedConfig, device: str, seconds: float = SECONDS, deterministic: bool = False
) -> Benchmark:
    """Run the config on noise in one, two and more processes at once. ValueError where not even one can.

    The first worker chooses how steps are executed, as a trial would; the others do the same.
    """
    most = min(usable(), MOST) if device != "cpu" else usable()
    threads = 1 if device == "cpu" else max(1, usable() // most)
    program = [*PYTHON, "runners.process.benchmark", experiment, json.dumps(config.to_dict()), device]
    rates: dict[int, float] = {}
    with ExitStack() as stack:
        started: list[subprocess.Popen[str]] = []

        def start(execution: str) -> subprocess.Popen[str]:
            line = [*program, str(threads), execution, "yes" if deterministic else "no"]
            worker = subprocess.Popen(
                line, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT, env=surroundings()
            )
            started.append(stack.enter_context(worker))
            return worker

        try:
            first = start("plain" if deterministic else "auto")
            ready = {first: words} if (words := _answer(first)) else {}
            others = [start(words["execution"]) for _ in range(most - 1)] if ready else []
            ready |= {worker: words for worker in others if (words := _answer(worker))}
            for count in range(1, len(ready) + 1):
                together = list(ready)[:count]
                for worker in together:
                    _tell(worker, f"{seconds}\n")
                answers = [_answer(worker) for worker in together]
                if not all(answers):  # out of memory
                    break
                rates[count] = sum(answer["images"] / answer["seconds"] for answer in answers)
        finally:
            for worker in started:
                worker.kill()
        if not rates:
            reason = (started[0].stderr.read() if started[0].stderr else "").strip().split("\n")[-1]
            raise ValueError(
                f"--per-device auto: the benchmark of {config.to_dict().get('model', 'the network')} on {device} ended "
                f"with {reason!r}: write --per-device 1."
            )
    return Benchmark(rates, footprint_mb(list(ready.values())), ready[first]["capacity_mb"])


def footprint_mb(ready: Sequence[Mapping[str, float]]) -> float:
    """What one worker takes of the device at most, from what each said when it was ready, the first one before the
    others were started: its tensors at their peak, and what it has besides: the CUDA context and the libraries.

    A worker sees what all of them use: what came with the others, less the tensors that they hold. One that is alone
    cannot tell what is not its own.
    """
    tensors, first, others = max(words["memory_mb"] for words in ready), ready[0], ready[1:]
    used, held = first["used_mb"], first["held_mb"]
    if others:
        used = (max(words["used_mb"] for words in others) - used) / len(others)
        held = sum(words["held_mb"] for words in others) / len(others)
    return tensors + max(0.0, used - held)


def _tell(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(line)
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it died: it has no answer either


def _answer(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of a worker; empty when it has ended."""
    assert worker.stdout is not None
    line = worker.stdout.readline()
    return dict(json.loads(line)) if line else {}
