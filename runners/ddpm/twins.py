"""Trainings of different settings that ended in the very same weights."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from runners.ddpm.config import TrialConfig
from runners.ddpm.trainings import facts
from runners.process.files import read_json


@dataclass(frozen=True)
class Twin:
    """Another training with the very same weights, last and averaged; `fields` are those whose values differ."""

    key: str
    fields: tuple[str, ...]

    @property
    def inert(self) -> bool:
        """Whether they differ in settings alone that may come to nothing: a limit that no gradient reached, say."""
        return set(self.fields) <= TrialConfig.inert()


def same_weights(folder: Path) -> Twin | None:
    """A training of another setting with the same weights; one that differs in more than inert fields goes first.

    Settings that differ must train differently; equal weights say that a factor did not reach the training.
    """
    own, fields, found = facts(folder)["sha256"], TrialConfig.from_dict(read_json(folder / "config.json")).to_dict(), []
    for other in sorted(folder.parent.glob("*/done.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # of one that is damaged: its own affair
            if other.parent != folder and facts(other.parent)["sha256"] == own:
                theirs = TrialConfig.from_dict(read_json(other.with_name("config.json"))).to_dict()
                found.append(Twin(other.parent.name, tuple(name for name in fields if fields[name] != theirs[name])))
    return min(found, key=lambda twin: twin.inert, default=None)
