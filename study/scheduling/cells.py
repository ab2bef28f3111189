"""What a launch has to run, one trial after another: the contract of a grid and of a search."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from study.design.plan import Trial
from study.record.schema import Search


@dataclass(frozen=True)
class Cell:
    """A trial that was given out, and its id in Optuna's storage."""

    trial: Trial
    id: int


class Cells(Protocol):
    """The trials of a launch. Every cell that `next` gives ends in one of `complete`, `fail`, `prune`, `interrupt`."""

    def more(self) -> bool:
        """Whether anything is still to be given out."""

    def next(self, busy: Set[str]) -> Cell | None:
        """The next cell whose training is not among the `busy` train keys; None while there is none."""

    def complete(self, cell: Cell, value: float) -> None: ...

    def fail(self, cell: Cell) -> None:
        """The trial has failed for good in this launch."""

    def prune(self, cell: Cell) -> None:
        """The trial was stopped, because `report` gave it up."""

    def interrupt(self, cell: Cell) -> None:
        """The launch ends while the trial runs: the next launch goes on with it."""

    def report(self, cell: Cell, images: int, total_images: int, value: float) -> bool:
        """Note a point of the learning curve; whether the trial is to be stopped there."""

    def search(self) -> Search | None:
        """The section of study.json about a search; None for a grid."""
