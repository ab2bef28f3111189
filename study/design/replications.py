"""The published settings of five student reports, brought to a scale: four on i-CLEVR, one on digits.

At `paper` scale an arm is the report's setting to the letter. At the others all reports shrink by the same factors:
images by that of the longest training (R4's 200 epochs become the scale's training), learning rates by that of R1's
1e-4 to the scale's, networks to those of the same kind that the scale has; batch, T, schedule, drop probability and
guidance stay. Sampling is ancestral, over all T at `paper`, over fewer steps elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runners.config import Call, Scalar
from runners.ddpm.config import TrialConfig
from study.design.scales import MATCHED, find
from study.design.spec import AtScale

EPOCH = 18_009  # training images of i-CLEVR
LONGEST = 200  # epochs of R4
REFERENCE_LR = 1e-4
UNCLIPPED = 1e9  # a gradient norm that no step reaches: no report clips
SAMPLERS = {
    "smoke": "ddpm(steps=2)",
    "laptop": "ddpm(steps=50)",
    "workstation": "ddpm(steps=50)",
    "gpu": "ddpm(steps=250)",
    "paper": "ddpm",
}

NOTES = (
    "Settings are the reports' at scale paper; elsewhere images, learning rates and networks are scaled by common "
    "factors, so the numbers of a small scale do not reproduce a report, they repeat its comparison.",
    "A published value is one training and one sampling; where the report names no list, it stands beside test.",
)


@dataclass(frozen=True)
class Setting:
    """A report's training at full size. `model` is the kind of its network, `encoder` that of its labels; `epoch` has
    so many training images, and `longest` is the training, in epochs, that becomes the scale's. `shrinks`: whether the
    batch becomes the scale's too: a large one leaves a short training few steps."""

    model: str
    epochs: int
    batch_size: int
    lr: float
    timesteps: int
    schedule: str
    encoder: str = "linear"
    drop_probability: float = 0.0
    lr_schedule: str = "constant"
    weight_decay: float = 0.0
    precision: str = "fp32"
    guidance_scale: float = 1.0
    epoch: int = EPOCH
    longest: int = LONGEST
    shrinks: bool = False

    def changes(self, scale: str, baseline: TrialConfig) -> dict[str, Scalar]:
        """The config fields that differ from a scale's baseline."""
        paper = scale == "paper"
        images = self.epochs * self.epoch
        return {
            "model": _network(self.model, self.encoder, scale),
            "timesteps": self.timesteps,
            "schedule": self.schedule,
            "prediction": "eps",
            "weighting": "uniform",
            "drop_probability": self.drop_probability,
            "total_images": images if paper else round(baseline.total_images * self.epochs / self.longest),
            "batch_size": self.batch_size if paper or not self.shrinks else baseline.batch_size,
            "lr": self.lr if paper else float(f"{self.lr * baseline.lr / REFERENCE_LR:.6g}"),
            "lr_schedule": self.lr_schedule,
            "warmup_images": 0,
            "weight_decay": self.weight_decay,
            "weight_decay_on": "all",
            "adam_beta2": 0.999,
            "clip_norm": UNCLIPPED,
            "precision": self.precision if find(scale).machine == "gpu" else baseline.precision,
            "weights": "raw",
            "sampler": SAMPLERS[scale],
            "guidance_scale": self.guidance_scale,
        }


def _network(kind: str, encoder: str, scale: str) -> str:
    """The report's network, or that of the same kind which the scale has."""
    call = Call.parse(kind)
    if scale == "paper":
        return _with_encoder(call, encoder)
    if call.name == "unet":
        return _with_encoder(Call.parse(find(scale).config.model), encoder)
    matched = next(Call.parse(model) for model in MATCHED[scale] if Call.parse(model).name == call.name)
    return str(Call(call.name, tuple(pair for pair in matched.arguments if pair[0] in ("features", "levels", "patch"))))


def _with_encoder(call: Call, encoder: str) -> str:
    kept = [pair for pair in call.arguments if pair[0] != "encoder"]
    if call.name == "unet" and encoder != "linear":  # the default, which is not spelled
        kept.append(("encoder", encoder))
    return str(Call(call.name, tuple(sorted(kept))))


def arms(settings: Mapping[str, Setting]) -> AtScale[dict[str, dict[str, Scalar]]]:
    """Arm name -> changed fields, for a spec."""
    return lambda scale, baseline: {name: setting.changes(scale, baseline) for name, setting in settings.items()}
