"""A setting as one row of scalars: component values written as calls, fields with a stage, keys. Standard library only.

A component value is a call in a string, `"ddim(steps=50)"`: hashable, loggable, an Optuna category as it
stands. It has one permitted spelling (keywords, no defaults repeated), so equal settings have equal keys.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Stage = Literal["train", "sample"]
Scalar = str | int | float | bool
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
FIRST = "ddpm"  # the experiment that records of earlier versions are of


def train_field(default: Scalar, about: str, inert: bool = False, rescales: bool = False) -> Any:
    """A field that decides what is trained. One that may be `inert` is a limit or a ramp: two values of it train the
    same weights where neither is reached. One that `rescales` changes what the loss measures: the heights of two
    losses do not compare."""
    metadata = {"stage": "train", "about": about, "inert": inert, "rescales": rescales}
    return dataclasses.field(default=default, metadata=metadata)


def sample_field(default: Scalar, about: str) -> Any:
    """A field that matters only after the training: settings that differ in such fields alone share one training."""
    return dataclasses.field(default=default, metadata={"stage": "sample", "about": about})


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest known name, with all names when none is near."""
    names = sorted(known)
    of_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.lower(), list(of_lower), n=1, cutoff=0.5)
    return f": did you mean {of_lower[close[0]]!r}?" if close else f": write one of {', '.join(names)}."


@dataclass(frozen=True)
class Call:
    """A component value: `name` or `name(key=literal, ...)`."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def parse(text: str) -> Call:
        """Read `text`; ValueError with the permitted spelling when it is spelt otherwise."""
        hint = f"{text!r} is not a component: write a name such as 'linear' or a call such as 'ddim(steps=50)'."
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

        Raises ValueError for an argument that the function does not take (with the nearest name), for one that it
        needs, and for one that repeats its default, because two spellings of one setting would be two keys.
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
        needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
        if missing := [name for name in needed if name not in dict(self.arguments)]:
            raise ValueError(f"{self.name!r} needs {' and '.join(missing)}: write {self.name}({missing[0]}=...).")
        return dict(self.arguments)


@dataclass(frozen=True)
class StagedConfig:
    """One trial's setting. An experiment's `Config` is a frozen subclass whose every field is a `train_field` or a
    `sample_field` of type str, int, float or bool, among them `seed: int`, the training seed.

    Raises ValueError for a value of another type.
    """

    def __post_init__(self) -> None:
        types = self.types()
        for field in dataclasses.fields(self):
            value, wanted = getattr(self, field.name), types[field.name]
            if type(value) is not wanted:
                raise ValueError(
                    f"{field.name}={value!r} must be of type {wanted.__name__} ({self.about(field.name)})."
                )

    # --- what the fields are ---------------------------------------------------------------------------

    @classmethod
    @functools.cache
    def types(cls) -> dict[str, type]:
        """Field -> str, int, float or bool."""
        return {
            field.name: field.type if isinstance(field.type, type) else TYPES[field.type]
            for field in dataclasses.fields(cls)
        }

    @classmethod
    @functools.cache
    def defaults(cls) -> dict[str, Scalar]:
        """Field -> its default: what a record that is older than the field means by its absence."""
        return {field.name: field.default for field in dataclasses.fields(cls)}  # type: ignore[misc]

    @classmethod
    def about(cls, name: str) -> str:
        """One line on a field."""
        field: dataclasses.Field[Any] = cls.__dataclass_fields__[name]
        return str(field.metadata["about"])

    @classmethod
    @functools.cache
    def inert(cls) -> frozenset[str]:
        """The fields of which two values may come to the same."""
        return frozenset(field.name for field in dataclasses.fields(cls) if field.metadata.get("inert"))

    @classmethod
    @functools.cache
    def rescaling(cls) -> frozenset[str]:
        """The fields that change what the loss measures."""
        return frozenset(field.name for field in dataclasses.fields(cls) if field.metadata.get("rescales"))

    @classmethod
    def identity(cls) -> str:
        """What tells the keys of one experiment from those of another: the name of its package of `runners`, or the
        name and a digest of a user's own. "" for the first one, whose keys are older than the second."""
        room, _, rest = cls.__module__.partition(".")
        name = rest.partition(".")[0] if room == "runners" else ""
        return str(cls.__dict__.get("_identity", "" if name == FIRST else name))

    @classmethod
    def require(cls, name: str) -> None:
        """Raises ValueError, with the nearest name, for what is no field."""
        if name not in cls.types():
            raise ValueError(f"Unknown field {name!r}{cls.nearest_field(name)}")

    @classmethod
    def nearest_field(cls, word: str) -> str:
        """`nearest`; where no name is near, the fields that are described by these words: learning_rate is lr."""
        found = nearest(word, cls.types())
        phrase = word.replace("_", " ").replace("-", " ").strip().lower()
        if "did you mean" in found or not phrase:
            return found
        described = [name for name in cls.types() if re.search(rf"\b{re.escape(phrase)}\b", cls.about(name).lower())]
        return f": did you mean {' or '.join(map(repr, described))}?" if described else found

    @classmethod
    def read_value(cls, name: str, text: str) -> Scalar:
        """`text` as the type of field `name`: the inverse of `str`, for `--set`.

        Raises ValueError for an unknown field (nearest name) or a text that is not of its type.
        """
        cls.require(name)
        wanted = cls.types()[name]
        if wanted is bool:
            if text in ("True", "true", "1", "False", "false", "0"):
                return text in ("True", "true", "1")
            raise ValueError(f"{name}={text!r} is not true or false: write {name}=true or {name}=false.")
        try:
            if wanted is int:
                number = float(text.replace("_", ""))
                if number != int(number):
                    raise ValueError
                return int(number)
            value: Scalar = wanted(text)
        except (ValueError, OverflowError) as error:
            number_of = "a whole number" if wanted is int else "a number"
            raise ValueError(
                f"{name}={text!r} is not of type {wanted.__name__} ({cls.about(name)}): write {number_of}, such as "
                f"{name}={cls.defaults()[name]}."
            ) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name}={text} is not finite: write a number, such as {name}={cls.defaults()[name]}.")
        return value

    # --- one setting -----------------------------------------------------------------------------------

    def key(self, stage: Stage | None = None) -> str:
        """12 hex digits of what differs from the defaults, so that a field added later leaves keys alone."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default and stage in (None, field.metadata["stage"])
        }
        if identity := self.identity():
            changed[""] = identity
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:12]

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
        for all. An experiment names the fields that decide it; here every setting is its own."""
        return self.train_key

    def replace(self, **changes: Scalar) -> Self:
        return dataclasses.replace(self, **changes)

    def at_seed(self, seed: int, block: int) -> Self:
        """This setting trained with `seed`, in the block of trials that are compared with each other: an experiment
        whose trials also draw something when they are scored draws it per block."""
        return self.replace(seed=seed)

    @property
    def as_trained(self) -> Self:
        """The same training: fields that this one does not read, whatever they are set to, at their defaults."""
        return self

    @classmethod
    @functools.cache
    def replicated(cls) -> frozenset[str]:
        """The fields that `at_seed` sets: of replications, and so no settings."""
        one, other = cls().at_seed(1, 1), cls().at_seed(2, 2)
        return frozenset(name for name in cls.types() if getattr(one, name) != getattr(other, name))

    def contained(self) -> Iterator[Self]:
        """Settings whose results are a part of this one's, so that a trial takes over what a finished trial of theirs
        has: the largest part first. An experiment says which; here there are none."""
        return iter(())

    def to_dict(self) -> dict[str, Scalar]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; fields that a record does not know yet keep their defaults.

        Raises ValueError for an unknown field (nearest name) or a value of another type.
        """
        for name in row:
            cls.require(name)
        return cls(**row)
