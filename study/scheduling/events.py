"""What happens while a launch runs, as typed values: the scheduler yields them, the command line shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.design.plan import Trial


@dataclass(frozen=True)
class Preparing:
    """Something that all trials share is being made: `done` of `total`, at `rate` per second (0: not known)."""

    what: str
    done: int
    total: int
    rate: float = 0.0


@dataclass(frozen=True)
class Started:
    """A worker has got a trial."""

    trial: Trial
    slot: int
    device: str


@dataclass(frozen=True)
class Training:
    """New lines of a trial's learning curve; `total` images in all."""

    trial: Trial
    slot: int
    lines: tuple[Mapping[str, float], ...]
    total: int


@dataclass(frozen=True)
class Sampling:
    """A trial has drawn `done` of `total` samples."""

    trial: Trial
    slot: int
    done: int
    total: int


@dataclass(frozen=True)
class Scored:
    """A trial is complete, with its score in the study's metric."""

    trial: Trial
    slot: int
    value: float


@dataclass(frozen=True)
class Pruned:
    """The search has stopped a trial after `images`, at its last score."""

    trial: Trial
    slot: int
    images: int
    value: float


@dataclass(frozen=True)
class Retried:
    """A trial has failed and is tried again, for the `tries`-th time; `status`: crashed, hung or out of memory."""

    trial: Trial
    slot: int
    status: str
    error: str
    tries: int


@dataclass(frozen=True)
class Failed:
    """A trial has failed for good in this launch."""

    trial: Trial
    slot: int
    status: str
    error: str


@dataclass(frozen=True)
class Noted:
    """A sentence about something unusual; `about` the trial or the part of the harness that it concerns."""

    text: str
    about: str = ""


@dataclass(frozen=True)
class Stopping:
    """The launch ends: `workers` still write their checkpoints and have `seconds` left for it."""

    workers: int
    seconds: float


Event = Preparing | Started | Training | Sampling | Scored | Pruned | Retried | Failed | Noted | Stopping
