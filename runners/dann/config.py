"""`TrialConfig`: everything that may change the result of a domain-adaptation trial, as one row of scalars."""

from __future__ import annotations

from dataclasses import dataclass

from runners.config import Stage, StagedConfig, train_field
from runners.dann import tasks
from runners.experiment import Task

METHODS = ("source_only", "dann", "target_only")
# What says nothing where no gradient is reversed.
ADVERSARIAL = ("lambda_gamma", "lambda_max", "lambda_schedule", "domain_lr_quirk")


@dataclass(frozen=True)
class TrialConfig(StagedConfig):
    """One trial: an arm at one training seed. Durations are in labelled images, of which a batch holds `batch_size`;
    the method dann takes as many unlabelled ones of the target beside them."""

    data: str = train_field("digits", "the domains, digits (built in) or domains(...): the content, not the path")
    source: str = train_field("photo", "the domain whose labels are trained on")
    target: str = train_field("plain", "the domain that is adapted to, without its labels")
    method: str = train_field("dann", "source_only, dann or target_only (trained on the target's labels)")
    image_size: int = train_field(28, "pixels per side")
    channels: str = train_field("rgb", "rgb, or grey: colours become luminance")
    standardise: bool = train_field(
        False, "subtract the mean and divide by the standard deviation of the labelled training images, per channel"
    )
    network: str = train_field("cnn", "architecture, a function of runners/dann/networks.py")
    total_images: int = train_field(1_000_000, "labelled training images drawn")
    batch_size: int = train_field(256, "labelled images per step")
    lr: float = train_field(0.01, "peak learning rate")
    lr_schedule: str = train_field("dann", "dann: lr / (1 + 10 p)^.75 at progress p; cosine (to 0) or constant")
    optimiser: str = train_field("sgd(momentum=0.9)", "sgd(momentum=...) or adam(beta1=...)")
    weight_decay: float = train_field(0.0, "L2 penalty, added to the gradient")
    lambda_gamma: float = train_field(10.0, "gamma: how fast lambda_p = 2 / (1 + exp(-gamma p)) - 1 rises")
    lambda_max: float = train_field(1.0, "maximum of lambda_p, by which the reversed gradient is multiplied")
    lambda_schedule: str = train_field("dann", "dann: lambda_p rises with progress p, or constant")
    domain_lr_quirk: bool = train_field(False, "divide the domain classifier's learning rate by lambda_p")
    augmentation: str = train_field("none", "of training images: none, shift(pixels=...) or invert(probability=...)")
    seed: int = train_field(0, "training seed: initial weights, order, augmentation")

    @property
    def task(self) -> Task:
        """What a trial is scored on. Raises ValueError for data or domains that are unknown."""
        return tasks.of(self.data, self.target)

    @property
    def channel_count(self) -> int:
        return 1 if self.channels == "grey" else 3

    @property
    def labelled(self) -> str:
        """The domain whose labels are trained on."""
        return self.target if self.method == "target_only" else self.source

    @property
    def canonical(self) -> TrialConfig:
        """The same training with the fields at their defaults that say nothing in it."""
        inert = list(ADVERSARIAL) if self.method != "dann" else []
        if self.lambda_schedule == "constant" or self.lambda_max == 0:
            inert.append("lambda_gamma")
        return self.replace(**{name: self.defaults()[name] for name in inert})

    @property
    def as_trained(self) -> TrialConfig:
        """A training on one domain alone has the same weights whatever the other one is; its curve has not."""
        other = {"source_only": "target", "target_only": "source"}.get(self.method)
        return self.canonical.replace(**({other: self.defaults()[other]} if other else {}))

    def key(self, stage: Stage | None = None) -> str:
        # A training on labels alone knows no lambda: whatever is set for it, it is one training.
        return super(TrialConfig, self.canonical).key(stage)

    @property
    def step_key(self) -> str:
        return f"{self.network} {self.method} {self.image_size} {self.channels} {self.batch_size}"
