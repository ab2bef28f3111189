"""Where trials run: the contract of an executor, and one implementation per file.

An executor has slots. A slot takes one job at a time (`submit`) and answers with messages (`poll`), the last of which
ends the job; `stop` ends a job, `renew` replaces a slot's worker, `wind_down` and `cancel` end them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from runners.process.protocol import Job, Message


@dataclass(frozen=True)
class Slot:
    """A place for one worker: a device, the CPU threads that the worker may use, how many workers share the device, or
    a core of it, whether it keeps to algorithms that give the same bits each time, and whether it compiles."""

    number: int
    device: str
    threads: int
    colocated: int = 1
    deterministic: bool = False
    compile: str = "auto"


class Executor(Protocol):
    """Runs jobs on slots."""

    slots: Sequence[Slot]
    stopping: bool

    def submit(self, slot: Slot, job: Job) -> None:
        """Give a job to a slot that has none; the executor sets the job's number."""

    def poll(self, timeout: float) -> tuple[Slot, Message] | None:
        """The next message of any slot but heartbeats, or None after `timeout` seconds.

        A worker that ends in the middle of a job gives `Failed` with the status "crashed", or "hung" where it was ended
        for its silence. Raises KeyboardInterrupt once `stopping` is set.
        """

    def stop(self, slot: Slot) -> None:
        """End the slot's job, not its worker: the message `Stopped` follows, or `Done` if it came first."""

    def renew(self, slot: Slot) -> None:
        """End the slot's idle worker: its next job gets a new process."""

    def wind_down(self, seconds: float) -> Iterator[tuple[int, float]]:
        """Ask the workers to save and end; those that are not done after `seconds` are ended.

        Yields, while it waits, how many are at it and the seconds that they still have.
        """

    def cancel(self) -> None:
        """End all workers now; what they did since their last checkpoint is done again next time."""
