"""Domain adaptation (`runners.experiment`): a classifier of one domain's images that is to hold for another's, whose
labels it is not given. Ganin et al. 2016, "Domain-adversarial training of neural networks" (JMLR 17). Whatever needs
torch is imported when it is called."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runners.config import Scalar
from runners.dann import tasks
from runners.dann.config import TrialConfig as Config
from runners.experiment import Cost, Event, ExecutionContext, Progress, Task

if TYPE_CHECKING:
    from runners.dann.folder import Folder

__all__ = [
    "SCALES",
    "Config",
    "at_scale",
    "check",
    "cost",
    "prepare",
    "read",
    "run",
    "steps",
    "task",
    "training_damage",
    "warnings",
]

# The fourth report's source and one of its targets, as a folder may name them.
REPORTED = ("mnist_m", "mnistm", "mnist-m", "svhn", "usps")
# A learning rate that ends at 0, because the last step is what is scored. At a sixth of the peak rate, where the
# schedule of the paper ends, three trainings of one setting were .68 to .78 on USPS; with this one .81 to .82.
SMALL: dict[str, Scalar] = {
    "batch_size": 32,
    "lr": 0.01,
    "lr_schedule": "cosine",
    "standardise": True,
    "augmentation": "shift",
}
# Scale -> fields in which its baseline differs from the defaults.
SCALES: Mapping[str, Mapping[str, Scalar]] = {
    "smoke": {**SMALL, "network": "cnn(bottleneck=16, norm='batch', width=4)", "total_images": 1_280},
    "laptop": {
        **SMALL,
        "network": "cnn(bottleneck=128, norm='batch', width=16)",
        "total_images": 120_000,
        "lambda_gamma": 5.0,
    },
    "gpu": {**SMALL, "network": "cnn(bottleneck=128, norm='batch')", "total_images": 1_000_000, "batch_size": 128},
    # The report: 100 epochs of MNIST-M's 60,000 images at batch 256; its networks are not named.
    "paper": {"network": "svhn_cnn", "total_images": 6_000_000, "image_size": 32},
}


def task(config: Config) -> Task:
    return config.task


def at_scale(config: Config, scale: str) -> dict[str, Scalar]:
    """Of a user's folder the two domains, where the setting names others: those of the report that are there, else the
    first one with labels and the next, with labels if one has them."""
    domains = tasks.parse(config.data)
    if config.source in domains.names and config.target in domains.names:
        return {}
    known = {name.casefold(): name for name in domains.names}
    reported = [known[name] for name in REPORTED if name in known]
    labelled = [name for name in domains.names if domains.has_labels(name)]
    source = next(name for name in (*reported, *labelled) if name in labelled)
    others = [*reported[::-1], *labelled, *domains.names]
    target = next(name for name in sorted(others, key=lambda name: name not in labelled) if name != source)
    return {"source": source, "target": target}


def check(config: Config) -> None:
    from runners.dann import validation

    validation.check(config)


def warnings(config: Config) -> list[str]:
    from runners.dann import validation

    return validation.warnings(config)


def cost(config: Config) -> Cost:
    from runners.dann import costs

    return costs.of(config)


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Folder]:
    """The domains of a user's folder, `inputs["data"]`. Raises ValueError, in one sentence, for what cannot be used."""
    from runners.dann import folder

    return folder.read(inputs, cache)


def prepare(config: Config, context: ExecutionContext) -> Iterator[Event]:
    from runners.dann import trial

    return trial.prepare(config, context)


def run(config: Config, context: ExecutionContext) -> Iterator[Event]:
    from runners.dann import trial

    return trial.run(config, context)


def steps(config: Config, device: str, execution: str) -> tuple[str, Iterator[int]]:
    from runners.dann import pilot

    return pilot.steps(config, device)


def training_damage(folder: Path) -> str:
    from runners.dann import trainings

    return trainings.damage(folder)
