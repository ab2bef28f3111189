"""`TrialConfig`: everything that may change a result, as one row of scalars. Standard library only.

A component value is a call in a string, `"ddim(steps=50)"`: hashable, loggable, an Optuna category as it
stands. It has one permitted spelling (keywords, no defaults repeated), so equal settings have equal keys.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["train", "sample"]
Scalar = str | int | float | bool


def _train(default: Scalar, about: str) -> Any:
    return dataclasses.field(default=default, metadata={"stage": "train", "about": about})


def _sample(default: Scalar, about: str) -> Any:
    return dataclasses.field(default=default, metadata={"stage": "sample", "about": about})


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known name, with all names when none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": write one of {', '.join(names)}."


@dataclass(frozen=True)
class Call:
    """A component value: `name` or `name(key=literal, ...)`."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def parse(text: str) -> Call:
        """Read `text`; ValueError with the permitted spelling when it is spelt otherwise."""
        hint = f"{text!r} is no component: write a name such as 'linear' or a call such as 'ddim(steps=50)'."
        try:
            node = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise ValueError(hint) from error
        if isinstance(node, ast.Name):
            call = Call(node.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            try:
                pairs = [(keyword.arg or "**", ast.literal_eval(keyword.value)) for keyword in node.keywords]
            except ValueError as error:
                raise ValueError(f"The arguments of {text!r} must be plain numbers, strings or tuples.") from error
            call = Call(node.func.id, tuple(sorted(pairs)))
        else:
            raise ValueError(hint)
        if str(call) != text:
            raise ValueError(f"{text!r} has one permitted spelling: write {str(call)!r}.")
        return call

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments)})"

    def bind(self, function: Callable[..., Any], given: Iterable[str] = ()) -> dict[str, Any]:
        """Keyword arguments of `function`, whose parameters in `given` the caller supplies.

        Raises ValueError for an argument that the function does not take (with the nearest name) and for one
        that repeats its default, because two spellings of one setting would be two keys.
        """
        parameters = {
            name: parameter
            for name, parameter in inspect.signature(function).parameters.items()
            if name not in set(given)
        }
        for key, value in self.arguments:
            if key not in parameters:
                raise ValueError(f"{self.name!r} takes no argument {key!r}{nearest(key, parameters)}")
            if value == parameters[key].default and type(value) is type(parameters[key].default):
                shorter = Call(self.name, tuple(pair for pair in self.arguments if pair[0] != key))
                raise ValueError(f"{key}={value!r} is the default of {self.name!r}: write {str(shorter)!r}.")
        return dict(self.arguments)


@dataclass(frozen=True)
class TrialConfig:
    """One trial: an arm x a training seed. Durations are in images, so they survive a change of batch size."""

    data: str = _train("rendered", "rendered(...) or folder(digest=...): the content, not the path")
    image_size: int = _train(64, "pixels a side")
    model: str = _train("unet", "architecture, a file of runners/models")
    timesteps: int = _train(1000, "T, diffusion steps of the training")
    schedule: str = _train("linear", "beta schedule, a function of runners/schedules.py")
    prediction: str = _train("eps", "what the network predicts: eps, v or x0")
    weighting: str = _train("uniform", "loss weight per timestep: uniform or min_snr(gamma=...)")
    drop_probability: float = _train(0.1, "probability, per sample, that the condition is dropped")
    total_images: int = _train(1_800_000, "training images drawn")
    batch_size: int = _train(128, "images a step")
    lr: float = _train(1e-4, "peak learning rate of AdamW")
    lr_schedule: str = _train("cosine", "after the warm-up: cosine (to 0) or constant")
    warmup_images: int = _train(38_400, "images of linear learning-rate warm-up")
    weight_decay: float = _train(0.01, "AdamW's decoupled weight decay")
    adam_beta2: float = _train(0.999, "AdamW's second-moment decay (beta1 is .9)")
    clip_norm: float = _train(1.0, "gradient norm limit")
    ema_halflife_images: int = _train(88_000, "half-life of the weight average; its start is ramped")
    flips: bool = _train(False, "mirror half of the images (conditions know no left and right)")
    precision: str = _train("fp32", "fp32, bf16 (autocast) or bf16_copy (a bf16 copy of fp32 weights computes)")
    seed: int = _train(0, "training seed: initial weights, order, noise, timesteps, drops")
    weights: str = _sample("ema", "weights that are scored: ema or raw, always of the last step")
    sampler: str = _sample("ddpm", "ddpm, ddpm(steps=N) or ddim(steps=N, eta=E)")
    guidance_scale: float = _sample(1.0, "s of eps_u + s (eps_c - eps_u); 1 is unguided")
    sampling_seeds: int = _sample(1, "K, passes over each list with fresh noise")
    evaluator: str = _sample("stand_in", "stand_in(...) or checkpoint(sha256=...)")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, wanted = getattr(self, field.name), FIELD_TYPES[field.name]
            if type(value) is not wanted:
                raise ValueError(f"{field.name}={value!r} must be of type {wanted.__name__} ({about(field.name)}).")

    def key(self, stage: Stage | None = None) -> str:
        """12 hex digits of what differs from the defaults, so that a field added later leaves keys alone."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default and stage in (None, field.metadata["stage"])
        }
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:12]

    def replace(self, **changes: Scalar) -> TrialConfig:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    @property
    def train_key(self) -> str:
        """Trials with one `train_key` share one training."""
        return self.key("train")

    @property
    def trial_key(self) -> str:
        return self.key()

    @property
    def step_key(self) -> str:
        """Trials with one `step_key` have training steps of the same shapes: what is measured or compiled for one holds
        for all."""
        return f"{self.model} {self.image_size} {self.batch_size} {self.precision}"

    def to_dict(self) -> dict[str, Scalar]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> TrialConfig:
        """The inverse of `to_dict`; fields that a record does not know yet keep their defaults."""
        for name in row:
            if name not in FIELD_TYPES:
                raise ValueError(f"Unknown field {name!r}{nearest(name, FIELD_TYPES)}")
        return TrialConfig(**row)


FIELD_TYPES: dict[str, type] = {
    field.name: {"str": str, "int": int, "float": float, "bool": bool}[str(field.type)]
    for field in dataclasses.fields(TrialConfig)
}
DEFAULTS: dict[str, Scalar] = {field.name: field.default for field in dataclasses.fields(TrialConfig)}  # type: ignore[misc]
STAGES: dict[str, Stage] = {field.name: field.metadata["stage"] for field in dataclasses.fields(TrialConfig)}


def about(name: str) -> str:
    """One line on a field."""
    field: dataclasses.Field[Any] = TrialConfig.__dataclass_fields__[name]
    return str(field.metadata["about"])


def read_value(name: str, text: str) -> Scalar:
    """`text` as the type of field `name`: the inverse of `str`, used by `--set` and by the MLflow reader.

    Raises ValueError for an unknown field (nearest name) or a text that is not of its type.
    """
    if name not in FIELD_TYPES:
        raise ValueError(f"Unknown field {name!r}{nearest(name, FIELD_TYPES)}")
    wanted = FIELD_TYPES[name]
    if wanted is bool:
        if text in ("True", "true", "1", "False", "false", "0"):
            return text in ("True", "true", "1")
        raise ValueError(f"{name}={text!r} is no truth value: write {name}=true or {name}=false.")
    try:
        if wanted is int:
            number = float(text.replace("_", ""))
            if number != int(number):
                raise ValueError
            return int(number)
        return wanted(text)  # type: ignore[no-any-return]
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}={text!r} is not of type {wanted.__name__}: {about(name)}.") from error
