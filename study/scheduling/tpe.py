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
from study.design.plan import Plan, Trial
from study.design.space import Choice, Dimension
from study.design.training_seeds import OF_SEARCH
from study.record import layout, optuna_store
from study.record.optuna_store import Distributions, OptunaStudy, Stored
from study.record.schema import Search, SearchState, SearchTrial
from study.scheduling import importance
from study.scheduling.cells import Cell
from study.scheduling.importance import SHUFFLES

STARTUP_TRIALS = 10  # drawn at random before TPE models anything (Bergstra et al. 2011; optuna's default)
PRUNE_AFTER = 5  # finished trials before any is pruned
RUNG = 0.3  # share of the training before which nothing is pruned: ranks at 30 % agree with the last at about .86
PRUNING = (
    f"A trial is stopped at a point of its learning curve, from {RUNG:.0%} of its images on, when its best validation "
    "score so far is worse than the median of the complete trials at the same number of images (at least "
    f"{PRUNE_AFTER} of them); never because of a loss."
)


class SearchCells:
    """Suggestions of TPE over the plan's space, all trained with one seed."""

    def __init__(self, record: Path, plan: Plan, recorded: Search | None) -> None:
        """`recorded`: what study.json says, from which a lost database is rebuilt.

        Raises ValueError when the space is not the one that the record was searched with.
        """
        metric, higher = plan.metric, plan.task.metric.higher_is_better
        self.plan = plan
        self.study = OptunaStudy(record, plan.study_id, plan.spec.question, metric, higher)
        self.distributions: Distributions = {name: _distribution(space) for name, space in plan.space.items()}
        self.trials: dict[int, SearchTrial] = {}  # number -> suggestion, as study.json has it
        self.ids: dict[str, list[int]] = {}  # trial_key -> the numbers that suggested it
        self.asked = 0  # trials of Optuna's study, those that nobody has seen included
        self.interrupted: list[Stored] = []
        self.recorded = recorded or Search()
        self.weighed: dict[str, Any] = {}  # what `_importance` has found, once all suggestions are finished
        stored = self._restored(recorded)
        self._refuse_others(stored, record)
        for trial in self._with_another_try(stored, record):
            self._take_over(trial)

    def _refuse_others(self, stored: list[Stored], record: Path) -> None:
        """Raises ValueError for suggestions of another space, or of another baseline: a record of an earlier version
        whose scale had other numbers, say."""
        changed = ""
        for trial in stored:
            if trial.distributions and dict(trial.distributions) != self.distributions:
                changed = "over another space"
            elif trial.key and trial.key != self._config(trial.params).trial_key:
                changed = "from another baseline"
        if changed:
            raise ValueError(
                f"The search {self.plan.study_id} was begun {changed}: give another --record DIR, or delete "
                f"{record / 'studies' / self.plan.study_id} and {record / 'optuna.db'}."
            )

    def _restored(self, recorded: Search | None) -> list[Stored]:
        """Optuna's trials; those that its database has lost are written again."""
        stored = self.study.stored()
        for trial in (recorded.trials if recorded else ())[len(stored) :]:
            value = trial.value if trial.state in ("complete", "pruned") else None
            attributes: dict[str, Scalar] = {"trial_key": trial.trial_key}
            self.study.add(trial.params, self.distributions, attributes, trial.state, value)
        return stored if not recorded or len(recorded.trials) <= len(stored) else self.study.stored()

    def _with_another_try(self, stored: list[Stored], record: Path) -> list[Stored]:
        """Optuna's trials, of which those that failed in an earlier launch are running again, as a grid's would be.

        One that diverged would diverge again. Optuna changes no trial that has ended, so its study is written anew.
        """
        again = {
            trial.number
            for trial in stored
            if trial.state == "failed" and trial.key and not layout.diverged(layout.trial_folder(record, trial.key))
        }
        if not again:
            return stored
        self.study.begin_again()
        for trial in stored:
            state = "running" if trial.number in again else trial.state
            attributes: dict[str, Scalar] = dict(trial.attributes)
            self.study.add(trial.params, trial.distributions, attributes, state, trial.value, trial.reports)
        return self.study.stored()

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
            pruned = self._pruned_at(trial) if trial.state == "pruned" else None
            self._note(trial, trial.state, trial.value, pruned)

    def _pruned_at(self, trial: Stored) -> int | None:
        """Images after which a trial was pruned; a database that was written again does not know its curve."""
        known = {one.number: one.pruned_at_images for one in self.recorded.trials}
        return max(trial.reports, default=known.get(trial.number))

    def _config(self, params: Mapping[str, Scalar]) -> StagedConfig:
        return self.plan.baseline.replace(**params).at_seed(OF_SEARCH, OF_SEARCH)

    def _note(self, trial: Stored, state: SearchState, value: float | None, pruned_at: int | None = None) -> None:
        config = self._config(trial.params)
        numbers = self.ids.setdefault(config.trial_key, [])
        numbers += [trial.number] if trial.number not in numbers else []
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
        for trial in list(self.interrupted):
            first = self._first(trial.number, trial.key)
            if first is not None and first.state == "running":
                continue  # it gets the result of that one
            self.interrupted.remove(trial)
            if not self._known(trial, trial.key):
                return self._cell(trial)
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

    def _first(self, number: int, key: str) -> SearchTrial | None:
        """The suggestion of the same setting that was made first, before `number`."""
        return next((self.trials[other] for other in self.ids.get(key, []) if other < number), None)

    def _known(self, suggested: Stored, key: str) -> bool:
        """A space without a float may be drawn twice: the second one has the result of the first, if there is one."""
        first = self._first(suggested.number, key)
        if first is None or first.state == "running":
            return False
        if first.state == "pruned":
            self.study.prune(suggested.id, first.value if first.value is not None else 0.0)
        else:
            self.study.finish(suggested.id, first.value if first.state == "complete" else None)
        self._note(suggested, first.state, first.value, first.pruned_at_images)
        return True

    def _cell(self, trial: Stored) -> Cell:
        return Cell(self._trial(trial.number, trial.params), trial.id)

    def _trial(self, number: int, params: Mapping[str, Scalar]) -> Trial:
        return Trial(f"trial {number}", self._config(params), OF_SEARCH)

    def scored(self) -> list[Trial]:
        """The suggestions that are complete, each setting once: those that MLflow lacks are to be indexed."""
        first = {trial.trial_key: trial for trial in reversed(self._in_order()) if trial.state == "complete"}
        return [self._trial(trial.number, trial.params) for trial in first.values()]

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
        """All suggestions; once they are finished, also the importance of the parameters."""
        seeds = self.plan.selection_seeds
        terms: dict[str, Any] = {"planned": self.plan.searched, "search_seed": OF_SEARCH, "selection_seeds": seeds}
        terms |= {"answer_metric": self.plan.answered_in, "pruning": PRUNING}
        if self._is_recorded():
            return self.recorded.model_copy(update=terms)  # with the finalists and the winner
        found = Search(trials=self._in_order(), **terms)
        return found.model_copy(update=self._importance(len(found.of("complete")))) if self.finished else found

    def _in_order(self) -> tuple[SearchTrial, ...]:
        return tuple(self.trials[number] for number in sorted(self.trials))

    @property
    def finished(self) -> bool:
        """Whether every suggestion was made and came to an end."""
        return not self.more() and all(trial.state != "running" for trial in self.trials.values())

    @property
    def unweighed(self) -> bool:
        """Whether the importance of the parameters is still to be estimated, which takes seconds."""
        return self.finished and not self.weighed and not self._is_recorded()

    def _is_recorded(self) -> bool:
        """Whether study.json has this search as it is, finished and weighed."""
        old = self.recorded
        same = self.finished and old.trials == self._in_order() and old.selection_seeds == self.plan.selection_seeds
        return same and bool(old.importance_evaluator)

    def _importance(self, complete: int) -> dict[str, Any]:
        """Each field's share of the variance between complete trials, what estimated it, and what it gives to noise."""
        name = f"fANOVA (Hutter et al. 2014) over {complete} complete trials"
        if not self.weighed:
            try:
                observed, *shuffled = self.study.importances(SHUFFLES)
            except (ValueError, RuntimeError) as error:
                self.weighed = {"importance": {}, "importance_evaluator": f"{name}: not computed ({error})"}
            else:
                null = importance.null(shuffled)
                self.weighed = {"importance": observed, "importance_evaluator": name, "importance_shuffles": SHUFFLES}
                self.weighed |= {"importance_null": null.mean, "importance_limit": null.limit}
        return self.weighed


def _distribution(dimension: Dimension) -> optuna_store.Distribution:
    if isinstance(dimension, Choice):
        return optuna_store.categories(dimension.values)
    return optuna_store.interval(dimension.low, dimension.high, dimension.log, dimension.step)
