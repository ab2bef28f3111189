"""`TrialConfig`: everything that may change the result of a conditional diffusion trial, as one row of scalars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runners import tasks
from runners.config import StagedConfig, sample_field, train_field
from runners.experiment import Task


@dataclass(frozen=True)
class TrialConfig(StagedConfig):
    """One trial: an arm at one training seed. Durations are in images, so they survive a change of batch size."""

    data: str = train_field("rendered", "a task's images, such as rendered(...): the content, not the path")
    image_size: int = train_field(64, "pixels per side")
    model: str = train_field("unet", "architecture, a file of runners/models")
    timesteps: int = train_field(1000, "T, diffusion steps of the training", rescales=True)
    schedule: str = train_field("linear", "beta schedule, a function of runners/ddpm/schedules.py", rescales=True)
    prediction: str = train_field("eps", "what the network predicts: eps, v or x0", rescales=True)
    weighting: str = train_field("uniform", "loss weight per timestep: uniform or min_snr(gamma=...)", rescales=True)
    drop_probability: float = train_field(0.1, "probability, per sample, that the condition is dropped")
    total_images: int = train_field(1_800_000, "training images drawn")
    batch_size: int = train_field(128, "images per step")
    lr: float = train_field(1e-4, "peak learning rate of AdamW")
    lr_schedule: str = train_field("cosine", "after the warm-up: cosine (to 0) or constant")
    warmup_images: int = train_field(38_400, "images of linear learning-rate warm-up")
    weight_decay: float = train_field(0.01, "AdamW's decoupled weight decay")
    weight_decay_on: str = train_field("all", "what decays: all, or matrices (no norm, bias or embedding)")
    adam_beta2: float = train_field(0.999, "AdamW's second-moment decay (beta1 is .9)")
    clip_norm: float = train_field(1.0, "gradient norm limit", inert=True)
    ema_halflife_images: int = train_field(88_000, "half-life of the weight average", inert=True)
    ema_ramp: str = train_field("steps", "how the average begins: steps, edm(ratio=...) or unbiased", inert=True)
    flips: bool = train_field(False, "mirror half of the images (conditions know no left and right)")
    precision: str = train_field("fp32", "fp32, tf32, bf16 (autocast) or bf16_copy (a bf16 copy of fp32 weights)")
    seed: int = train_field(0, "training seed: initial weights, order, noise, timesteps, drops")
    weights: str = sample_field("ema", "weights that are scored: ema or raw, always of the last step")
    sampler: str = sample_field("ddpm", "ddpm, ddpm(steps=N) or ddim(steps=N, eta=E)")
    guidance_scale: float = sample_field(1.0, "s of eps_u + s (eps_c - eps_u); 1 is unguided")
    sampling_seeds: int = sample_field(1, "K, passes over each list with fresh noise")
    noise_seed: int = sample_field(0, "draw of the sampling noise: one per block of arms, that of the training seed")
    quality_samples: int = sample_field(
        0, "samples for KID and its kin, labelled as in training; 0: the lists' first pass"
    )
    evaluator: str = sample_field("stand_in", "stand_in(...) or checkpoint(sha256=...)")
    evaluators: int = sample_field(1, "surrogate evaluators, of different seeds, over which scores are averaged")

    @property
    def task(self) -> Task:
        """Whose images it is about. Raises ValueError for data that are unknown."""
        return tasks.of(self.data)

    def at_seed(self, seed: int, block: int) -> TrialConfig:
        # Arms of a block share their noise, so that differences are paired; another block has another draw, so that
        # intervals over seeds hold its share too.
        return self.replace(seed=seed, noise_seed=block)

    def contained(self) -> Iterator[TrialConfig]:
        # Pass k is the same whatever the number of passes: a trial with fewer of them has the first ones. So has one
        # that drew nothing beyond its lists, as all trials of earlier versions.
        for passes in range(self.sampling_seeds, 0, -1):
            for quality_samples in dict.fromkeys((self.quality_samples, 0)):
                if (passes, quality_samples) != (self.sampling_seeds, self.quality_samples):
                    yield self.replace(sampling_seeds=passes, quality_samples=quality_samples)

    @property
    def step_key(self) -> str:
        return f"{self.model} {self.image_size} {self.batch_size} {self.precision}"
