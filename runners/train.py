"""Training as a generator: it yields progress; the caller logs, prunes, stops and saves.

Shapes: N training images, B batch, K labels, T timesteps, D deciles of them. Every random number of a step comes from
a generator seeded with (training seed, step), so a training resumed at a step gives the numbers of the uninterrupted
one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners import schedules
from runners.config import TrialConfig
from runners.diffusion import add_noise, at, drop_conditions, loss_weights, target

TRAINING_FORWARDS = 3.0  # FLOP of a training step in forward passes: the backward pass computes two products for one
COUNTED_SAMPLES = 1000  # over which the share of dropped conditions is observed
DECILES = 10  # of the timesteps, by which the error of the network's target is reported


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


def step_seed(*parts: int | str) -> int:
    """A 63-bit seed from its parts: neighbouring steps get unrelated generators."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def learning_rate(config: TrialConfig, images: int) -> float:
    """Linear warm-up, then constant or a half cosine to 0 (Loshchilov & Hutter 2017, eq. 5)."""
    if images < config.warmup_images:
        return config.lr * (images + config.batch_size) / (config.warmup_images + config.batch_size)
    if config.lr_schedule == "constant":
        return config.lr
    span = max(1, config.total_images - config.warmup_images)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (images - config.warmup_images) / span)))


class Training:
    """Weights, their average, the optimiser and the count of images: all the state of one training.

    Its tables are what every step reads, and it counts what the steps did with them: `treatment` tells from the
    running objects, not from the config, what the factors came to.
    """

    def __init__(self, config: TrialConfig, model: nn.Module, device: torch.device) -> None:
        from diffusers.training_utils import EMAModel

        self.config = config
        self.device = device
        self.model = model.to(device).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.lr,
            betas=(0.9, config.adam_beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        # diffusers ramps the decay as (1 + n) / (10 + n), so short trainings are not averaged with their start.
        self.ema: Any = EMAModel(
            self.model.parameters(), decay=0.5 ** (config.batch_size / config.ema_halflife_images), foreach=True
        )
        self.images = 0
        self.beta_T = schedules.betas(config.schedule, config.timesteps)
        bars = schedules.bars_of(self.beta_T)
        weights = loss_weights(config.weighting, config.prediction, bars)
        self.alpha_bar_T = torch.from_numpy(bars).to(device, torch.float32)
        self.weight_T = torch.from_numpy(weights).to(device, torch.float32)
        self.drawn_T = torch.zeros(len(bars), dtype=torch.bool, device=device)
        self.dropped = torch.zeros((), dtype=torch.long, device=device)
        self.counted = 0  # samples whose drops were counted

    def treatment(self) -> dict[str, Any]:
        """What the training has really done: T, the betas' digest, the share of dropped conditions among the first
        samples (at least COUNTED_SAMPLES of them, or all), parameters, timesteps that no sample had."""
        return {
            "timesteps": len(self.alpha_bar_T),
            "beta_digest": schedules.digest(self.beta_T),
            "drop_rate": int(self.dropped) / max(1, self.counted),
            "counted_samples": self.counted,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "never_drawn": torch.nonzero(~self.drawn_T).flatten().tolist(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
            "drawn_T": self.drawn_T,
            "dropped": self.dropped,
            "counted": self.counted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.images = int(state["images"])
        self.drawn_T = state["drawn_T"].to(self.device)
        self.dropped = state["dropped"].to(self.device)
        self.counted = int(state["counted"])

    def weights(self, which: str) -> dict[str, torch.Tensor]:
        """The state dict with the "raw" or the averaged ("ema") parameters."""
        weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        if which == "ema":
            names = [name for name, _ in self.model.named_parameters()]
            weights.update(zip(names, (value.clone() for value in self.ema.shadow_params), strict=True))
        return weights


def train(
    training: Training,
    images_NHWC: NDArray[np.uint8],
    labels_NK: NDArray[np.bool_],
    report_images: int = 10_000,
) -> Iterator[TrainProgress]:
    """Train until `total_images` are drawn; yields about every `report_images` images and at the end.

    The images stay on the device as uint8. Raises FloatingPointError when the loss is no longer finite.
    """
    config, device = training.config, training.device
    data_NCHW = torch.from_numpy(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2))).to(device)
    c_NK = torch.from_numpy(np.ascontiguousarray(labels_NK)).to(device, torch.float32)
    generator = torch.Generator(device)
    order: tuple[int, torch.Tensor] = (-1, torch.empty(0))
    sums = torch.zeros(2, device=device)
    errors_D2 = torch.zeros(DECILES, 2, device=device)
    steps_since = 0
    last_images, start, last_time = training.images, time.perf_counter(), time.perf_counter()
    size = min(config.batch_size, len(data_NCHW))
    while training.images < config.total_images:
        step = training.images // size
        order, index_B = _batch(order, step, size, config.seed, len(data_NCHW))
        generator.manual_seed(step_seed("step", config.seed, step))
        index_B = index_B.to(device)
        loss, norm = _step(training, data_NCHW[index_B], c_NK[index_B], generator, errors_D2)
        sums += torch.stack([loss, norm])
        steps_since += 1
        if training.images - last_images >= report_images or training.images >= config.total_images:
            mean_loss, mean_norm = (sums / steps_since).tolist()
            if not math.isfinite(mean_loss):
                raise FloatingPointError(f"the loss is {mean_loss} after {training.images:,} images: lower lr.")
            now = time.perf_counter()
            yield TrainProgress(
                images=training.images,
                total_images=config.total_images,
                loss=mean_loss,
                gradient_norm=mean_norm,
                lr=learning_rate(config, training.images - config.batch_size),
                seconds=now - start,
                images_per_second=(training.images - last_images) / (now - last_time),
                error_by_decile=_means(errors_D2),
            )
            # The caller's work between two reports (saving, scoring) is not training time.
            pause = time.perf_counter() - now
            start, last_time = start + pause, now + pause
            sums.zero_()
            errors_D2.zero_()
            steps_since, last_images = 0, training.images


def _means(errors_D2: torch.Tensor) -> dict[int, float]:
    """Decile -> sum / count, of those with a count."""
    return {decile: total / count for decile, (total, count) in enumerate(errors_D2.tolist()) if count}


def _batch(
    order: tuple[int, torch.Tensor], step: int, size: int, seed: int, count: int
) -> tuple[tuple[int, torch.Tensor], torch.Tensor]:
    """The indices (B,) of a step: each epoch is one permutation of the images, cut into whole batches."""
    epoch, position = divmod(step, count // size)
    if order[0] != epoch:
        generator = torch.Generator().manual_seed(step_seed("order", seed, epoch))
        order = (epoch, torch.randperm(count, generator=generator))
    return order, order[1][position * size : (position + 1) * size]


def _step(
    training: Training,
    images_BCHW: torch.Tensor,
    c_BK: torch.Tensor,
    generator: torch.Generator,
    errors_D2: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One optimiser step on uint8 images; returns (weighted loss, gradient norm), both on the device.

    Adds each sample's error and 1 to the row of `errors_D2` that its timestep belongs to.
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
    training.drawn_T[t_B] = True
    if training.counted < COUNTED_SAMPLES:
        training.dropped += drop_B.sum()
        training.counted += batch
    ab_B111 = at(training.alpha_bar_T, t_B)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        output = training.model(add_noise(x0_BCHW, eps_BCHW, ab_B111), t_B, drop_conditions(c_BK, drop_B))
    error_B = (output.float() - target(config.prediction, x0_BCHW, eps_BCHW, ab_B111)).square().mean((1, 2, 3))
    loss = (training.weight_T[t_B] * error_B).mean()
    error_B = error_B.detach()
    errors_D2.index_add_(0, t_B * DECILES // config.timesteps, torch.stack([error_B, torch.ones_like(error_B)], 1))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(training.model.parameters(), config.clip_norm)
    for group in training.optimizer.param_groups:
        group["lr"] = learning_rate(config, training.images)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    training.ema.step(training.model.parameters())
    training.images += batch
    return loss.detach(), norm.detach()
