"""The finalists of a search: its best suggestions, trained again on seeds that the search did not use.

The best of many noisy scores is optimistically biased. So the winner is the finalist with the best mean over fresh
training seeds, each with its own draw of sampling noise; the scores that made them finalists are not used again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from study.design.plan import FINALIST, Plan
from study.record.schema import Search
from study.scheduling.cells import Cell
from study.scheduling.grid import GridCells


class FinalistCells(GridCells):
    """The trials of the finalists, a grid of finalists x selection seeds; at its end the winner is known."""

    def __init__(self, record: Path, plan: Plan, complete: Mapping[str, float], recorded: Search) -> None:
        """`complete`: trial_key -> score of the trials whose folders are there; `recorded`: the finished search."""
        super().__init__(record, plan, complete)
        self.plan, self.recorded = plan, recorded
        self.higher = plan.task.metric.higher_is_better
        self.scores = {trial.key: complete[trial.key] for trial in plan.finalists if trial.key in complete}
        self.open = {trial.key for trial in plan.finalists} - self.scores.keys()  # neither complete nor failed yet

    def complete(self, cell: Cell, value: float) -> None:
        super().complete(cell, value)
        self.scores[cell.trial.key] = value
        self.open.discard(cell.trial.key)

    def fail(self, cell: Cell) -> None:
        super().fail(cell)
        self.open.discard(cell.trial.key)

    def search(self) -> Search:
        """The search with its finalists; once all of them were tried, also with the winner."""
        run_ids = {trial.trial_key: trial.run_id for trial in self.recorded.finalists}
        finalists = tuple(trial.as_recorded(run_ids) for trial in self.plan.finalists)
        changes = {"finalists": finalists, "selection_seeds": self.plan.selection_seeds}
        found = self.recorded.model_copy(update=changes | NOBODY)
        return found if self.open else chosen(found, self.scores, self.higher)


NOBODY: dict[str, Any] = {"winner": None, "selection_score": None}


def chosen(search: Search, scores: Mapping[str, float], higher_is_better: bool) -> Search:
    """The search with its winner: the finalist with the best mean score; of equal ones the first in the search.

    `scores`: trial_key -> score. A finalist that lacks one of the selection seeds is not chosen; without a whole one
    there is no winner.
    """
    sign = 1 if higher_is_better else -1
    of_finalist: dict[str, list[float]] = {}
    for trial in search.finalists:
        of_finalist.setdefault(trial.arm, []).append(scores.get(trial.trial_key, math.nan))
    means = {arm: fmean(values) for arm, values in of_finalist.items() if not any(map(math.isnan, values))}
    if not means:
        return search.model_copy(update=NOBODY)
    number = {arm: int(arm.removeprefix(FINALIST)) for arm in means}
    best = min(means, key=lambda arm: (-sign * means[arm], number[arm]))
    return search.model_copy(update={"winner": number[best], "selection_score": means[best]})
