"""What a step of a training is: its learning rate, how it is executed, and what is reported of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runners.ddpm.config import TrialConfig

EXPLODED = 1e6  # mean loss of a report; targets have unit variance and answering 0 costs at most gamma, about 5


@dataclass(frozen=True)
class TrainProgress:
    """Since the last report: mean loss and gradient norm; `images` and `seconds` since the start.

    `error_by_decile`: mean squared error of the network's target, unweighted, over the samples since the last report
    whose t lies in decile k of [0, T); a decile that had none is left out.
    """

    images: int
    total_images: int
    loss: float
    gradient_norm: float
    lr: float
    seconds: float
    images_per_second: float
    error_by_decile: dict[int, float]

    @property
    def diverged(self) -> bool:
        """The loss is not finite, or a thousand standard deviations off: nothing comes back from there."""
        return not self.loss <= EXPLODED


def learning_rate(config: TrialConfig, images: int) -> float:
    """Linear warm-up, then constant or a half cosine to 0 (Loshchilov & Hutter 2017, eq. 5)."""
    if images < config.warmup_images:
        return config.lr * (images + config.batch_size) / (config.warmup_images + config.batch_size)
    if config.lr_schedule == "constant":
        return config.lr
    span = max(1, config.total_images - config.warmup_images)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (images - config.warmup_images) / span)))


@dataclass(frozen=True)
class Execution:
    """How the same step is executed."""

    channels_last: bool = False
    compiled: bool = False  # by torch.compile
    graphed: bool = False  # forward and backward pass as one CUDA graph

    def __str__(self) -> str:
        names = {"channels_last": "channels last", "compiled": "compiled", "graphed": "as a CUDA graph"}
        return ", ".join(text for name, text in names.items() if getattr(self, name)) or "plainly"
