"""The trials of a search as TPE suggests them, each suggestion run once: an interrupted one goes on.

A suggestion costs what TPE takes to read all trials before it; everything else about a trial costs the same in a search
of any length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from runners.config import Scalar, StagedConfig
from study.design.plan import SEARCH_SEED, Plan, Trial
from study.design.space import Choice, Dimension
from study.record import optuna_store
from study.record.optuna_store import Distributions, OptunaStudy, Stored
from study.record.schema import Search, SearchState, SearchTrial
from study.scheduling.cells import Cell

STARTUP_TRIALS = 10  # drawn at random before TPE models anything (Bergstra et al. 2011; optuna's default)
PRUNE_AFTER = 5  # finished trials before any is pruned
RUNG = 0.3  # share of the training before which nothing is pruned: ranks at 30 % agree with the last at about .86
PRUNING = (
    f"A trial is stopped at a point of its learning curve, from {RUNG:.0%} of its images on, when its best validation "
    f"accuracy so far is below the median of the complete trials at the same number of images (at least {PRUNE_AFTER} "
    "of them); never because of a loss."
)


class SearchCells:
    """Suggestions of TPE over the plan's space, all trained with one seed."""

    def __init__(self, record: Path, plan: Plan, recorded: Search | None) -> None:
        """`recorded`: what study.json says, from which a lost database is rebuilt.

        Raises ValueError when the space is not the one that the record was searched with.
        """
        metric, higher = plan.spec.metric, plan.experiment.METRIC.higher_is_better
        self.plan, self.higher = plan, higher
        self.study = OptunaStudy(record, plan.study_id, plan.spec.question, metric, higher)
        self.distributions: Distributions = {name: _distribution(space) for name, space in plan.space.items()}
        self.trials: dict[int, SearchTrial] = {}  # number -> suggestion, as study.json has it
        self.ids: dict[str, list[int]] = {}  # trial_key -> the numbers that suggested it
        self.asked = 0  # trials of Optuna's study, those that nobody has seen included
        self.interrupted: list[Stored] = []
        stored = self._restored(recorded)
        for trial in stored:
            if trial.distributions and dict(trial.distributions) != self.distributions:
                raise ValueError(
                    f"The search {plan.study_id} was begun over another space: give another --record DIR, or delete "
                    f"{record / 'studies' / plan.study_id} and {record / 'optuna.db'}."
                )
        for trial in stored:
            self._take_over(trial)

    def _restored(self, recorded: Search | None) -> list[Stored]:
        """Optuna's trials; those that its database has lost are written again."""
        stored = self.study.stored()
        for trial in (recorded.trials if recorded else ())[len(stored) :]:
            value = trial.value if trial.state in ("complete", "pruned") else None
            attributes: dict[str, Scalar] = {"trial_key": trial.trial_key}
            self.study.add(trial.params, self.distributions, attributes, trial.state, value)
        return stored if not recorded or len(recorded.trials) <= len(stored) else self.study.stored()

    def _take_over(self, trial: Stored) -> None:
        """What an earlier launch left: a running suggestion goes on; one that was killed while it was asked for has
        been seen by nobody."""
        self.asked += 1
        unseen = not trial.key
        if trial.state == "running" and not unseen:
            self.interrupted.append(trial)
        elif trial.state == "running" or trial.state == "waiting":
            if trial.state == "waiting":
                self.study.claim(trial.id)
            self.study.finish(trial.id, None)
            return
        if not unseen:
            pruned = max(trial.reports, default=None) if trial.state == "pruned" else None
            self._note(trial, trial.state, trial.value, pruned)

    def _config(self, params: Mapping[str, Scalar]) -> StagedConfig:
        return self.plan.baseline.replace(**params).at_seed(SEARCH_SEED, SEARCH_SEED)

    def _note(self, trial: Stored, state: SearchState, value: float | None, pruned_at: int | None = None) -> None:
        config = self._config(trial.params)
        self.ids.setdefault(config.trial_key, []).append(trial.number)
        self.trials[trial.number] = SearchTrial(
            number=trial.number,
            trial_key=config.trial_key,
            train_key=config.train_key,
            state=state,
            params=dict(trial.params),
            value=value,
            pruned_at_images=pruned_at,
            config=config.to_dict(),
        )

    # --- giving out ------------------------------------------------------------------------------------

    def _open(self) -> int:
        """Suggestions still to be made."""
        return self.plan.searched - len(self.trials)

    def more(self) -> bool:
        return bool(self.interrupted) or self._open() > 0

    def next(self, busy: Set[str]) -> Cell | None:
        """An interrupted trial, else a new suggestion.

        The sampler is seeded from the study and the number of trials: a launch that goes on does not draw the first
        suggestions again.
        """
        if self.interrupted:
            return self._cell(self.interrupted.pop(0))
        while self._open() > 0:
            seed = int(hashlib.sha256(f"{self.plan.study_id}|{self.asked}".encode()).hexdigest()[:8], 16)
            suggested = self.study.suggest(self.distributions, seed, STARTUP_TRIALS)
            self.asked += 1
            key = self._config(suggested.params).trial_key
            self.study.attribute(suggested.id, "trial_key", key)
            if not self._known(suggested, key):
                self._note(suggested, "running", None)
                return self._cell(suggested)
        return None

    def _known(self, suggested: Stored, key: str) -> bool:
        """A space without a float may be drawn twice: the second one has the result of the first, if there is one."""
        first = next((self.trials[number] for number in self.ids.get(key, [])), None)
        if first is None or first.state == "running":
            return False
        if first.state == "pruned":
            self.study.prune(suggested.id, first.value if first.value is not None else 0.0)
        else:
            self.study.finish(suggested.id, first.value if first.state == "complete" else None)
        self._note(suggested, first.state, first.value, first.pruned_at_images)
        return True

    def _cell(self, trial: Stored) -> Cell:
        return Cell(Trial(f"trial {trial.number}", self._config(trial.params), SEARCH_SEED), trial.id)

    # --- taking back -----------------------------------------------------------------------------------

    def complete(self, cell: Cell, value: float) -> None:
        self.study.finish(cell.id, value)
        self._end(cell, state="complete", value=value)

    def fail(self, cell: Cell) -> None:
        self.study.finish(cell.id, None)
        self._end(cell, state="failed", value=None)

    def interrupt(self, cell: Cell) -> None:
        """It stays running, and the next launch goes on with it."""

    def prune(self, cell: Cell) -> None:
        reports = self.reports(cell)
        last = max(reports)
        self.study.prune(cell.id, reports[last])
        self._end(cell, state="pruned", value=reports[last], pruned_at_images=last)

    def reports(self, cell: Cell) -> Mapping[int, float]:
        """Images -> score, of the points of the learning curve that were reported."""
        return self.study.reports(cell.id)

    def report(self, cell: Cell, images: int, total_images: int, value: float) -> bool:
        if not self.study.report(cell.id, images, value) or images >= total_images:
            return False
        return self.study.below_median(cell.id, PRUNE_AFTER, int(RUNG * total_images))

    def _end(self, cell: Cell, **changes: Any) -> None:
        number = int(cell.trial.arm.removeprefix("trial "))
        self.trials[number] = self.trials[number].model_copy(update=changes)

    # --- what study.json says ----------------------------------------------------------------------------

    def suggestion(self, cell: Cell) -> SearchTrial:
        return self.trials[int(cell.trial.arm.removeprefix("trial "))]

    def search(self) -> Search:
        """All suggestions; once they are finished, also the winner and the importance of the parameters."""
        trials = tuple(self.trials[number] for number in sorted(self.trials))
        found = Search(trials=trials, planned=self.plan.searched, search_seed=SEARCH_SEED, pruning=PRUNING)
        complete = found.of("complete")
        if self.more() or found.of("running") or not complete:
            return found
        sign = 1 if self.higher else -1
        best = max(complete, key=lambda trial: sign * (trial.value or 0.0))
        changes: dict[str, Any] = {"winner": best.number, "selection_score": best.value}
        return found.model_copy(update=changes | self._importance(len(complete)))

    def _importance(self, complete: int) -> dict[str, Any]:
        """Each field's share of the variance between complete trials, and what estimated it."""
        name = f"fANOVA (Hutter et al. 2014) over {complete} complete trials"
        try:
            return {"importance": self.study.importance(), "importance_evaluator": name}
        except (ValueError, RuntimeError) as error:
            return {"importance": {}, "importance_evaluator": f"{name}: not computed ({error})"}


def _distribution(dimension: Dimension) -> optuna_store.Distribution:
    if isinstance(dimension, Choice):
        return optuna_store.categories(dimension.values)
    return optuna_store.interval(dimension.low, dimension.high, dimension.log, dimension.step)
