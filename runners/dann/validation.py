"""Whether a config can run at all, and what will limit its meaning. Nothing is built and nothing written."""

from __future__ import annotations

from runners import ranges
from runners.dann import augmentations, networks, optimisers, tasks
from runners.dann.config import METHODS, TrialConfig

CHOICES = {
    "method": METHODS,
    "channels": ("rgb", "grey"),
    "lr_schedule": ("dann", "cosine", "constant"),
    "lambda_schedule": ("dann", "constant"),
}
POSITIVE = ("total_images", "batch_size", "lr")
NOT_NEGATIVE = ("weight_decay", "seed")
SIZES = range(16, 129)  # pixels per side
MOST_LAMBDA, MOST_GAMMA = 10.0, 1000.0  # beyond them the features do nothing but hide the domain; lambda_p is a step
FEW_STEPS = 100  # of the optimiser: no schedule means anything


def check(config: TrialConfig) -> None:
    """ValueError, one sentence that says what to write instead."""
    ranges.check(config, POSITIVE, NOT_NEGATIVE)
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            written = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise ValueError(f"{name}={getattr(config, name)!r} is unknown: write {written}.")
    if not 0 <= config.lambda_max <= MOST_LAMBDA:
        raise ValueError(f"lambda_max={config.lambda_max} must lie in [0, {MOST_LAMBDA:g}]: write 1.0, for example.")
    if not 0 < config.lambda_gamma <= MOST_GAMMA:
        raise ValueError(f"lambda_gamma={config.lambda_gamma} must lie in (0, {MOST_GAMMA:g}]: write 10.0.")
    if config.image_size not in SIZES:
        raise ValueError(f"image_size={config.image_size} must lie from {SIZES[0]} to {SIZES[-1]}: write 28 or 32.")
    optimisers.find(config.optimiser)
    augmentations.find(config.augmentation)
    check_domains(config)
    networks.measure(config.network, config.image_size, config.channel_count, config.task.classes)


def check_domains(config: TrialConfig) -> None:
    """ValueError for domains that are unknown, one and the same, or have no labels where labels are trained on."""
    domains = tasks.parse(config.data)
    domains.check(config.source, "source")
    domains.check(config.target, "target")
    if config.source == config.target:
        others = [name for name in domains.names if name != config.source]
        raise ValueError(
            f"source and target are both {config.source!r}, which leaves nothing to adapt: write another target, "
            f"such as {others[0]!r}."
        )
    if config.source in domains.unlabelled:
        labelled = [name for name in domains.names if name not in domains.unlabelled]
        raise ValueError(
            f"source={config.source!r} has no labels to train on: write a domain that has, {' or '.join(labelled)}."
        )
    if config.method == "target_only" and config.target in domains.unlabelled:
        raise ValueError(
            f"method='target_only' trains on the labels of target={config.target!r}, which has none: write source_only "
            "or dann, or label the images."
        )


def warnings(config: TrialConfig) -> list[str]:
    """Sentences on what will limit the meaning of a trial."""
    found = []
    if config.target in tasks.parse(config.data).unlabelled:
        found.append(f"The target {config.target} has no labels: only the accuracy on the source can be measured.")
    if config.method == "dann" and config.lambda_max == 0:
        found.append("lambda_max=0 reverses nothing: the features are those of source_only.")
    if -(-config.total_images // config.batch_size) < FEW_STEPS:
        steps = -(-config.total_images // config.batch_size)
        found.append(
            f"A training of {steps} step{'s' * (steps != 1)} is too short for its schedules of "
            f"lambda_p and the learning rate: write total_images={FEW_STEPS * config.batch_size} or more."
        )
    if config.domain_lr_quirk and config.method == "dann":
        found.append(
            "domain_lr_quirk divides the domain classifier's learning rate by lambda_p, which begins at 0; below .1 it "
            "counts as .1."
        )
    return found
