"""What a worker and its executor say to each other: one JSON object per line. Standard library only.

The executor gives a `Job` or a `Stop`; the worker answers with the events of `runners.experiment` and, between a job
and its last message (`Done`, `Failed` or `Stopped`), with a `Heartbeat` from time to time while it gets work done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from runners.config import Scalar
from runners.experiment import Curve, Event, ExecutionContext, Note, Progress

Status = Literal["failed", "diverged", "crashed", "hung", "out of memory"]


@dataclass(frozen=True)
class Job:
    """`prepare`: make what the trials of a record share; `trial`: run one. `number` names the job in a `Stop`.

    `experiment`: its name, or the path of its package; `identity`: what its settings are called by whoever planned.
    """

    kind: Literal["prepare", "trial"]
    number: int
    experiment: str
    config: Mapping[str, Scalar]
    context: ExecutionContext
    identity: str = ""


@dataclass(frozen=True)
class Stop:
    """End the job of this number at its next event, when everything is saved."""

    number: int


@dataclass(frozen=True)
class Heartbeat:
    """The worker lives, and got something done since the last one."""


@dataclass(frozen=True)
class Done:
    """The job is finished."""


@dataclass(frozen=True)
class Stopped:
    """The job was ended, with everything saved: because a `Stop` asked for it, or by SIGTERM."""

    asked: bool


@dataclass(frozen=True)
class Failed:
    """The job failed; `error` in a sentence, `traceback` in full."""

    status: Status
    error: str
    traceback: str


Message = Event | Heartbeat | Done | Stopped | Failed
LAST = (Done, Failed, Stopped)  # of a job
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Job, Stop, Progress, Curve, Note, Heartbeat, Done, Stopped, Failed)
}


def encode(message: Message | Job | Stop) -> str:
    """One line, without its end."""
    return json.dumps({"kind_of_message": type(message).__name__, **asdict(message)})


def decode(line: str) -> Any:
    """The message of a line. Raises ValueError, KeyError or TypeError for what is none."""
    value = json.loads(line)
    kind = KINDS[value.pop("kind_of_message")]
    if kind is Job:
        value["context"] = ExecutionContext(**value["context"])
    if kind is Curve:
        value["lines"] = tuple(value["lines"])
    return kind(**{field.name: value[field.name] for field in fields(kind)})
