"""The plain limits of a config's fields, which every experiment checks alike. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from runners.config import StagedConfig


def check(config: StagedConfig, positive: Sequence[str], not_negative: Sequence[str]) -> None:
    """ValueError, with what to write instead, for the first of these fields outside of its limit."""
    fields = config.to_dict()
    for name in positive:
        if not fields[name] > 0:  # type: ignore[operator]  # the fields that are named are numbers
            raise ValueError(f"{name}={fields[name]} must be above 0.")
    for name in not_negative:
        if not fields[name] >= 0:  # type: ignore[operator]
            raise ValueError(f"{name}={fields[name]} must be 0 or more.")
