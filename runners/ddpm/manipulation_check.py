"""Whether a trial did what its config says, read back from what ran; and what a reader must be warned of.

A factor that does not reach the model makes a study of nothing: every trial is checked before it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runners import models
from runners.ddpm import averaging, sample, schedules
from runners.ddpm.config import TrialConfig

LONG = 4  # half-lives of the weight average that a training should have: 2^-4 of the average is older than it
DEVIATIONS = 5.0  # standard errors that the observed drop rate may lie off: one false alarm in two million


class ManipulationError(Exception):
    """A setting did not reach the training or the sampling: a defect of the program, not of the input."""


def network_evaluations(config: TrialConfig) -> int:
    """Forward passes that one image takes; a guided step takes two (Ho & Salimans 2022, algorithm 2)."""
    steps = sample.sampler_steps(config.sampler, schedules.alpha_bars(config.schedule, config.timesteps))
    return len(steps.t) * (1 if config.guidance_scale in (0.0, 1.0) else 2)


def verify(config: TrialConfig, treatment: Mapping[str, Any], evaluations: float) -> None:
    """Compare the config with a training's `treatment` and with the forward passes counted per image.

    Raises ManipulationError that names the factor.
    """
    size = models.measure(config.model, config.image_size, config.task.classes, config.timesteps)
    wanted = {
        "timesteps": config.timesteps,
        "beta_digest": schedules.digest(schedules.betas(config.schedule, config.timesteps)),
        "parameters": size.parameters,
    }
    for name, value in wanted.items():
        if treatment[name] != value:
            raise ManipulationError(f"{name} of the training is {treatment[name]}, but the config asks for {value}.")
    p, n = config.drop_probability, treatment["counted_samples"]
    if abs(treatment["drop_rate"] - p) > DEVIATIONS * (p * (1 - p) / n) ** 0.5:
        raise ManipulationError(f"Of {n} samples {treatment['drop_rate']:.1%} were unconditional, not {p:.1%}.")
    if evaluations != network_evaluations(config):
        raise ManipulationError(
            f"An image took {evaluations} forward passes, but {config.sampler} at guidance_scale="
            f"{config.guidance_scale} takes {network_evaluations(config)}."
        )


def warnings(config: TrialConfig, treatment: Mapping[str, Any] | None = None) -> list[str]:
    """Sentences on what limits a trial's meaning; with its `treatment` also what only the training knows."""
    found = []
    if config.guidance_scale != 1 and config.drop_probability == 0:
        found.append(
            "Guidance at drop_probability=0: the training saw no condition dropped, so there is no unconditional "
            "branch to guide from; write guidance_scale=1.0 or a drop_probability above 0."
        )
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    terminal = float(alpha_bar_T[-1] ** 0.5)
    if terminal > schedules.TERMINAL:
        found.append(
            f"The schedule ends at sqrt(alpha_bar_T) = {terminal:.3f} > {schedules.TERMINAL}: sampling starts from "
            "pure noise, which the training never saw, so schedule, T and terminal SNR are confounded."
        )
    if config.weights == "ema":
        found += _average(config)
    if treatment is not None:
        visited = set(sample.sampler_steps(config.sampler, alpha_bar_T).t.tolist())
        unseen = len(visited & set(treatment["never_drawn"]))
        if unseen:
            found.append(
                f"The sampler visits timesteps that the training never drew ({unseen} of {len(visited)}): train on "
                "more images, or sample with fewer steps."
            )
        if part := treatment.get("micro_batch"):
            # Older versions did not count the steps, because it was all from then on.
            steps = treatment.get("steps_in_parts")
            when = f"in {steps} of {-(-config.total_images // config.batch_size)} steps " if steps else ""
            found.append(
                f"Memory ran out: {when}a batch of {config.batch_size} went through the network in parts of {part}"
                f"{' or more' if steps else ''}, which gives the same gradients up to rounding, except where batch "
                "norm saw the parts alone."
            )
    return found


def _average(config: TrialConfig) -> list[str]:
    """What is odd about the weight average that is scored."""
    halflife, total = config.ema_halflife_images, config.total_images
    reached = averaging.ramp(config.ema_ramp, halflife).reached(total)
    if halflife > reached:
        return [
            f"ema_halflife_images={halflife} never acts: the ramp {config.ema_ramp!r} lets the half-life grow to "
            f"{reached:.0f} images in this training; write a shorter one, or ema_ramp='unbiased'."
        ]
    if total < LONG * halflife:
        return [
            f"ema_halflife_images={halflife} is long for a training of {total} images: the average holds much of the "
            f"training's start; write {total // LONG} or less."
        ]
    return []
