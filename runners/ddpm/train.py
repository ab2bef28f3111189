"""Training as a generator: it yields progress; the caller logs, prunes, stops and saves.

Shapes: N training images, B batch, K labels, T timesteps, D deciles of them. Every random number of a step comes from
a generator seeded with (training seed, step), so a training resumed at a step gives the numbers of the uninterrupted
one.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.ddpm import averaging, graphs, passes, precision, schedules, updates
from runners.ddpm.config import TrialConfig
from runners.ddpm.diffusion import drop_conditions, loss_weights
from runners.ddpm.steps import Execution, TrainProgress, learning_rate
from runners.process import device as devices
from runners.seeds import step_seed

TRAINING_FORWARDS = 3.0  # FLOP of a training step in forward passes: the backward pass computes two products for one
COUNTED_SAMPLES = 1000  # over which the share of dropped conditions is observed
DECILES = 10  # of the timesteps, by which the error of the network's target is reported


class Training:
    """Weights, their average, the optimiser, the count of images and the report in progress: all the state of one
    training, so that one loaded between any two steps goes on, and reports, as if it had never stopped.

    Its tables are what every step reads, and it counts what the steps did with them: `treatment` tells from the
    running objects, not from the config, what the factors came to.
    """

    def __init__(
        self, config: TrialConfig, model: nn.Module, device: torch.device, execution: Execution | None = None
    ) -> None:
        from diffusers.training_utils import EMAModel

        self.config = config
        self.device = device
        self.execution = execution or Execution()
        if self.execution.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.to(device).train()
        self.network = precision.working(self.model, config.precision)  # what computes; the optimiser has the model
        self.masters = precision.Masters(self.model, self.network)
        # Static shapes: a step has one batch size, and symbolic ones cost speed.
        self.compute: Any = torch.compile(self.network, dynamic=False) if self.execution.compiled else self.network
        self.parts = passes.Parts()
        self.renew_whole()
        self.arithmetic = ""  # of the network's passes, as they were seen in one
        self.optimizer = torch.optim.AdamW(
            updates.decay_groups(self.model, config.weight_decay_on),
            lr=config.lr,
            betas=(0.9, config.adam_beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        updates.take_memory(self.optimizer, device)
        self.ramp = averaging.ramp(config.ema_ramp, config.ema_halflife_images)
        self.ema: Any = EMAModel(
            self.model.parameters(), decay=0.5 ** (config.batch_size / config.ema_halflife_images), foreach=True
        )
        self.images = 0
        self.seconds = 0.0  # spent in steps
        self.sums = torch.zeros(2, device=device)  # of loss and gradient norm since the last report
        self.errors_D2 = torch.zeros(DECILES, 2, device=device)  # sum and number of samples since the last report
        self.steps_since = 0
        self.reported = (0, 0.0)  # images and seconds at the last report
        self.beta_T = schedules.betas(config.schedule, config.timesteps)
        bars = schedules.bars_of(self.beta_T)
        weights = loss_weights(config.weighting, config.prediction, bars)
        self.alpha_bar_T = torch.from_numpy(bars).to(device, torch.float32)
        self.weight_T = torch.from_numpy(weights).to(device, torch.float32)
        self.drawn_T = torch.zeros(len(bars), dtype=torch.bool, device=device)
        self.dropped = torch.zeros((), dtype=torch.long, device=device)
        self.counted = 0  # samples whose drops were counted
        self.clipped = torch.zeros((), dtype=torch.long, device=device)  # steps whose gradient norm was limited
        self.steps = 0

    @property
    def micro_batch(self) -> int:
        """Images that go through the network at once where memory ran out; 0: the whole batch."""
        return self.parts.size

    def renew_whole(self) -> None:
        """A whole batch's pass, `whole`, as it is before anything is recorded."""
        # Not this object itself: in a cycle it, and the memory of its graph, would outlive the training.
        self.whole: Callable[..., tuple[torch.Tensor, ...]] = partial(passes.whole_batch, weakref.proxy(self))
        if self.execution.graphed:
            self.whole = graphs.replayed(self.whole, self.device)

    def treatment(self) -> dict[str, Any]:
        """What the training has really done: T, the betas' digest, the share of dropped conditions among the first
        samples (at least COUNTED_SAMPLES of them, or all), parameters, the share of steps whose gradient was clipped,
        timesteps that no sample had; where memory ran out, the size of the smallest parts in which a batch went through
        the network, and the steps that did."""
        return {
            "timesteps": len(self.alpha_bar_T),
            "beta_digest": schedules.digest(self.beta_T),
            "drop_rate": int(self.dropped) / max(1, self.counted),
            "counted_samples": self.counted,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "clipped_share": int(self.clipped) / max(1, self.steps),
            "never_drawn": torch.nonzero(~self.drawn_T).flatten().tolist(),
            **self.parts.treatment(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
            "seconds": self.seconds,
            "sums": self.sums,
            "errors_D2": self.errors_D2,
            "steps_since": self.steps_since,
            "reported": self.reported,
            "micro_batch": self.micro_batch,
            "parts": self.parts.state_dict(),
            "drawn_T": self.drawn_T,
            "dropped": self.dropped,
            "counted": self.counted,
            "clipped": self.clipped,
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.masters.give_weights()
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        # A checkpoint may be of another memory format; the optimiser's fused kernels want that of the parameters.
        parameters = list(self.model.parameters())
        self.ema.shadow_params = [_laid_out_as(*pair) for pair in zip(parameters, self.ema.shadow_params, strict=True)]
        for parameter, moments in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = _laid_out_as(parameter, moments[name])
        self.images, self.seconds = int(state["images"]), float(state["seconds"])
        self.sums, self.steps_since = state["sums"].to(self.device), int(state["steps_since"])
        self.errors_D2 = state["errors_D2"].to(self.device)
        self.reported = state["reported"]
        self.parts.load_state_dict({"size": state["micro_batch"]} | state.get("parts", {}))
        self.drawn_T = state["drawn_T"].to(self.device)
        self.dropped = state["dropped"].to(self.device)
        self.counted = int(state["counted"])
        if "clipped" in state:  # checkpoints of older versions do not count it
            self.clipped, self.steps = state["clipped"].to(self.device), int(state["steps"])

    def average(self, batch: int) -> None:
        """One step of the weight average, after one of the optimiser on `batch` images."""
        if self.ramp.decay is not None:
            # Between its two limits diffusers' own ramp has nothing to say.
            self.ema.decay = self.ema.min_decay = self.ramp.decay(self.images, batch)
        self.ema.step(self.model.parameters())

    def weights(self, which: str) -> dict[str, torch.Tensor]:
        """The state dict with the "raw" or the averaged ("ema") parameters."""
        weights = {name: value.detach() for name, value in self.model.state_dict().items()}
        if which == "ema":
            names = [name for name, _ in self.model.named_parameters()]
            weights.update(zip(names, self.ema.shadow_params, strict=True))
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()}


def _laid_out_as(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value` in the memory format of `parameter`."""
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)


def train(
    training: Training,
    images_NHWC: NDArray[np.uint8],
    labels_NK: NDArray[np.bool_],
    report_images: int = 10_000,
    rows: NDArray[np.int64] | None = None,
) -> Iterator[TrainProgress | None]:
    """Train on the images of `rows` (default: all) until `total_images` are drawn. Yields after every step: a report
    about every `report_images` images and at the end, None otherwise; at each of them `training` can be saved.

    The images may be a memory map. A GPU gets them once, as uint8; a CPU reads those of a step.
    Raises FloatingPointError after a report that has `diverged`.
    """
    config, device = training.config, training.device
    rows = np.arange(len(images_NHWC)) if rows is None else rows
    images_of = _reader(images_NHWC, rows, device)
    c_NK = torch.from_numpy(np.asarray(labels_NK[rows])).to(device, torch.float32)
    generator = torch.Generator(device)
    order: tuple[int, torch.Tensor] = (-1, torch.empty(0))
    size = min(config.batch_size, len(rows))
    while training.images < config.total_images:
        start = time.perf_counter()
        step = training.images // size
        order, index_B = _batch(order, step, size, config.seed, len(rows), device)
        generator.manual_seed(step_seed("step", config.seed, step))
        loss, norm = _step(training, images_of(index_B), c_NK[index_B], generator)
        training.sums += torch.stack([loss, norm])
        training.steps_since += 1
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
            raise FloatingPointError(f"the loss is {progress.loss:g} after {training.images:,} images: lower lr.")


def _reader(
    images_NHWC: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Positions among `rows` (B,) -> their images, uint8 (B, C, H, W) on the device."""
    if device.type == "cpu":

        def read(index_B: torch.Tensor) -> torch.Tensor:
            chosen_BHWC = images_NHWC[rows[index_B.numpy()]]
            return torch.from_numpy(np.ascontiguousarray(chosen_BHWC.transpose(0, 3, 1, 2)))

        return read
    data_NCHW = devices.upload(images_NHWC, rows, device, (0, 3, 1, 2))
    return lambda index_B: data_NCHW[index_B]


def _report(training: Training, mean_loss: float, mean_norm: float) -> TrainProgress:
    """What happened since the last report; the next one begins."""
    images, seconds = training.reported
    progress = TrainProgress(
        images=training.images,
        total_images=training.config.total_images,
        loss=mean_loss,
        gradient_norm=mean_norm,
        lr=learning_rate(training.config, training.images - training.config.batch_size),
        seconds=training.seconds,
        images_per_second=(training.images - images) / (training.seconds - seconds),
        error_by_decile=_means(training.errors_D2),
    )
    training.sums.zero_()
    training.errors_D2.zero_()
    training.steps_since = 0
    training.reported = (training.images, training.seconds)
    return progress


def _means(errors_D2: torch.Tensor) -> dict[int, float]:
    """Decile -> sum / count, of those with a count."""
    return {decile: total / count for decile, (total, count) in enumerate(errors_D2.tolist()) if count}


def _batch(
    order: tuple[int, torch.Tensor], step: int, size: int, seed: int, count: int, device: torch.device
) -> tuple[tuple[int, torch.Tensor], torch.Tensor]:
    """The indices (B,) of a step: each epoch is one permutation of the images, cut into whole batches."""
    epoch, position = divmod(step, count // size)
    if order[0] != epoch:
        generator = torch.Generator().manual_seed(step_seed("order", seed, epoch))
        order = (epoch, torch.randperm(count, generator=generator).to(device))
    return order, order[1][position * size : (position + 1) * size]


def _step(
    training: Training,
    images_BCHW: torch.Tensor,
    c_BK: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step on uint8 images; returns (weighted loss, gradient norm), both on the device.

    Every random number of the batch is drawn before it goes through the network, at once or in parts.
    Adds each sample's error and 1 to the row of `training.errors_D2` that its timestep belongs to.
    """
    config, device = training.config, training.device
    x0_BCHW = images_BCHW.float() / 127.5 - 1
    batch = len(x0_BCHW)
    if config.flips:
        mirrored = torch.rand(batch, device=device, generator=generator) < 0.5
        x0_BCHW = torch.where(mirrored.view(-1, 1, 1, 1), x0_BCHW.flip(-1), x0_BCHW)
    t_B = torch.randint(config.timesteps, (batch,), device=device, generator=generator)
    eps_BCHW = torch.randn(x0_BCHW.shape, device=device, generator=generator)
    drop_B = torch.rand(batch, device=device, generator=generator) < config.drop_probability
    training.drawn_T.index_fill_(0, t_B, True)
    if training.counted < COUNTED_SAMPLES:
        training.dropped += drop_B.sum()
        training.counted += batch
    c_BK = drop_conditions(c_BK, drop_B)

    loss, error_B = passes.through(training, x0_BCHW, eps_BCHW, t_B, c_BK)
    row_B = t_B * DECILES // config.timesteps
    training.errors_D2.index_add_(0, row_B, torch.stack([error_B, torch.ones_like(error_B)], 1))
    norm = updates.update(training, batch)
    training.images += batch
    training.clipped += norm > config.clip_norm
    training.steps += 1
    return loss, norm.detach()
