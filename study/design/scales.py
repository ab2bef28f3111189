"""Scales: the baselines of a diffusion study as one aligned table. Same code path, other numbers.

Another experiment brings its own fields (`SCALES` in its package); the machines and their speeds are these.

smoke proves that everything runs, in seconds; laptop is the whole study on 2 cores in a quarter of an hour;
workstation is 64x64 pictures on CPU cores, half an hour per training and core, a study in a night; gpu is minutes per
trial on one modern GPU; paper is the reports' setting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runners.config import FIRST, Scalar, StagedConfig, nearest
from runners.ddpm.config import TrialConfig
from runners.experiment import find as find_experiment
from runners.experiment import scales_of


@dataclass(frozen=True)
class Scale:
    """A baseline, and what it costs on the machine it was measured on (the dry run's estimate)."""

    config: Any  # of the experiment's Config
    seeds: int | None  # None: the study's own number
    curve_points: int
    flop_per_second: float  # one device slot, training and sampling
    trial_seconds: float  # what a trial takes besides: pictures, scores, the learning curve's points
    preparation_seconds: float  # data and surrogate evaluator, once per record
    surrogate_seconds: float  # each further surrogate evaluator of --evaluators N, once per record
    measured_on: str
    machine: str  # "cpu" or "gpu"
    paces: Mapping[str, float] = field(default_factory=dict)  # precision -> share of that throughput; else all of it

    def baseline(self, changes: Mapping[str, Scalar]) -> StagedConfig:
        """The scale's setting with these fields changed."""
        found: StagedConfig = self.config.replace(**changes)
        return found


REPORTS_UNET = "unet"  # its defaults are the reports' network, 113.7 M parameters
SMALL_UNET = "unet(attention=(-1,), channels=(16, 32, 32), encoder='embedding', groups=8, layers=1)"  # .28 M parameters
PATCHED_UNET = (  # 2.85 M parameters; squares of 2 pixels are one
    "unet(attention=(-1,), channels=(32, 32, 64, 128), encoder='embedding', groups=8, layers=1, patch=2)"
)
GPU_UNET = "unet(channels=(64, 64, 128, 128, 256, 256), encoder='embedding')"  # 28.5 M parameters

# fmt: off
ROWS: dict[str, dict[str, Scalar]] = {
    "data":                {"smoke": "rendered(scenes=100, view='near')", "laptop": "rendered(view='near')", "workstation": "rendered",       "gpu": "rendered",  "paper": "rendered"},
    "image_size":          {"smoke": 16,                                  "laptop": 16,                      "workstation": 64,               "gpu": 64,          "paper": 64},
    "model":               {"smoke": SMALL_UNET,                          "laptop": SMALL_UNET,              "workstation": PATCHED_UNET,     "gpu": GPU_UNET,    "paper": REPORTS_UNET},
    "timesteps":           {"smoke": 1000,                                "laptop": 1000,                    "workstation": 1000,             "gpu": 1000,        "paper": 1000},
    "schedule":            {"smoke": "linear",                            "laptop": "linear",                "workstation": "cosine",         "gpu": "linear",    "paper": "linear"},
    "prediction":          {"smoke": "v",                                 "laptop": "v",                     "workstation": "v",              "gpu": "v",         "paper": "eps"},
    "weighting":           {"smoke": "min_snr",                           "laptop": "min_snr",               "workstation": "min_snr",        "gpu": "min_snr",   "paper": "uniform"},
    "drop_probability":    {"smoke": 0.1,                                 "laptop": 0.1,                     "workstation": 0.1,              "gpu": 0.1,         "paper": 0.2},
    "total_images":        {"smoke": 320,                                 "laptop": 40_000,                  "workstation": 160_000,          "gpu": 720_000,     "paper": 3_600_000},
    "batch_size":          {"smoke": 32,                                  "laptop": 32,                      "workstation": 32,               "gpu": 128,         "paper": 32},
    "lr":                  {"smoke": 4e-3,                                "laptop": 5e-3,                    "workstation": 2e-3,             "gpu": 4e-4,        "paper": 1e-5},
    "warmup_images":       {"smoke": 64,                                  "laptop": 3_200,                   "workstation": 3_200,            "gpu": 38_400,      "paper": 0},
    "weight_decay_on":     {"smoke": "matrices",                          "laptop": "matrices",              "workstation": "matrices",       "gpu": "matrices",  "paper": "all"},
    "adam_beta2":          {"smoke": 0.99,                                "laptop": 0.99,                    "workstation": 0.99,             "gpu": 0.99,        "paper": 0.999},
    "ema_halflife_images": {"smoke": 64,                                  "laptop": 2_560,                   "workstation": 10_000,           "gpu": 88_000,      "paper": 88_000},
    "ema_ramp":            {"smoke": "unbiased",                          "laptop": "unbiased",              "workstation": "unbiased",       "gpu": "unbiased",  "paper": "steps"},
    "precision":           {"smoke": "fp32",                              "laptop": "fp32",                  "workstation": "bf16",           "gpu": "bf16_copy", "paper": "bf16"},
    "sampler":             {"smoke": "ddim(steps=2)",                     "laptop": "ddim(steps=20)",        "workstation": "ddim(steps=20)", "gpu": "ddim",      "paper": "ddpm"},
    "guidance_scale":      {"smoke": 3.0,                                 "laptop": 3.0,                     "workstation": 3.0,              "gpu": 2.0,         "paper": 1.0},
    "sampling_seeds":      {"smoke": 1,                                   "laptop": 4,                       "workstation": 4,                "gpu": 4,           "paper": 1},
    "quality_samples":     {"smoke": 0,                                   "laptop": 0,                       "workstation": 0,                "gpu": 2_048,       "paper": 0},
    "evaluator":           {"smoke": "stand_in(size='smoke')",            "laptop": "stand_in",              "workstation": "stand_in",       "gpu": "stand_in",  "paper": "stand_in"},
}
# fmt: on


def _config(scale: str) -> TrialConfig:
    return TrialConfig().replace(**{name: row[scale] for name, row in ROWS.items()})


# The network of scale gpu at batch 128 as a CUDA graph: 2,704 images/s, 8 % of the chip's peak (docs/gpu.md). Sampling
# reached 40 TFLOP/s; a larger network does better, and a smaller batch worse.
H100 = (
    "measured on one H100 with the network of scale gpu in bf16_copy; tf32 at .7 and fp32 at .25 of that not measured"
)
# Predictions, not measured. TF32 has half of bf16's peak and reads twice the bytes; IEEE fp32 has no tensor cores, 67
# TFLOP/s at most (NVIDIA's data sheet).
GPU_PACES = {"tf32": 0.7, "fp32": 0.25}
EPYC = "measured on one core of an AMD EPYC with bf16 instructions"
SCALES: dict[str, Scale] = {
    "smoke": Scale(_config("smoke"), 1, 1, 30e9, 3, 20, 1, "measured on one core of a 2-core server", "cpu"),
    "laptop": Scale(_config("laptop"), None, 5, 40e9, 9, 100, 86, "measured on one core of a 2-core server", "cpu"),
    "workstation": Scale(
        _config("workstation"), None, 5, 105e9, 30, 1_300, 1_200, EPYC, "cpu", {"tf32": 0.62, "fp32": 0.62}
    ),
    "gpu": Scale(_config("gpu"), None, 10, 60e12, 15, 100, 65, H100, "gpu", GPU_PACES),
    "paper": Scale(_config("paper"), None, 20, 60e12, 30, 100, 65, H100, "gpu", GPU_PACES),
}

# Networks of other kinds that cost what the scale's own does.
# Parameters, and GFLOP of one image's forward pass (2 x multiply-adds), as `runners.models.measure` counts them.
SMALL = (  # 16 pixels; unet: .282 M, .0314
    "adagn_unet(attention=(-1,), channels=(16, 32, 32), encoder='embedding', groups=8, layers=1)",  # .302 M, .0314
    "concat_unet(attention=(-1,), channels=(16, 32, 32), groups=8, layers=1)",  #                     .284 M, .0331
    # The next: .275 M, .0310; attention at 8 and 4 pixels.
    "cross_attention_unet(attention=(-2, -1), channels=(16, 24, 24), groups=8, head_width=8, layers=1, token_width=64)",
    "context_unet(encoder='embedding', features=24, levels=2, norm='group')",  #                      .160 M, .0322
)
MATCHED = {
    "smoke": SMALL,
    "laptop": SMALL,
    "workstation": (  # 64 pixels; unet: 2.85 M, .386
        # The next: 2.99 M, .386.
        "adagn_unet(attention=(-1,), channels=(32, 32, 64, 128), encoder='embedding', groups=8, layers=1, patch=2)",
        "concat_unet(attention=(-1,), channels=(32, 32, 64, 128), groups=8, layers=1, patch=2)",  #       2.86 M, .400
        "cross_attention_unet(attention=(-2, -1), channels=(32, 32, 56, 96), groups=8, head_width=8, layers=1, "
        "patch=2, token_width=64)",  #                                                                    2.68 M, .386
        "context_unet(encoder='embedding', features=40, levels=2, norm='group', patch=2)",  #             .752 M, .368
    ),
    "gpu": (  # 64 pixels; unet: 28.5 M, 7.77
        "adagn_unet(channels=(64, 64, 128, 128, 256, 256), encoder='embedding')",  # 29.7 M, 7.78
        "concat_unet(channels=(64, 64, 128, 128, 256, 256))",  #                     28.5 M, 7.89
        "cross_attention_unet(channels=(64, 64, 96, 128, 192, 256))",  #             30.1 M, 8.00
        "context_unet(encoder='embedding', features=88, norm='group')",  #           13.1 M, 8.30
    ),
    "paper": (  # 64 pixels; unet: 113.7 M, 31.0
        "adagn_unet",  #                                                   118.8 M, 31.0
        "concat_unet",  #                                                  113.7 M, 31.3
        "cross_attention_unet(channels=(128, 128, 192, 256, 384, 512))",  # 119.0 M, 31.6
        "context_unet(features=168)",  #                                    47.6 M, 30.2
    ),
}


def find(name: str) -> Scale:
    """The scale of a name; ValueError with the nearest name when there is none."""
    if name not in SCALES:
        raise ValueError(f"Unknown scale {name!r}{nearest(name, SCALES)}")
    return SCALES[name]


def of(experiment: str, name: str) -> Scale:
    """An experiment's baseline at a scale. ValueError for a scale that is unknown or that it does not offer."""
    scale = find(name)
    if experiment == FIRST:
        return scale
    package = find_experiment(experiment)
    if name not in (offered := offered_by(experiment)):
        *others, last = offered
        instead = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"The experiment {experiment} has no scale {name!r}: write --scale {instead}.")
    fields = (scales_of(package) or {}).get(name, {})
    for name_of_field in fields:
        package.Config.require(name_of_field)
    return dataclasses.replace(scale, config=package.Config().replace(**fields), surrogate_seconds=0.0)


def offered_by(experiment: str) -> list[str]:
    """The scales of an experiment: those that its SCALES names, without any all. ValueError for one that is unknown."""
    own = None if experiment == FIRST else scales_of(find_experiment(experiment))
    for name in own or ():
        if name not in SCALES:
            raise ValueError(f"SCALES of {experiment} names an unknown scale {name!r}{nearest(name, SCALES)}")
    return [name for name in SCALES if not own or name in own]


def usual(experiment: str, preferred: str) -> str:
    """The scale where none is asked for: the `preferred` one, or the first that the experiment offers."""
    offered = offered_by(experiment)
    return preferred if preferred in offered else offered[0]
