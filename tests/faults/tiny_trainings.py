"""Trainings and trials of a second, all on one thread, so that their numbers can be compared bit for bit."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from test_train import TINY, images_and_labels
from torch import nn

from runners import images as scene_images
from runners.ddpm import trainings
from runners.ddpm.config import TrialConfig
from runners.evaluation import surrogate
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import ExecutionContext, Note
from runners.images import Images
from runners.process import files, heartbeat
from runners.tasks.iclevr.labels import ABOUT

ROOT = Path(__file__).resolve().parent.parent.parent
CPU = torch.device("cpu")
STEPS = TINY.replace(total_images=80, batch_size=1)  # 80 steps, a report every two of them, two points of the curve
NEVER = 1e9


class Small(nn.Module):
    """A network of two convolutions that sees its timestep and its labels: a step of it takes a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.labels, self.leave = nn.Conv2d(3, 8, 3, 1, 1), nn.Linear(25, 8), nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x, t, c):
        condition = self.labels(torch.cat([c, t[:, None] / 1000], 1))[:, :, None, None]
        return self.leave(torch.nn.functional.silu(self.enter(x) + condition))


def scenes() -> Images:
    images, labels = images_and_labels(24)
    return Images(images, labels, np.arange(24), np.arange(24), {"validation": [("red cube",)]}, "digest", ABOUT)


@functools.cache
def tiny_evaluator() -> Evaluator:
    torch.manual_seed(0)
    return Evaluator(ResNet18(width=4, stem="half").eval(), {})


def turn(folder: Path, config: TrialConfig = STEPS, model: nn.Module | None = None):
    """One process's turn at the training in `folder`."""
    return trainings.run(config, folder, model or Small(), CPU, scenes(), tiny_evaluator(), 2)


def notes_of(folder: Path, **arguments) -> list[str]:
    return [event.text for event in turn(folder, **arguments) if isinstance(event, Note)]


def outcome(folder: Path) -> dict[str, object]:
    """All that a training leaves, but for the seconds that it took."""
    found: dict[str, object] = {f"{which}": (folder / f"{which}.safetensors").read_bytes() for which in ("ema", "raw")}
    found["curve"] = [
        {name: value for name, value in line.items() if name not in ("seconds", "images_per_second")}
        for line in files.read_lines(folder / trainings.CURVE)
    ]
    found["treatment"] = trainings.facts(folder)["treatment"]
    return found


class Crash(BaseException):
    """As sudden as a power cut: nobody handles it."""


def raise_after(monkeypatch, ticks: int, error: type[BaseException]) -> None:
    left = iter(range(ticks))

    def tick() -> None:
        if next(left, None) is None:
            raise error

    monkeypatch.setattr(heartbeat, "tick", tick)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -min(100, path.stat().st_size // 2)])


def empty(path: Path) -> None:
    path.write_bytes(b"")


RENDERED = "rendered(scenes=34)"
TRIAL = TINY.replace(data=RENDERED, model="concat_unet(attention=(), channels=(8, 8), groups=4, layers=1)").replace(
    sampler="ddim(steps=2)", guidance_scale=2.0, total_images=32, timesteps=20
)


NAME = "tiny.safetensors"
RECIPE = surrogate.Recipe(width=4, stem="half", total_images=1)


def context(record: Path) -> ExecutionContext:
    return ExecutionContext(str(record), "cpu", curve_points=1, inputs={"evaluator": str(record / "cache" / NAME)})


def data_folder(record: Path) -> Path:
    return scene_images.place(RENDERED, 16, record / "cache")


def trial_folder(record: Path) -> Path:
    return record / "trials" / TRIAL.trial_key
