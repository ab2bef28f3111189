"""How a launch runs, what a worker is told of it, and which failures are worth another try."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runners import packages
from runners.config import StagedConfig
from runners.experiment import ExecutionContext
from runners.process import scratch
from runners.process.protocol import Failed, Job
from study.design.plan import Plan
from study.executors import Slot
from study.record import errors, layout

RETRIED = ("crashed", "hung", "out of memory")  # an exception would only be raised again
TrialHook = Callable[[Path], None]


@dataclass(frozen=True)
class Settings:
    """How a launch runs: nothing here changes a result.

    `command`: what the user typed; `files`: texts that belong to the launch (its study's own file, say);
    `curve_points`: of each learning curve; `retries`: of a trial that crashed, hung or ran out of memory; `inputs`:
    files that the user named, for the experiment; `on_trial_complete`: called with a complete trial's folder before
    MLflow gets it, for files to be added.
    """

    command: str
    curve_points: int = 5
    retries: int = 1
    inputs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    on_trial_complete: TrialHook | None = None


def job(kind: Literal["prepare", "trial"], plan: Plan, config: StagedConfig, place: ExecutionContext) -> Job:
    """What a worker is asked to do; the executor gives it its number."""
    where, identity = packages.address(plan.spec.experiment), config.identity()
    return Job(kind, 0, where, config.to_dict(), place, identity)


def context(record: Path, slot: Slot, settings: Settings, ahead: int = 0) -> ExecutionContext:
    """What a slot's worker is told; `ahead`: training images of the job's network that it can expect."""
    return ExecutionContext(
        record=str(record),
        device=slot.device,
        threads=slot.threads,
        colocated=slot.colocated,
        curve_points=settings.curve_points,
        deterministic=slot.deterministic,
        compile=slot.compile,
        images_ahead=ahead,
        inputs=dict(settings.inputs),
    )


def refuse_full_disk(message: Failed, record: Path) -> str:
    """A worker that found no room says nothing about its trial: raises OSError, which ends the launch.

    Where it is temporary files that found none they move, which the sentence that is returned says; else "".
    """
    texts = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "the disk is full")
    if not any(text in message.error for text in texts) and not errors.is_full(record):
        return ""
    place = scratch.full_place(None, record)
    if place != record and (moved := scratch.settle(layout.cache_folder(record))):
        return moved
    number = errno.EDQUOT if texts[1] in message.error else errno.ENOSPC
    raise OSError(number, os.strerror(number), str(place))
