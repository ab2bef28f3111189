"""The user's files, read, checked and written into the record before anything else happens: a corrupt one is bad input,
not a failed study."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.progress import Screen, watched

if TYPE_CHECKING:
    import argparse

    from runners.config import Scalar, StagedConfig
    from runners.experiment import Given
    from study.design.plan import Plan


def read_as(arguments: argparse.Namespace) -> dict[str, str]:
    """What the user says of `--data`, for an experiment's `read`; nothing without it. Raises ValueError for options
    that are about nothing."""
    if arguments.data is None:
        for option, given in (("--task", arguments.task), ("--allow-unlabelled", arguments.allow_unlabelled)):
            if given:
                raise ValueError(f"{option} is about images of your own: add --data PATH.")
        return {}
    found = {"data": os.path.realpath(arguments.data), "task": arguments.task}
    return found | ({"allow_unlabelled": "yes"} if arguments.allow_unlabelled else {})


def read(experiment: str, inputs: Mapping[str, str], record: Path, changes: dict[str, Scalar]) -> Given:
    """Let the experiment check `--data`; the changes get what it sets: a digest of the content, never the path."""
    from runners import readable
    from runners.experiment import find, reader_of
    from study.record.layout import cache_folder

    package, known = find(experiment), cache_folder(record)
    reader = reader_of(package)
    if reader is None:
        raise ValueError(f"The experiment {experiment} reads no files of yours: leave --data out.")
    if "data" in changes:
        raise ValueError("--data and --set data=... name two sets of images: leave one of them out.")
    path = Path(inputs["data"])
    readable.require_open(path, "--data")
    with readable.said(path if path.is_dir() else path.parent, "restore it"):
        # On standard error: what a dry run prints as JSON is for a program.
        found = watched(reader(inputs, known if known.is_dir() else None), Screen(sys.stderr))
    for name, value in found.changes.items():
        package.Config.require(name)
        if changes.setdefault(name, value) != value:
            raise ValueError(f"--data sets {name}={value}, and --set {name}={changes[name]}: leave one of them out.")
    return found


@dataclass(frozen=True)
class Images:
    """The images of one experiment of a command, at the size of its first study: of `--data`, else those that a worker
    makes when the study is prepared."""

    given: Given | None
    plan: Plan
    cache: Path

    @property
    def bytes(self) -> int:
        """What they take on the disk, decoded."""
        size, count = self.plan.experiment.cost(self.config).data_bytes, self.plan.task.images
        return size * self.given.count // count if self.given and count else size

    @property
    def config(self) -> StagedConfig:
        return self.plan.baseline

    def decode(self) -> None:
        """Decode what is new to the record. Raises ValueError for the first corrupt image."""
        self._do("decode")

    def write(self) -> None:
        """Write what was decoded into the record, so that no worker decodes it again."""
        self._do("write")

    def _do(self, what: str) -> None:
        steps = getattr(self.given, what, None)
        if steps is not None:
            watched(steps(self.config, self.cache))

    def sentences(self) -> list[str]:
        """What they are, and what was done with them."""
        return self.given.sentences(self.config) if self.given else []
