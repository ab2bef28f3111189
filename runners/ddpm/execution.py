"""How the steps of a training are executed: memory format, CUDA graph, torch.compile. The numbers are those of a plain
execution up to rounding; which one is fastest depends on network, batch and device, so it is measured.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from runners.ddpm import graphs, pilot
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import Execution
from runners.process import device as devices
from runners.process import files, heartbeat, memory
from runners.process.benchmark import WARM_STEPS, measure
from runners.process.locks import lock

TIMED_STEPS = 12
WORTH_MEASURING = 1000  # steps of a training
COMPILE_SECONDS = 120.0  # that a cold compilation of a large network takes
COMPILE_GAIN = 0.25  # of the time of a step that it is expected to save
ARCHITECTURES = 64  # that one process may compile; the default of 8 would silently go back to plain ones
NO_KERNEL = "unable to find an engine"  # of cuDNN, for these types, this layout and the memory that is free
PLAIN = Execution()


@dataclass(frozen=True)
class Choice:
    """An execution, what it took to compile it, and what was measured: images per second of each that was tried."""

    execution: Execution = PLAIN
    compile_seconds: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        seen = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.rates.items())
        took = f"; torch.compile took {self.compile_seconds:.0f} s" if self.compile_seconds else ""
        return f"steps are executed {self.execution} (benchmark, images/s: {seen}{took}{self.note})"


class Benchmark:
    """Trains a copy of `model`, one execution after the other, on the images that a trial has on its device."""

    def __init__(
        self, config: TrialConfig, model: nn.Module, device: torch.device, data: pilot.Data | None = None
    ) -> None:
        self.config, self.model, self.device = config, model, device
        self.data = pilot.noise(config, device) if data is None else data
        self.rates: dict[str, float] = {}

    def rate(self, execution: Execution) -> tuple[float, float]:
        """Images per second and the seconds of the first step.

        0 images if memory ran out, cuDNN has no kernel for it, or nothing was recorded.
        """
        try:
            found = self._measure(execution)
        except (RuntimeError, MemoryError) as error:
            if not memory.ran_out(error) and NO_KERNEL not in str(error):
                raise
            found = (0.0, 0.0)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.rates[str(execution)] = found[0]
        return found

    def _measure(self, execution: Execution) -> tuple[float, float]:
        training = pilot.endless(self.config, copy.deepcopy(self.model), self.device, execution)
        steps = pilot.training_steps(training, self.data)
        first = measure(steps, self.device).seconds
        measure(steps, self.device, WARM_STEPS)
        heartbeat.tick()
        rate = measure(steps, self.device, TIMED_STEPS).per_second
        if isinstance(training.whole, graphs.Replayed) and training.whole.graph is None:
            return 0.0, first  # it was not recorded, so this is not its rate
        return rate, first


_chosen: dict[tuple[str, str, str], Choice] = {}


def choose(
    config: TrialConfig,
    model: nn.Module,
    device: torch.device,
    compile: str = "auto",
    images_ahead: int = 0,
    data: pilot.Data | None = None,
    shared: Path | None = None,
) -> Choice:
    """The fastest execution of this network, batch and precision on this device, measured once per process, and once
    for all processes that have a folder `shared`: workers that measure beside each other on one GPU measure each other,
    and arms of one study would be executed in different ways.

    `data`: what the trial will train on; None stands for noise of that size. On a CPU, and for short trainings, it is
    the plain one without a measurement. With `compile` "auto" torch.compile is tried where the `images_ahead` of this
    process take so long that it can repay itself, with "on" always and kept, with "off" never. What it compiled serves
    every later training of the process; torch keeps it on disk for others.
    """
    images = max(images_ahead, config.total_images)
    long = config.total_images >= WORTH_MEASURING * config.batch_size
    if compile != "on" and (device.type == "cpu" or not long):
        return Choice()
    key = (str(device), compile, config.step_key)
    if key in _chosen:
        return Choice(_chosen[key].execution)
    with ExitStack() as stack:
        known = None
        if shared is not None:
            words = (devices.name(device), torch.__version__, compile, config.step_key)
            known = shared / f"{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]}.json"
            stack.enter_context(lock(shared / "lock", wait=True))
        if known is not None and (execution := _read(known)) is not None:
            _chosen[key] = Choice(execution)
        else:
            _chosen[key] = _measured(Benchmark(config, model, device, data), compile, images)
            if known is not None:
                found = {"execution": dataclasses.asdict(_chosen[key].execution), "rates": _chosen[key].rates}
                files.write_json(known, {"device": words[0], "torch": words[1], **found})
    return _chosen[key]


def _read(path: Path) -> Execution | None:
    """What another process chose; None where nothing can be read: then it is measured again."""
    try:
        return Execution(**files.read_json(path)["execution"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measured(benchmark: Benchmark, compile: str, images: int) -> Choice:
    """The plain execution; on a GPU with channels last, then as a graph, each kept where it won; then compiled."""
    best, top = _uncompiled(benchmark)
    cuda = benchmark.device.type == "cuda"
    saved = COMPILE_GAIN * images / max(top, 1e-9)
    if compile == "off" or (compile == "auto" and saved < COMPILE_SECONDS):
        return Choice(best, rates=benchmark.rates)
    import torch._dynamo  # takes seconds: only where something is compiled

    torch._dynamo.config.recompile_limit = ARCHITECTURES
    # Compiled kernels prefer channels last, whatever the others did.
    compiled = Execution(channels_last=cuda, compiled=True, graphed=best.graphed)
    start = time.perf_counter()
    try:
        rate, first = benchmark.rate(compiled)
    except Exception as error:  # of any kind: of the compiler, of what it calls, of a machine that has none
        reason = str(error).strip().split("\n")[0][:200]
        return Choice(best, time.perf_counter() - start, benchmark.rates, f": it failed: {reason}")
    if rate > (0 if compile == "on" else top):
        best = compiled
    return Choice(best, first, benchmark.rates)


def _uncompiled(benchmark: Benchmark) -> tuple[Execution, float]:
    """The fastest of the executions that need no compiler, and its images per second."""
    best, top = PLAIN, benchmark.rate(PLAIN)[0]
    for change in ("channels_last", "graphed") if benchmark.device.type == "cuda" else ():
        tried = dataclasses.replace(best, **{change: True})
        if (rate := benchmark.rate(tried)[0]) > top:
            best, top = tried, rate
    return best, top


def steps(config: TrialConfig, model: nn.Module, device: torch.device, named: str) -> tuple[str, Iterator[int]]:
    """What `runners.process.benchmark` runs: a trial without end, on noise, whose steps are executed as `named`.

    "auto" is what a trial of this setting would choose here without compiling; the name of what was chosen comes
    first, for the next worker to be told.
    """
    if named == "auto":
        plain = device.type == "cpu" or config.total_images < WORTH_MEASURING * config.batch_size
        execution = PLAIN if plain else _uncompiled(Benchmark(config, model, device))[0]
    else:
        on = set(named.split("+"))
        execution = Execution(**{name: name in on for name in ("channels_last", "compiled", "graphed")})
    chosen = "+".join(name for name, value in dataclasses.asdict(execution).items() if value) or "plain"
    return chosen, pilot.trial_steps(config, model, device, execution)
