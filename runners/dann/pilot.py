"""An endless training on noise, for measuring how fast steps are (`runners.process.benchmark`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from runners.dann.config import TrialConfig
from runners.dann.training import Labelled, Training, train

IMAGES = 1024
ENDLESS = 2**62


def steps(config: TrialConfig, device: str) -> tuple[str, Iterator[int]]:
    """What it is executed as, and the labelled images of each step."""
    rng, side = np.random.default_rng(0), config.image_size
    images_NHWC = rng.integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
    labelled = Labelled(images_NHWC, np.arange(IMAGES) % config.task.classes)
    training = Training(config.replace(total_images=ENDLESS), labelled, images_NHWC, torch.device(device))
    return "plainly", (config.batch_size for _ in train(training, ENDLESS))
