"""What a diffusion trial costs, counted before it is spent."""

from __future__ import annotations

from runners import models
from runners.ddpm.config import TrialConfig
from runners.ddpm.manipulation_check import network_evaluations
from runners.ddpm.train import TRAINING_FORWARDS
from runners.experiment import Cost

BYTES_A_WEIGHT = 4  # fp32
CHANNELS = 3


def of(config: TrialConfig) -> Cost:
    """FLOP of the training and of the sampling, forward passes per image, size of a checkpoint."""
    size = models.measure(config.model, config.image_size, config.task.classes, config.timesteps)
    evaluations = network_evaluations(config)
    return Cost(
        train_flop=TRAINING_FORWARDS * size.forward_flop * config.total_images,
        step_flop=TRAINING_FORWARDS * size.forward_flop * config.batch_size,
        sample_flop=size.forward_flop * evaluations * _samples(config),
        evaluations=evaluations,
        parameters=size.parameters,
        checkpoint_bytes=BYTES_A_WEIGHT * size.parameters,
        passes=config.sampling_seeds,
        data_bytes=config.task.images * config.image_size**2 * CHANNELS,
    )


def _samples(config: TrialConfig) -> int:
    """Images that a trial samples for its scores."""
    return config.task.conditions * config.sampling_seeds + config.quality_samples
