"""The plain limits of a config's fields, which every experiment checks alike. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runners.config import StagedConfig


def check(
    config: StagedConfig, positive: Sequence[str], not_negative: Sequence[str], choices: Mapping[str, Sequence[str]]
) -> None:
    """ValueError, with what to write instead, for the first field outside of them; `choices`: field -> its values."""
    fields = config.to_dict()
    for name in positive:
        if not fields[name] > 0:  # type: ignore[operator]  # the fields that are named are numbers
            raise ValueError(f"{name}={fields[name]} must be above 0.")
    for name in not_negative:
        if not fields[name] >= 0:  # type: ignore[operator]
            raise ValueError(f"{name}={fields[name]} must be 0 or more.")
    for name, known in choices.items():
        if fields[name] not in known:
            written = " or ".join([", ".join(known[:-1]), known[-1]])
            raise ValueError(f"{name}={fields[name]!r} is unknown: write {written}.")
