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

from runners.ddpm import averaging, graphs, precision, schedules
from runners.ddpm.config import TrialConfig
from runners.ddpm.diffusion import add_noise, at, drop_conditions, loss_weights, target
from runners.ddpm.steps import Execution, TrainProgress, learning_rate, step_seed
from runners.process import memory

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
        # Not this object itself: in a cycle it, and the memory of its graph, would outlive the training.
        self.whole: Callable[..., tuple[torch.Tensor, ...]] = partial(_whole_batch, weakref.proxy(self))
        if self.execution.graphed:
            self.whole = graphs.replayed(self.whole, device)
        self.optimizer = torch.optim.AdamW(
            decay_groups(self.model, config.weight_decay_on),
            lr=config.lr,
            betas=(0.9, config.adam_beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
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
        self.micro_batch = 0  # images that go through the network at once where memory ran out; 0: the whole batch
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

    def treatment(self) -> dict[str, Any]:
        """What the training has really done: T, the betas' digest, the share of dropped conditions among the first
        samples (at least COUNTED_SAMPLES of them, or all), parameters, the share of steps whose gradient was clipped,
        timesteps that no sample had; where memory ran out, the size of the parts in which a batch went through the
        network."""
        return {
            "timesteps": len(self.alpha_bar_T),
            "beta_digest": schedules.digest(self.beta_T),
            "drop_rate": int(self.dropped) / max(1, self.counted),
            "counted_samples": self.counted,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "clipped_share": int(self.clipped) / max(1, self.steps),
            "never_drawn": torch.nonzero(~self.drawn_T).flatten().tolist(),
            **({"micro_batch": self.micro_batch} if self.micro_batch else {}),
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
        self.micro_batch = int(state["micro_batch"])
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


def decay_groups(model: nn.Module, on: str) -> list[dict[str, Any]]:
    """The parameters as the optimiser's groups. "all" decay, or "matrices" alone: the weights of linear layers and of
    convolutions. Norms and biases have a scale of their own, and a decayed embedding forgets the labels that a batch
    lacks (as in Karpathy's nanoGPT)."""
    if on == "all":
        return [{"params": list(model.parameters())}]
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    decayed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, kinds) and not getattr(module, "embeds", False)
    }
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[id(parameter) in decayed].append(parameter)
    return [{"params": groups[True]}, {"params": groups[False], "weight_decay": 0.0}]


def _laid_out_as(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value` in the memory format of `parameter`."""
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)


def train(
    training: Training,
    images_NHWC: NDArray[np.uint8],
    labels_NK: NDArray[np.bool_],
    report_images: int = 10_000,
) -> Iterator[TrainProgress | None]:
    """Train until `total_images` are drawn. Yields after every step: a report about every `report_images` images and
    at the end, None otherwise; at each of them `training` can be saved.

    The images stay on the device as uint8. Raises FloatingPointError after a report that has `diverged`.
    """
    config, device = training.config, training.device
    data_NCHW = torch.from_numpy(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2))).to(device)
    c_NK = torch.from_numpy(np.ascontiguousarray(labels_NK)).to(device, torch.float32)
    generator = torch.Generator(device)
    order: tuple[int, torch.Tensor] = (-1, torch.empty(0))
    size = min(config.batch_size, len(data_NCHW))
    while training.images < config.total_images:
        start = time.perf_counter()
        step = training.images // size
        order, index_B = _batch(order, step, size, config.seed, len(data_NCHW), device)
        generator.manual_seed(step_seed("step", config.seed, step))
        loss, norm = _step(training, data_NCHW[index_B], c_NK[index_B], generator)
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

    Every random number of the batch is drawn before it goes through the network, at once or in parts: where memory runs
    out the parts get smaller, and the sum of their gradients is that of the batch.
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

    def in_parts(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        if size == batch:
            loss, error_B = training.whole(x0_BCHW, eps_BCHW, t_B, c_BK)
            return loss, error_B
        training.network.zero_grad(set_to_none=True)  # of a try that ran out of memory
        parts = [slice(start, start + size) for start in range(0, batch, size)]
        pairs = [_gradients(training, x0_BCHW[part], eps_BCHW[part], t_B[part], c_BK[part], batch) for part in parts]
        losses, errors = zip(*pairs, strict=True)
        return torch.stack(losses).sum(), torch.cat(errors)

    (loss, error_B), size = memory.halving(in_parts, training.micro_batch or batch, device)
    training.micro_batch = size if size < batch else 0
    row_B = t_B * DECILES // config.timesteps
    training.errors_D2.index_add_(0, row_B, torch.stack([error_B, torch.ones_like(error_B)], 1))
    training.masters.take_gradients()
    norm = nn.utils.clip_grad_norm_(training.model.parameters(), config.clip_norm)
    for group in training.optimizer.param_groups:
        group["lr"] = learning_rate(config, training.images)
    training.optimizer.step()
    training.masters.give_weights()
    training.average(batch)
    training.images += batch
    training.clipped += norm > config.clip_norm
    training.steps += 1
    return loss, norm.detach()


def _whole_batch(
    training: Training, x0_BCHW: torch.Tensor, eps_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`_gradients` of a whole batch, alone. Everything that changes from step to step is an argument."""
    # Gone, not zeroed: a recorded step then writes them anew each time it is replayed.
    training.network.zero_grad(set_to_none=True)
    return _gradients(training, x0_BCHW, eps_BCHW, t_B, c_BK, len(x0_BCHW))


def _gradients(
    training: Training,
    x0_BCHW: torch.Tensor,
    eps_BCHW: torch.Tensor,
    t_B: torch.Tensor,
    c_BK: torch.Tensor,
    batch: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of B images of a batch of `batch`; returns their share of its weighted loss, and the error of
    the network's target in each (B,)."""
    config = training.config
    ab_B111 = at(training.alpha_bar_T, t_B)
    xt_BCHW = add_noise(x0_BCHW, eps_BCHW, ab_B111)
    # Parts of a batch that ran out of memory have sizes of their own, each of which would be compiled anew.
    network = training.compute if len(x0_BCHW) == batch else training.network
    output = precision.forward(network, config.precision, xt_BCHW, t_B, c_BK)
    error_B = (output - target(config.prediction, x0_BCHW, eps_BCHW, ab_B111)).square().mean((1, 2, 3))
    loss = (training.weight_T[t_B] * error_B).mean() * (len(x0_BCHW) / batch)
    loss.backward()
    return loss.detach(), error_B.detach()
