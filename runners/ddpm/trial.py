"""The front door: a trial from its config to a finished folder, as a generator of events.

A trial trains (or finds its training), samples, scores and writes. Its folder is written under a temporary name and
renamed when it is complete. The training lies beside, under its own key, so that trials which differ in their sampling
half share it.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from runners import given, models, trial_folder
from runners import images as prepared
from runners.contents import Pixels
from runners.ddpm import (
    earlier_passes,
    execution,
    graphs,
    manipulation_check,
    precision,
    sample,
    sample_passes,
    schedules,
    scorers,
    trainings,
    twins,
)
from runners.ddpm.config import TrialConfig
from runners.ddpm.manipulation_check import ManipulationError
from runners.ddpm.train import TRAINING_FORWARDS
from runners.evaluation import evaluator as evaluators
from runners.evaluation.evaluator import Evaluator
from runners.experiment import Event, ExecutionContext, Note, Progress
from runners.images import Images
from runners.prepared import damage
from runners.process import device as devices
from runners.process import memory, png
from runners.process.locks import lock
from runners.seeds import step_seed

CHECKPOINT_RULE = "weights of the last training step, no selection"


def build_model(config: TrialConfig) -> nn.Module:
    """The network with the initial weights of the training seed."""
    torch.manual_seed(step_seed("weights", config.seed))
    return models.build(config.model, config.image_size, config.task.classes, config.timesteps)


# --- what all trials of a record share -------------------------------------------------------------------


def prepare(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """The data, then the evaluators, where the record lacks them; one process at a time makes them.

    Raises ValueError for a folder or an image that cannot be used.
    """
    devices.use(torch.device(context.device))
    with lock(context.cache / "prepare.lock", wait=True):
        place = data_place(config, context)
        if not place.exists() or damage(place):
            users = (yield from given.read(context.inputs, context.cache)) if "data" in context.inputs else None
            yield from prepared.prepare(config.data, users, config.image_size, context.cache)
    if "evaluator" not in context.inputs:
        images = prepared.open_images(data_place(config, context))
        for number, path in enumerate(evaluator_places(config, context)):
            yield from evaluators.prepare(path, images, config.to_dict(), context, number)


def data_place(config: TrialConfig, context: ExecutionContext) -> Path:
    return prepared.place(config.data, config.image_size, context.cache)


def evaluator_place(config: TrialConfig, context: ExecutionContext) -> Path:
    """Of the first one, or the only one."""
    return evaluator_places(config, context)[0]


def evaluator_places(config: TrialConfig, context: ExecutionContext) -> list[Path]:
    numbers = range(config.evaluators)
    return [evaluators.place(config.data, config.image_size, config.evaluator, context, number) for number in numbers]


# --- one trial -------------------------------------------------------------------------------------------


def run(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """Train (or find the training), sample, score, write the folder.

    Raises ManipulationError when a setting did not reach the training or the sampling. Stopped, closed or failed, it
    leaves the training and nothing of the trial's folder.
    """
    with trial_folder.begun(config, context) as folder:
        if folder is None:  # another process has finished it
            return
        # A GPU does not wait for the compression of pictures.
        with devices.algorithms(context.deterministic), png.aside() as later:
            yield from _fill(_begun(config, context), folder, later)


def _fill(trial: _Trial, folder: Path, later: png.Later) -> Iterator[Event]:
    """The four parts of a trial. What is given to `later` is done when its block ends."""
    training = yield from train(trial)
    memory.give_back()  # what one part has freed, the next one and other processes can take
    sampled = yield from draw(trial, training)
    memory.give_back()
    write(trial, training, sampled, score(trial, training, sampled, folder, later), folder)


@dataclass(frozen=True)
class _Trial:
    """What every part of a trial is given; the paths are those of the images and the evaluators."""

    config: TrialConfig
    context: ExecutionContext
    device: torch.device
    images_path: Path
    images: Images
    evaluator_paths: list[Path]
    evaluators: tuple[Evaluator, ...]


def _begun(config: TrialConfig, context: ExecutionContext) -> _Trial:
    """The device made ready, the images and the evaluators opened."""
    device = torch.device(context.device)
    devices.use(device)
    memory.reset_peak(device)
    images_path, paths = data_place(config, context), evaluator_places(config, context)
    opened = tuple(evaluators.load(str(path), config.evaluator, config.image_size, config.task) for path in paths)
    return _Trial(config, context, device, images_path, prepared.open_images(images_path), paths, opened)


@dataclass(frozen=True)
class Trained:
    """The network that is scored, and the folder of its training with what that says of itself."""

    network: nn.Module
    folder: Path
    facts: dict[str, Any]


def train(trial: _Trial) -> Generator[Event, None, Trained]:
    """Train, or go on with the training, or find it finished; then load the weights that are scored."""
    config, context, device = trial.config, trial.context, trial.device
    folder = context.cache / "trainings" / config.train_key
    model = build_model(config).to(device)

    def choose() -> execution.Choice:
        if context.deterministic:
            return execution.Choice()
        data = trial.images.images_NHWC, trial.images.labels_NK, trial.images.train_indices
        shared = context.cache / "executions"
        chosen = execution.choose(config, model, device, context.compile, context.images_ahead, data, shared)
        memory.reset_peak(device)  # the trial's is not that of its benchmark
        return chosen

    first, points = trial.evaluators[0], context.curve_points  # one evaluator for every trial that shares the training
    yield from trainings.run(config, folder, model, device, trial.images, first, points, choose)
    if twin := twins.same_weights(folder):
        if not twin.inert:
            raise ManipulationError(
                f"The trainings {folder.name} and {twin.key} differ in {', '.join(twin.fields)} but not in a single "
                "weight: the factor did not reach the training. Compare the config.json of both."
            )
        yield Note(f"{', '.join(twin.fields)} made no difference: the training {twin.key} has the same weights")
    model.load_state_dict(trainings.load_weights(folder, config.weights, context.device))
    model.eval()
    return Trained(precision.working(model, config.precision), folder, trainings.facts(folder))


@dataclass(frozen=True)
class Sampled:
    """List -> uint8 (K, N, H, W, C) of the passes that were drawn here, after those of an `earlier` trial.

    `seconds` that sampling took, the earlier trial's included, and those of its warm-up and the recording of graphs;
    `forwards`: images that went through the network here;
    `passes`: how often one image did.
    """

    images: dict[str, Pixels]
    earlier: earlier_passes.Earlier | None
    seconds: float
    warm_up_seconds: float
    forwards: int
    passes: float


def draw(trial: _Trial, training: Trained) -> Generator[Event, None, Sampled]:
    """One image per condition and sampling seed of every list; only of the seeds that no earlier trial has."""
    config, device = trial.config, trial.device
    weights, record = training.facts["sha256"][config.weights], Path(trial.context.record)
    earlier, said = earlier_passes.find(config, record, weights, trial.evaluators, trial.images, device)
    yield from map(Note, said)
    if earlier is not None:
        yield Note(f"{earlier.passes} of the {config.sampling_seeds} sampling passes are those of {earlier.trial_key}")
    first = earlier.passes if earlier else 0
    wanted = [
        sample.Wanted(name, conditions, torch.from_numpy(trial.images.hot(conditions)).to(device, torch.float32))
        for name, conditions in trial.images.lists.items()
        if conditions
    ]
    warm_up = sample.warm_up(config, training.network, wanted, 1)
    recorded = graphs.Replayed.seconds
    start, parts = time.perf_counter(), list[sample.Part]()
    for part in sample_passes.sample_passes(config, training.network, wanted, first, config.sampling_seeds):
        whole = parts[-1].chunk if parts else sample.chunk_of(device, config.image_size)
        if part.chunk < whole:
            yield Note(f"out of memory: {part.chunk} images are sampled at once, not {whole}")
        parts.append(part)
        yield Progress("sampling", part.done, part.total)
    images = sample_passes.gathered_passes(parts, wanted)
    recording = graphs.Replayed.seconds - recorded
    seconds = time.perf_counter() - start - recording + (earlier.seconds if earlier else 0.0)
    forwards = sum(part.passes for part in parts)
    return Sampled(images, earlier, seconds, warm_up + recording, forwards, forwards / parts[-1].total)


def score(trial: _Trial, training: Trained, sampled: Sampled, folder: Path, later: png.Later) -> dict[str, Any]:
    """What the scorers find in the samples; they leave their files in `folder`."""
    subject = scorers.Subject(
        config=trial.config,
        device=trial.device,
        images=trial.images,
        evaluators=trial.evaluators,
        network=training.network,
        samples=sampled.images,
        earlier=sampled.earlier,
        folder=folder,
        later=later,
    )
    return scorers.score(subject, str(trial.images_path))


def write(trial: _Trial, training: Trained, sampled: Sampled, scores: dict[str, Any], folder: Path) -> None:
    """config.json, environment.json, conditions.json, task.json, result.json, metrics.jsonl.

    Raises ManipulationError when what ran is not what the config says.
    """
    config, facts, earlier = trial.config, training.facts, sampled.earlier
    checked = facts["treatment"]
    manipulation_check.verify(config, checked, sampled.passes)
    size = models.measure(config.model, config.image_size, config.task.classes, config.timesteps)
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    numbers = {name: value for name, value in scores.items() if not isinstance(value, str)}
    result: dict[str, Any] = {
        **{name: value for name, value in numbers.items() if math.isfinite(value)},  # JSON has no NaN
        **{name: value for name, value in scores.items() if isinstance(value, str)},
        "real_images": len(trial.images.held_out_indices),
        "images": config.total_images,
        "seconds/train": facts["seconds/train"],
        "images_per_second": facts["images_per_second"],
        "seconds/sample": sampled.seconds,
        "seconds/warm_up": sampled.warm_up_seconds,
        "sampled/forwards": sampled.forwards,
        **({"sampled/from": earlier.trial_key, "sampled/passes_before": earlier.passes} if earlier else {}),
        "seconds/compile": facts.get("seconds/compile", 0.0),  # trainings of older versions lack these two
        "execution": facts.get("execution", ""),
        "device/train": facts.get("device", ""),  # of the process that trained, be it another trial's
        "device/sample": devices.name(trial.device),
        "packed": trial.context.colocated,  # the record's word
        "parameters": size.parameters,
        "gflop_forward": size.forward_flop / 1e9,
        "train_pflop": TRAINING_FORWARDS * size.forward_flop * config.total_images / 1e15,
        "network_evaluations": manipulation_check.network_evaluations(config),
        "peak_memory_mb": memory.peak_mb(trial.device),
        "terminal_sqrt_alpha_bar": float(alpha_bar_T[-1] ** 0.5),
        **{f"treatment/{name}": value for name, value in checked.items() if name != "never_drawn"},
        "treatment/timesteps_never_drawn": len(checked["never_drawn"]),
        "weights_sha256": facts["sha256"][config.weights],
        "warnings": "\n".join(manipulation_check.warnings(config, checked)),
        "checkpoint_rule": CHECKPOINT_RULE,
        "data_digest": trial.images.digest,
        **evaluators.facts(trial.evaluators),
    }
    texts = {
        "config": config.to_dict(),
        "environment": environment(config, trial.context) | {"arithmetic/train": facts.get("arithmetic", "")},
        "conditions": trial.images.lists,
        "task": trial.images.described(config.task),
        "result": result,
    }
    for file, value in texts.items():
        (folder / f"{file}.json").write_text(json.dumps(value, indent=1))
    shutil.copy(training.folder / trainings.CURVE, folder / "metrics.jsonl")


def environment(config: TrialConfig, context: ExecutionContext) -> dict[str, str]:
    """Device, how it computed and versions, as text."""
    with precision.arithmetic(config.precision):
        sampling = devices.arithmetic()
    with devices.tf32(False):
        evaluating = devices.arithmetic()
    return {
        "device": devices.name(torch.device(context.device)),
        "device_slot": context.device,
        "threads": str(context.threads),
        "deterministic": str(context.deterministic),
        "arithmetic/sample": sampling,
        "arithmetic/evaluator": evaluating,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
