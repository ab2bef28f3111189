"""The missing cells of a grid, in the order of the plan; and the same trials as an Optuna study.

Optuna's own grid samplers repeat cells when several workers ask at once, so the cells are enumerated here, and each is
told to Optuna when it starts and when it ends.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Set
from pathlib import Path

from runners.config import Scalar
from study.design.plan import Plan, Trial
from study.record import optuna_store
from study.record.optuna_store import Distributions, OptunaStudy, Stored
from study.record.schema import Search
from study.scheduling.cells import Cell


class GridCells:
    """Trials that share a training are given out one at a time until the training is there."""

    def __init__(self, record: Path, plan: Plan, complete: Mapping[str, float]) -> None:
        """`complete`: trial_key -> metric of the trials whose folders are there."""
        self.index = GridIndex(record, plan)
        self.index.agree(complete)
        # train_key -> its missing trials with their places in the plan; and the trainings by their first one.
        self.waiting: dict[str, deque[tuple[int, Trial]]] = {}
        for place, trial in enumerate(plan.due):
            if trial.key not in complete:
                self.waiting.setdefault(trial.train_key, deque()).append((place, trial))
        self.order = [(trials[0][0], train_key) for train_key, trials in self.waiting.items()]
        heapq.heapify(self.order)

    def more(self) -> bool:
        return bool(self.order)

    def next(self, busy: Set[str]) -> Cell | None:
        """The first cell of the plan whose training is not busy. Its price is that of the busy ones passed over."""
        passed = []
        found: Trial | None = None
        while self.order and found is None:
            place, train_key = heapq.heappop(self.order)
            if train_key in busy:
                passed.append((place, train_key))
                continue
            trials = self.waiting[train_key]
            found = trials.popleft()[1]
            if trials:
                passed.append((trials[0][0], train_key))
        for entry in passed:
            heapq.heappush(self.order, entry)
        return None if found is None else Cell(found, self.index.start(found))

    def complete(self, cell: Cell, value: float) -> None:
        self.index.study.finish(cell.id, value)

    def fail(self, cell: Cell) -> None:
        self.index.study.finish(cell.id, None)

    def prune(self, cell: Cell) -> None:
        raise AssertionError("a grid is a comparison: none of its trials is pruned")

    def interrupt(self, cell: Cell) -> None:
        """The next launch starts the cell again."""
        self.index.study.finish(cell.id, None)

    def report(self, cell: Cell, images: int, total_images: int, value: float) -> bool:
        return False

    def search(self) -> Search | None:
        return None


class GridIndex:
    """The cells of a plan as an Optuna study of the plan's id; those of a search's further stages have their own."""

    def __init__(self, record: Path, plan: Plan) -> None:
        name = {"finalists": f"{plan.study_id}-finalists", "answer": f"{plan.study_id}-fresh"}.get(
            plan.stage, plan.study_id
        )
        higher = plan.task.metric.higher_is_better
        self.plan = plan
        self.study = OptunaStudy(record, name, plan.spec.question, plan.metric, higher)
        self.distributions: Distributions = {}

    def agree(self, complete: Mapping[str, float]) -> None:
        """Make Optuna's trials agree with the trial folders.

        What an interrupted launch left running becomes failed, and so does what an older version left waiting;
        complete trials that are not there are added.
        """
        stored = self.study.stored()
        self.distributions = self._distributions(stored)
        if any(trial.distributions and dict(trial.distributions) != self.distributions for trial in stored):
            self._rewrite(stored)
            stored = self.study.stored()
        for trial in stored:
            if trial.state in ("running", "waiting"):
                self._fail(trial)
        known = {trial.key for trial in stored if trial.state == "complete"}
        for planned in self.plan.due:
            if planned.key in complete and planned.key not in known:
                self._add(planned, complete[planned.key])

    def start(self, trial: Trial) -> int:
        """A running trial; returns its id in the storage."""
        return self.study.add(self._params(trial), self.distributions, _attributes(trial))

    def _add(self, trial: Trial, value: float) -> None:
        self.study.add(self._params(trial), self.distributions, _attributes(trial), "complete", value)

    def _fail(self, trial: Stored) -> None:
        if trial.state == "waiting":
            self.study.claim(trial.id)
        self.study.finish(trial.id, None)

    def _distributions(self, stored: list[Stored]) -> Distributions:
        """Each factor's values, old and new.

        The seed is an attribute, no parameter: a replication would crowd the factors out of a dashboard's importance.
        """
        seen: dict[str, list[Scalar]] = {}
        for trial in stored:
            for name, distribution in trial.distributions.items():
                if name not in seen:
                    seen[name] = list(getattr(distribution, "choices", ()))
        found = {}
        for name, values in self.plan.due_factors.items():
            before = seen.get(name, [])
            found[name] = optuna_store.categories([*before, *(value for value in values if value not in before)])
        return found

    def _rewrite(self, stored: list[Stored]) -> None:
        """Write the study anew, with the finished trials that have the factors of today."""
        self.study.begin_again()
        for trial in stored:
            if trial.state in ("complete", "failed") and set(trial.params) == set(self.distributions):
                attributes: dict[str, Scalar] = dict(trial.attributes)
                self.study.add(trial.params, self.distributions, attributes, trial.state, trial.value)

    def _params(self, trial: Trial) -> dict[str, Scalar]:
        fields = trial.config.to_dict()
        return {name: fields[name] for name in self.distributions}


def _attributes(trial: Trial) -> dict[str, Scalar]:
    return {"trial_key": trial.key, "arm": trial.arm, "seed": trial.seed}
