"""Training as a generator: it yields progress; the caller logs, prunes, stops and saves.

Shapes: N images, B batch, C channels, H height, W width, D features, K classes. What a step draws comes from a
generator seeded with (training seed, step), so a training resumed at a step gives the numbers of the uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from runners.contents import Pixels
from runners.dann import augmentations, inputs, model, optimisers, schedules
from runners.dann.config import TrialConfig
from runners.seeds import step_seed

DIVERGED = 1e4  # mean label loss of a report; guessing one of K classes costs log K


@dataclass(frozen=True)
class Labelled:
    """Images that a training sees with their labels, int64 (N,)."""

    images_NHWC: Pixels
    label_N: NDArray[np.int64]


@dataclass(frozen=True)
class TrainProgress:
    """Since the last report: mean losses of labels and domains, and how often the domain classifier was right about the
    images of a batch, half of which are of either domain; `images` and `seconds` since the start. `reversal` is
    lambda_p. None for a training without adaptation."""

    images: int
    label_loss: float
    domain_loss: float | None
    domain_accuracy: float | None
    reversal: float | None
    lr: float
    seconds: float
    images_per_second: float

    @property
    def diverged(self) -> bool:
        """The label loss is not finite, or far beyond guessing: nothing comes back from there."""
        return not self.label_loss <= DIVERGED


class Training:
    """Network, optimiser, count of images and the report in progress: all the state of one training, so that one loaded
    between any two steps goes on, and reports, as if it had never stopped.

    Of the target it is given images alone: no label of it can reach the weights of a method that adapts.
    """

    def __init__(
        self, config: TrialConfig, labelled: Labelled, unlabelled_NHWC: Pixels | None, device: torch.device
    ) -> None:
        self.config, self.device = config, device
        self.network = model.build(config).to(device).train()
        self.scaling = inputs.scaling(config, labelled.images_NHWC, device)
        self.labelled = labelled
        self.unlabelled_NHWC = unlabelled_NHWC if config.method == "dann" else None
        self.optimizer = optimisers.build(
            config.optimiser,
            [self.network.features_and_labels(), list(self.network.domain.parameters())],
            config.lr,
            config.weight_decay,
        )
        self.images, self.seconds = 0, 0.0
        self.sums = torch.zeros(3, device=device)  # label loss, domain loss, domain accuracy since the last report
        self.steps_since = 0
        self.reported = (0, 0.0)  # images and seconds at the last report

    @property
    def progress(self) -> float:
        """p: the share of the images that are drawn."""
        return min(1.0, self.images / self.config.total_images)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
            "seconds": self.seconds,
            "sums": self.sums,
            "steps_since": self.steps_since,
            "reported": self.reported,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.images, self.seconds = int(state["images"]), float(state["seconds"])
        self.sums, self.steps_since = state["sums"].to(self.device), int(state["steps_since"])
        self.reported = state["reported"]

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights at this moment."""
        return {name: value.detach().clone().contiguous() for name, value in self.network.state_dict().items()}


def train(training: Training, report_images: int) -> Iterator[TrainProgress | None]:
    """Train until `total_images` labelled images are drawn. Yields after every step: a report about every
    `report_images` images and at the end, None otherwise; at each of them `training` can be saved.

    Raises FloatingPointError after a report that has `diverged`.
    """
    config = training.config
    labelled = _Epochs(len(training.labelled.images_NHWC), config, "labelled")
    target = None if training.unlabelled_NHWC is None else _Epochs(len(training.unlabelled_NHWC), config, "unlabelled")
    while training.images < config.total_images:
        start = time.perf_counter()
        step = training.images // config.batch_size
        rows_B = labelled.rows(step)
        of_target = None if target is None else training.unlabelled_NHWC[target.rows(step)]  # type: ignore[index]
        _step(training, step, rows_B, of_target)
        due = training.images - training.reported[0] >= report_images or training.images >= config.total_images
        means = (training.sums / training.steps_since).tolist() if due else []  # waits for the device
        # The caller's work between two steps (saving, scoring) is not training time.
        training.seconds += time.perf_counter() - start
        if not due:
            yield None
            continue
        progress = _report(training, *means)
        yield progress
        if progress.diverged:
            raise FloatingPointError(
                f"the label loss is {progress.label_loss:g} after {training.images:,} images: lower lr."
            )


class _Epochs:
    """Rows of batches: each epoch is one permutation of all images; a batch may lie across two epochs, so that sets
    smaller than a batch are drawn as often as larger ones."""

    def __init__(self, count: int, config: TrialConfig, what: str) -> None:
        self.count, self.size, self.seed, self.what = count, config.batch_size, config.seed, what
        self.orders: dict[int, NDArray[np.int64]] = {}

    def rows(self, step: int) -> NDArray[np.int64]:
        """(B,) of a step."""
        place_B = np.arange(step * self.size, (step + 1) * self.size)
        epoch_B = place_B // self.count
        self.orders = {epoch: self._order(epoch) for epoch in np.unique(epoch_B).tolist()}
        found = [self.orders[epoch][place] for epoch, place in zip(epoch_B.tolist(), place_B % self.count, strict=True)]
        return np.array(found, dtype=np.int64)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch in self.orders:
            return self.orders[epoch]
        return np.random.default_rng(step_seed("order", self.what, self.seed, epoch)).permutation(self.count)


def _step(training: Training, step: int, rows_B: NDArray[np.int64], target_BHWC: Pixels | None) -> None:
    """One step of the optimiser (Ganin et al. 2016, eq. 13 to 15), on uint8 images."""
    config, device, network = training.config, training.device, training.network
    label_B = torch.from_numpy(training.labelled.label_N[rows_B]).to(device)
    prepared = _prepared(training, step)
    x_BCHW = prepared(training.labelled.images_NHWC[rows_B], "labelled")
    for group, rate in zip(
        training.optimizer.param_groups,
        (schedules.learning_rate(config, training.progress), schedules.domain_learning_rate(config, training.progress)),
        strict=True,
    ):
        group["lr"] = rate
    if target_BHWC is None:
        label_loss = loss = F.cross_entropy(network(x_BCHW), label_B)
        seen = torch.zeros(2, device=device)
    else:
        features_MD = _of_both(network, x_BCHW, prepared(target_BHWC, "unlabelled"))
        label_loss = F.cross_entropy(network.label(features_MD[: len(x_BCHW)]), label_B)
        reversal = schedules.reversal(config, training.progress)
        domain_M2 = network.domain(model.reverse(features_MD, reversal))
        domain_M = torch.arange(2, device=device).repeat_interleave(len(x_BCHW))
        domain_loss = F.cross_entropy(domain_M2, domain_M)
        loss = label_loss + domain_loss
        right = (domain_M2.detach().argmax(1) == domain_M).float().mean()
        seen = torch.stack([domain_loss.detach(), right])
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.sums += torch.cat([label_loss.detach()[None], seen])
    training.steps_since += 1
    training.images += config.batch_size


def _of_both(network: model.Network, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Features of the source's images, then of the target's, (2 B, D); in one pass, so that batch norm sees them
    together, unless each domain has its own."""
    if not network.separates:
        return network.features(torch.cat([source_BCHW, target_BCHW]))
    parts = network.features(source_BCHW, model.SOURCE), network.features(target_BCHW, model.TARGET)
    return torch.cat(parts)


def _prepared(training: Training, step: int) -> Callable[[Pixels, str], Tensor]:
    """uint8 (B, H, W, 3) -> what the network is given, (B, C, H, W), augmented by the draw of this step."""
    config = training.config

    def prepared(images_BHWC: Pixels, what: str) -> Tensor:
        generator = np.random.default_rng(step_seed("augmentation", what, config.seed, step))
        augmented_BHWC = augmentations.apply(config.augmentation, np.asarray(images_BHWC), generator)
        return training.scaling.apply(augmented_BHWC)

    return prepared


def _report(training: Training, label_loss: float, domain_loss: float, domain_accuracy: float) -> TrainProgress:
    """What happened since the last report; the next one begins."""
    images, seconds = training.reported
    adapts = training.unlabelled_NHWC is not None
    p = max(0, training.images - training.config.batch_size) / training.config.total_images  # of the last step
    progress = TrainProgress(
        images=training.images,
        label_loss=label_loss,
        domain_loss=domain_loss if adapts else None,
        domain_accuracy=domain_accuracy if adapts else None,
        reversal=schedules.reversal(training.config, p) if adapts else None,
        lr=schedules.learning_rate(training.config, p),
        seconds=training.seconds,
        images_per_second=(training.images - images) / (training.seconds - seconds),
    )
    training.sums.zero_()
    training.steps_since = 0
    training.reported = (training.images, training.seconds)
    return progress
