"""The settings of a user's own experiment as a record describes them.

Its code lies beside a study's file, may be edited or lie on another machine, and is never run to read a record: what a
reader needs of its `Config` is kept with the study.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from runners import packages
from runners.config import TYPES, Scalar, StagedConfig
from runners.experiment import find


class RecordedField(BaseModel):
    """One field of a Config; `replicated`: `at_seed` sets it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    default: Scalar
    stage: str
    about: str = ""
    inert: bool = False
    rescales: bool = False
    replicated: bool = False


def fields_of(config: type[StagedConfig]) -> dict[str, RecordedField]:
    """What a record keeps of a Config."""
    return {
        field.name: RecordedField(
            kind=config.types()[field.name].__name__,
            default=config.defaults()[field.name],
            stage=field.metadata["stage"],
            about=config.about(field.name),
            inert=field.name in config.inert(),
            rescales=field.name in config.rescaling(),
            replicated=field.name in config.replicated(),
        )
        for field in dataclasses.fields(config)
    }


def described(experiment: str) -> dict[str, Any]:
    """What study.json says of the settings of a user's own experiment; nothing of the project's."""
    if packages.folder_of(experiment) is None:
        return {}
    config = find(experiment).Config
    return {"identity": config.identity(), "config_fields": fields_of(config)}


class _Recorded(StagedConfig):
    def at_seed(self, seed: int, block: int) -> Self:
        names = [field.name for field in dataclasses.fields(self) if field.metadata["replicated"]]
        return self.replace(**dict.fromkeys(names, seed))


def config_of(identity: str, fields: Mapping[str, RecordedField]) -> type[StagedConfig]:
    """The Config that a record describes: same fields, same keys. Raises ValueError for one that it cannot be."""
    for name, field in fields.items():
        if not name.isidentifier() or field.kind not in TYPES or type(field.default) is not TYPES[field.kind]:
            raise ValueError(f"config_fields.{name} is no field of a setting")
    if "seed" not in fields:
        raise ValueError("config_fields has no training seed")
    return _made(identity, json.dumps({name: field.model_dump() for name, field in fields.items()}))


@functools.cache
def _made(identity: str, text: str) -> type[StagedConfig]:
    described: dict[str, dict[str, Any]] = json.loads(text)
    columns = [
        (name, TYPES[one["kind"]], dataclasses.field(default=TYPES[one["kind"]](one["default"]), metadata=one))
        for name, one in described.items()
    ]
    namespace = {"_identity": identity}
    made = dataclasses.make_dataclass("Config", columns, bases=(_Recorded,), namespace=namespace, frozen=True)
    return made
