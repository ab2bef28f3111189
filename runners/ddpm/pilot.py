"""A trial in small, for what is measured before it: its training steps on as many images, its sampling in chunks as
large, its evaluator. What an image shows costs nothing, so that noise does.

Both pilots run it, under the flags of a trial: the choice of an execution takes the training steps alone, because it
changes nothing else; the choice of the workers on a device takes all of it.
Shapes: N images, H W pixels, K labels.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.ddpm import graphs, precision, sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.manipulation_check import network_evaluations
from runners.ddpm.noise import KeyedNoise
from runners.ddpm.steps import Execution
from runners.ddpm.train import Training, train
from runners.evaluation import recognition
from runners.evaluation.evaluator import architecture
from runners.process import memory
from runners.process.benchmark import WARM_STEPS

Data = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]  # images_NHWC, labels_NK, rows to train on
HELD_BATCHES = 4  # of noise where images are read batch by batch
ENDLESS = 10**12  # images


def noise(config: TrialConfig, device: torch.device) -> Data:
    """Noise with labels: on a GPU, which holds all images of a training, as many as the data have."""
    rng, some = np.random.default_rng(0), HELD_BATCHES * config.batch_size
    images_NHWC = rng.integers(0, 256, (some, config.image_size, config.image_size, 3), dtype=np.uint8)
    if device.type != "cpu":
        images_NHWC = np.resize(images_NHWC, (max(some, config.task.images), *images_NHWC.shape[1:]))
    labels_NK = _one_label(rng.integers(0, max(1, config.task.classes), len(images_NHWC)), config.task.classes)
    return images_NHWC, labels_NK, np.arange(len(images_NHWC))


def _one_label(label_N: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Conditions of one label each, bool (N, K); of none where there are none."""
    return np.equal(label_N[:, None], np.arange(classes))


def endless(config: TrialConfig, model: nn.Module, device: torch.device, execution: Execution) -> Training:
    """A training without end."""
    return Training(config.replace(total_images=ENDLESS), model, device, execution)


def training_steps(training: Training, data: Data) -> Iterator[int]:
    """Steps of the training: each yields the images that it took."""
    images_NHWC, labels_NK, rows = data
    for _ in train(training, images_NHWC, labels_NK, ENDLESS, rows):
        yield training.config.batch_size


def trial_steps(config: TrialConfig, model: nn.Module, device: torch.device, execution: Execution) -> Iterator[int]:
    """Steps of training without end, each with the share of the sampling that belongs to it; each yields the training
    images that it took.

    First all that a trial does is done once, and in its order, so that its memory has been taken when this returns:
    some steps of training, some of sampling, the evaluator, which stays on the device.
    """
    data = noise(config, device)
    training = endless(config, copy.deepcopy(model), device, execution)
    for _ in islice(training_steps(training, data), WARM_STEPS):
        pass
    del training
    network = precision.working(copy.deepcopy(model).to(device).eval(), config.precision)
    wanted = config.task.conditions * config.sampling_seeds
    chunk = min(sample.chunk_of(device, config.image_size), wanted)
    _, chunk = memory.halving(lambda size: _rehearsed(config, network, size, device), chunk, device)
    evaluator = architecture(config.evaluator, config.image_size, config.task)
    images_NHWC = np.resize(data[0], (chunk, *data[0].shape[1:]))
    recognition.probabilities(evaluator, images_NHWC, device)
    return _together(config, endless(config, model, device, execution), data, network, chunk, evaluator)


def _together(
    config: TrialConfig, training: Training, data: Data, network: nn.Module, chunk: int, evaluator: nn.Module
) -> Iterator[int]:
    """Steps of training; sampling takes one whenever that many images have gone through the network less often in it
    than in a trial that is as far in its training. The `evaluator` is there, too."""
    both = network_evaluations(config) // len(sample.steps_of(config).t)  # passes of one step: guided ones are two
    passes = network_evaluations(config) * config.task.conditions * config.sampling_seeds
    sampling, owed = _sampling(config, network, chunk, training.device), 0.0
    for images in training_steps(training, data):
        owed += images * passes / config.total_images
        while owed >= chunk * both:
            next(sampling)
            owed -= chunk * both
        yield images


def _rehearsed(config: TrialConfig, network: nn.Module, chunk: int, device: torch.device) -> None:
    """So many steps of sampling that a graph of them is recorded."""
    with closing(_sampling(config, network, chunk, device)) as steps:
        for _ in islice(steps, graphs.WARM + 2):
            pass


def _sampling(config: TrialConfig, network: nn.Module, chunk: int, device: torch.device) -> Generator[None, None, None]:
    """Steps of sampling `chunk` images, again and again."""
    classes = config.task.classes
    one_BK = _one_label(np.arange(chunk) % max(1, classes), classes)
    c_BK = torch.from_numpy(one_BK).to(device, torch.float32)
    conditions = [(position, ()) for position in range(chunk)]
    while True:
        for _ in sample.sample_as(config, network, c_BK, KeyedNoise("pilot", conditions, 0)):
            yield
