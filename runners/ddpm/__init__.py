"""The conditional diffusion experiment (`runners.experiment`). Whatever needs torch is imported when it is called."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from runners import tasks
from runners.config import Scalar
from runners.ddpm.config import TrialConfig as Config
from runners.experiment import Cost, Event, ExecutionContext, Given, Progress, Task

__all__ = [
    "Config",
    "at_scale",
    "check",
    "cost",
    "more_surrogates",
    "prepare",
    "read",
    "run",
    "steps",
    "task",
    "training_damage",
    "warnings",
]


def task(config: Config) -> Task:
    return config.task


def at_scale(config: Config, scale: str) -> dict[str, Scalar]:
    found = dict(getattr(tasks.module(config.data), "SCALES", {}).get(scale, {}))
    if config.task.kind == "none":  # there is no condition to drop, nor to guide by
        found |= {"drop_probability": 0.0, "guidance_scale": 1.0}
    return found


def check(config: Config) -> None:
    from runners.ddpm import validation

    validation.check(config)


def warnings(config: Config) -> list[str]:
    from runners.ddpm import manipulation_check

    return manipulation_check.warnings(config)


def cost(config: Config) -> Cost:
    from runners.ddpm import costs

    return costs.of(config)


def more_surrogates(config: Config, record: Path) -> int:
    from runners.evaluation import evaluator

    context = ExecutionContext(str(record), "cpu")
    places = (
        evaluator.place(config.data, config.image_size, config.evaluator, context, number)
        for number in range(1, config.evaluators)
    )
    return sum(not path.is_file() for path in places)


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Given]:
    from runners.ddpm import users_images

    return users_images.read(inputs, cache)


def prepare(config: Config, context: ExecutionContext) -> Iterator[Event]:
    from runners.ddpm import trial

    return trial.prepare(config, context)


def run(config: Config, context: ExecutionContext) -> Iterator[Event]:
    from runners.ddpm import trial

    return trial.run(config, context)


def steps(config: Config, device: str, execution: str) -> tuple[str, Iterator[int]]:
    import torch

    from runners.ddpm import execution as executions
    from runners.ddpm import trial

    return executions.steps(config, trial.build_model(config), torch.device(device), execution)


def training_damage(folder: Path) -> str:
    from runners.ddpm import trainings

    return trainings.damage(folder)
