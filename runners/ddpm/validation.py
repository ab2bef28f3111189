"""Whether a config can run at all: everything that can be refused is refused here, before any work is done."""

from __future__ import annotations

from runners import models, ranges
from runners.ddpm import averaging, diffusion, sample, schedules
from runners.ddpm.config import TrialConfig
from runners.ddpm.precision import PRECISIONS
from runners.evaluation import evaluator

CHOICES = {
    "lr_schedule": ("cosine", "constant"),
    "precision": PRECISIONS,
    "weights": ("ema", "raw"),
    "weight_decay_on": ("all", "matrices"),
}
POSITIVE = ("total_images", "batch_size", "lr", "clip_norm", "ema_halflife_images", "sampling_seeds", "evaluators")
NOT_NEGATIVE = ("warmup_images", "weight_decay", "guidance_scale", "seed", "noise_seed", "quality_samples")
PROBABILITIES = ("drop_probability", "adam_beta2")


def check(config: TrialConfig) -> None:
    """ValueError, one sentence that says what to write instead; nothing is built and nothing written."""
    ranges.check(config, POSITIVE, NOT_NEGATIVE)
    for name in PROBABILITIES:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)} must lie in [0, 1).")
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name}={getattr(config, name)!r} is unknown: write {' or '.join(choices)}.")
    averaging.ramp(config.ema_ramp, config.ema_halflife_images)
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    diffusion.loss_weights(config.weighting, config.prediction, alpha_bar_T)
    sample.sampler_steps(config.sampler, alpha_bar_T)
    models.measure(config.model, config.image_size, config.task.classes, config.timesteps)
    if config.evaluator.startswith("checkpoint("):
        if config.evaluators > 1:
            raise ValueError(
                f"evaluators={config.evaluators} are surrogates, and --evaluator names the one that scores: leave "
                "--evaluators or --evaluator out."
            )
    else:
        evaluator.recipe(config.evaluator, config.image_size, config.task)
