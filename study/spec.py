"""`StudySpec`: one question as plain data. A study is a file `study/studies/NAME.py` with a `STUDY`."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import study.studies
from runners.config import FIELD_TYPES, Scalar, nearest

Arm = Mapping[str, Scalar]


@dataclass(frozen=True)
class StudySpec:
    """A question, the factors that are varied (crossed with each other) and the arm all others are compared with.

    `factors`: field -> values. `baseline`: the value of each factor in the baseline arm. `fixed`: fields that the
    question sets for every arm. `published`: arm name -> metric -> the number of a report. `seeds`: training seeds.
    """

    question: str
    factors: Mapping[str, Sequence[Scalar]]
    baseline: Arm
    fixed: Arm = field(default_factory=dict)
    metric: str = "accuracy/validation"
    seeds: int = 3
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in [*self.factors, *self.baseline, *self.fixed]:
            if name not in FIELD_TYPES:
                raise ValueError(f"The study varies the unknown field {name!r}{nearest(name, FIELD_TYPES)}")
        for name, values in self.factors.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"The factor {name!r} needs values that differ from each other.")
            if name in self.fixed:
                raise ValueError(f"The field {name!r} is a factor of the study and fixed at once: remove one.")
            if self.baseline.get(name) not in values:
                raise ValueError(f"The baseline needs a value of the factor {name!r}: one of {list(values)}.")

    def arms(self) -> dict[str, dict[str, Scalar]]:
        """Arm name -> its factor values, in the order of the factors; "schedule=linear"."""
        rows = itertools.product(*self.factors.values())
        arms = [dict(zip(self.factors, row, strict=True)) for row in rows]
        return {arm_name(arm): arm for arm in arms}

    @property
    def baseline_arm(self) -> str:
        return arm_name({name: self.baseline[name] for name in self.factors})


def arm_name(arm: Arm) -> str:
    return " ".join(f"{name}={value}" for name, value in arm.items())


def names() -> list[str]:
    """The studies: the files of study/studies."""
    return sorted(module.name for module in pkgutil.iter_modules(study.studies.__path__))


def find(name: str) -> StudySpec:
    """The study of a name; ValueError with the nearest name when there is none."""
    if name not in names():
        raise ValueError(f"Unknown study {name!r}{nearest(name, names())}")
    module: Any = importlib.import_module(f"study.studies.{name}")
    spec: StudySpec = module.STUDY
    return spec
