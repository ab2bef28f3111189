"""What a domain-adaptation trial costs, counted before it is spent. Standard library only."""

from __future__ import annotations

from runners.dann import networks
from runners.dann.config import TrialConfig
from runners.experiment import Cost

TRAINING_FORWARDS = 3.0  # FLOP of a training step in forward passes: the backward pass computes two products for one
BYTES_A_WEIGHT = 4  # fp32
SCORED = 0.25  # of all images: what validates and tests


def size_of(config: TrialConfig) -> networks.Size:
    return networks.measure(config.network, config.image_size, config.channel_count, config.task.classes)


def train_flop(config: TrialConfig, labelled_images: int) -> float:
    """Of so many labelled images, and in adaptation as many of the target."""
    size = size_of(config)
    forward = size.features_flop + size.label_flop
    if config.method == "dann":
        forward += size.features_flop + 2 * size.domain_flop
    return TRAINING_FORWARDS * forward * labelled_images


def of(config: TrialConfig) -> Cost:
    """FLOP of the training and of the scores, size of a checkpoint."""
    size = size_of(config)
    return Cost(
        train_flop=train_flop(config, config.total_images),
        step_flop=train_flop(config, config.batch_size),
        sample_flop=(size.features_flop + size.label_flop) * SCORED * config.task.images,
        evaluations=1,
        parameters=size.parameters,
        checkpoint_bytes=BYTES_A_WEIGHT * size.parameters,
    )
