"""The Optuna module: every trial of a study, its values and its state, in `<record>/optuna.db`.

Cells of a grid are enqueued once, under their key; Optuna's own grid samplers repeat cells when several workers
ask at once. A search asks TPE. One coordinator alone talks to this storage.
"""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from runners.ddpm.config import TrialConfig
from study.design.plan import SEARCH_SEED, WINNER, Plan, Trial
from study.design.space import Choice, Dimension

STARTUP_TRIALS = 10  # drawn at random before TPE models anything (Bergstra et al. 2011; optuna's default)
PRUNE_AFTER = 5  # finished trials before any is pruned
RUNG = 0.3  # share of the training before which nothing is pruned: ranks at 30 % agree with the last at about .86
PRUNING = (
    f"a trial is stopped at a point of its learning curve, from {RUNG:.0%} of its images on, when its best validation "
    f"accuracy so far is below the median of the complete trials at the same number of images (at least {PRUNE_AFTER} "
    "of them); never on a loss"
)
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class OptunaStudy:
    """An Optuna study of the record, created if it is not there."""

    def __init__(self, record: Path, name: str, plan: Plan) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        database = record.resolve() / "optuna.db"
        fresh = not database.exists()
        self.plan = plan
        self.name = name
        self.storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
        if fresh:
            # Readers (a dashboard) do not block the writer, and a report costs milliseconds.
            with sqlite3.connect(database) as connection:
                connection.execute("PRAGMA journal_mode=wal")
        self._open()

    def _open(self) -> None:
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, direction="maximize", load_if_exists=True
        )
        self.study.set_user_attr("question", self.plan.spec.question)
        self.study.set_user_attr("metric", self.plan.spec.metric)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names([self.plan.spec.metric])  # what a dashboard writes on its axes

    @property
    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def tell(self, number: int, value: float | None) -> None:
        """COMPLETE with its value, or FAIL."""
        if value is None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, value)


class GridStudy(OptunaStudy):
    """The cells of a plan as an Optuna study of the plan's id; those of a search's fresh seeds have their own."""

    def __init__(self, record: Path, plan: Plan) -> None:
        super().__init__(record, f"{plan.study_id}-fresh" if plan.space else plan.study_id, plan)
        self._grow_choices()

    def _distributions(self, seen: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """Each factor's values, old and new.

        The seed is an attribute, no parameter: a replication would crowd the factors out of a dashboard's importance.
        """
        found: dict[str, BaseDistribution] = {}
        for name, values in self.plan.design.factors.items():
            old = seen.get(name)
            before = list(old.choices) if isinstance(old, CategoricalDistribution) else []
            found[name] = CategoricalDistribution([*before, *(value for value in values if value not in before)])
        return found

    def _grow_choices(self) -> None:
        """Optuna fixes the choices of a factor for good: a study whose factor has got a new value is written anew."""
        seen: dict[str, BaseDistribution] = {}
        for trial in self._trials:
            seen |= trial.distributions
        self.distributions = self._distributions(seen)
        if not seen or seen == self.distributions:
            return
        finished = [trial for trial in self._trials if trial.state.is_finished()]
        optuna.delete_study(study_name=self.name, storage=self.storage)
        self._open()
        for trial in finished:
            if set(trial.params) == set(self.distributions):
                self._add(trial.params, trial.user_attrs, trial.state, trial.value)

    def _add(self, params: Mapping[str, Any], attrs: Mapping[str, Any], state: TrialState, value: float | None) -> None:
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params=dict(params),
                distributions=self.distributions,
                user_attrs=dict(attrs),
            )
        )

    def _params(self, trial: Trial) -> dict[str, Any]:
        return {name: getattr(trial.config, name) for name in self.distributions}

    def synchronise(self, complete: Mapping[str, float]) -> None:
        """Make the storage agree with the trial folders: `complete` maps trial_key to the metric.

        What an interrupted launch left RUNNING becomes FAIL; complete trials that are not there are added; cells
        that are missing are enqueued, once.
        """
        for frozen in self._trials:
            if frozen.state == TrialState.RUNNING:
                self.study.tell(frozen.number, state=TrialState.FAIL)
        by_state: dict[TrialState, set[str]] = {}
        for frozen in self._trials:
            by_state.setdefault(frozen.state, set()).add(frozen.user_attrs.get("trial_key", ""))
        for trial in self.plan.trials:
            key = trial.config.trial_key
            attrs = {"trial_key": key, "arm": trial.arm, "seed": trial.seed}
            if key in complete:
                if key not in by_state.get(TrialState.COMPLETE, set()):
                    self._add(self._params(trial), attrs, TrialState.COMPLETE, complete[key])
            elif key not in by_state.get(TrialState.WAITING, set()):
                self.study.enqueue_trial(self._params(trial), user_attrs=attrs)

    def ask(self, wanted: set[str]) -> tuple[int, str] | None:
        """The next enqueued cell among the `wanted` keys: (Optuna's number, trial_key); None when there is none."""
        while any(frozen.state == TrialState.WAITING for frozen in self._trials):
            trial = self.study.ask(fixed_distributions=self.distributions)
            key = str(trial.user_attrs["trial_key"])
            if key in wanted:
                return trial.number, key
            # A cell of an earlier, larger plan, or one that has been run since.
            self.study.tell(trial.number, state=TrialState.FAIL)
        return None


class GridCells:
    """The missing cells of a grid, one after another; trials that share a training follow one another."""

    def __init__(self, record: Path, plan: Plan, complete: Mapping[str, float]) -> None:
        self.grid = GridStudy(record, plan)
        self.grid.synchronise(complete)
        self.wanted = {t.config.trial_key: t for t in plan.trials if t.config.trial_key not in complete}
        self.held: list[tuple[int, Trial]] = []  # asked, but another slot is at the training they share

    def more(self) -> bool:
        return bool(self.wanted or self.held)

    def next(self, busy: set[str]) -> tuple[int, Trial] | None:
        """The next cell whose training is not among the `busy` ones."""
        for cell in self.held:
            if cell[1].config.train_key not in busy:
                self.held.remove(cell)
                return cell
        while self.wanted:
            asked = self.grid.ask(set(self.wanted))
            if asked is None:
                raise RuntimeError(f"Optuna has no cell for {len(self.wanted)} trials that are missing.")
            number, key = asked
            trial = self.wanted.pop(key)
            if trial.config.train_key not in busy:
                return number, trial
            self.held.append((number, trial))
        return None

    def tell(self, number: int, value: float | None) -> None:
        self.grid.tell(number, value)

    def interrupt(self, number: int) -> None:
        """The launch ends while the trial runs: its cell is enqueued again by the next one."""
        self.grid.tell(number, None)

    def report(self, number: int, images: int, total_images: int, accuracy: float) -> bool:
        """Whether the trial is to be stopped: a grid is a comparison, none of its trials is."""
        return False

    def describe(self) -> None:
        return None


class SearchCells:
    """The trials of a search as TPE suggests them, each suggestion run once: an interrupted one goes on."""

    def __init__(self, record: Path, plan: Plan, recorded: Iterable[Mapping[str, Any]]) -> None:
        """`recorded`: the trials of study.json, from which a lost database is rebuilt.

        Raises ValueError when the space is not the one that the record was searched with.
        """
        self.store = OptunaStudy(record, plan.study_id, plan)
        self.plan = plan
        self.distributions = {name: _distribution(dimension) for name, dimension in plan.space.items()}
        self._restore(recorded)
        for frozen in self.store._trials:
            if frozen.distributions and frozen.distributions != self.distributions:
                raise ValueError(
                    f"The search {plan.study_id} was begun over another space: give another --record DIR, or delete "
                    f"{record / 'studies' / plan.study_id} and {record / 'optuna.db'}."
                )
        self.handles: dict[int, optuna.trial.Trial] = {}
        self.interrupted: list[FrozenTrial] = []
        for frozen in self.store._trials:
            if frozen.state == TrialState.RUNNING and "trial_key" in frozen.user_attrs:
                self.interrupted.append(frozen)
            elif not frozen.state.is_finished():  # killed while it was being asked for: nobody has seen it
                self.store.study.tell(frozen.number, state=TrialState.FAIL)

    def _restore(self, recorded: Iterable[Mapping[str, Any]]) -> None:
        states = {word: state for state, word in STATES.items() if state != TrialState.WAITING}
        for trial in list(recorded)[len(self.store._trials) :]:
            state = states[trial["state"]]
            frozen = optuna.trial.create_trial(
                state=state,
                value=trial["value"] if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
                params=dict(trial["params"]),
                distributions=self.distributions,
                user_attrs={"trial_key": trial["trial_key"]},
            )
            self.store.study.add_trial(frozen)

    def _config(self, params: Mapping[str, Any]) -> TrialConfig:
        return self.plan.baseline.replace(**{**params, "seed": SEARCH_SEED})

    def _open(self) -> int:
        """Suggestions still to be made."""
        asked = sum("trial_key" in frozen.user_attrs for frozen in self.store._trials)
        return self.plan.searched - asked

    def more(self) -> bool:
        return bool(self.interrupted) or self._open() > 0

    def next(self, busy: set[str]) -> tuple[int, Trial] | None:
        """An interrupted trial, else a new suggestion; None when there is neither.

        The sampler is seeded from the study and the number of trials: a launch that goes on does not draw the first
        suggestions again.
        """
        if self.interrupted:
            frozen = self.interrupted.pop(0)
            self.handles[frozen.number] = optuna.trial.Trial(self.store.study, frozen._trial_id)
            return frozen.number, Trial(f"trial {frozen.number}", self._config(frozen.params), SEARCH_SEED)
        while self._open() > 0:
            trials = self.store._trials
            seed = int(hashlib.sha256(f"{self.plan.study_id}|{len(trials)}".encode()).hexdigest()[:8], 16)
            self.store.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
            trial = self.store.study.ask(self.distributions)
            config = self._config(trial.params)
            known = [f for f in trials if f.user_attrs.get("trial_key") == config.trial_key]
            trial.set_user_attr("trial_key", config.trial_key)
            if known and known[0].state.is_finished():  # a space without a float may be drawn twice
                value = known[0].value if known[0].state == TrialState.COMPLETE else None
                self.store.study.tell(trial.number, value, state=known[0].state)
                continue
            self.handles[trial.number] = trial
            return trial.number, Trial(f"trial {trial.number}", config, SEARCH_SEED)
        return None

    def tell(self, number: int, value: float | None) -> None:
        self.store.tell(number, value)

    def interrupt(self, number: int) -> None:
        """The launch ends while the trial runs: it stays RUNNING, and the next launch goes on with it."""

    def prune(self, number: int) -> None:
        """PRUNED, with its last accuracy."""
        self.store.study.tell(number, state=TrialState.PRUNED)

    def report(self, number: int, images: int, total_images: int, accuracy: float) -> bool:
        """Note a point of the learning curve; whether the trial is to be stopped there."""
        trial = self.handles[number]
        frozen = self.store._trials[number]
        if images in frozen.intermediate_values:
            return False
        trial.report(accuracy, images)
        # A point that waited for the evaluator comes late, when the training is further or at its end.
        if images >= total_images:
            return False
        self.store.study.pruner = optuna.pruners.MedianPruner(PRUNE_AFTER, n_warmup_steps=int(RUNG * total_images))
        return bool(trial.should_prune())

    def best(self) -> FrozenTrial | None:
        complete = [frozen for frozen in self.store._trials if frozen.state == TrialState.COMPLETE]
        return max(complete, key=lambda frozen: float(frozen.value or 0.0), default=None)

    def describe(self) -> dict[str, Any]:
        """The section `search` of study.json."""
        trials = []
        for frozen in self.store._trials:
            if "trial_key" not in frozen.user_attrs:
                continue
            config = self._config(frozen.params)
            pruned = max(frozen.intermediate_values, default=None) if frozen.state == TrialState.PRUNED else None
            row = {"number": frozen.number, "trial_key": config.trial_key, "train_key": config.train_key}
            row |= {"state": STATES[frozen.state], "params": frozen.params, "value": frozen.value}
            trials.append(row | {"pruned_at_images": pruned, "config": config.to_dict()})
        best = self.best()
        done = not self.more() and all(trial["state"] != "running" for trial in trials)
        shares, evaluator = self._importance() if done else ({}, "")
        return {
            "trials": trials,
            "planned": self.plan.searched,
            "winner": best.number if best and done else None,
            "selection_score": best.value if best and done else None,
            "search_seed": SEARCH_SEED,
            "importance": shares,
            "importance_evaluator": evaluator,
            "pruning": PRUNING,
        }

    def _importance(self) -> tuple[dict[str, float], str]:
        """Each field's share of the variance between complete trials, and what estimated it."""
        complete = [frozen for frozen in self.store._trials if frozen.state == TrialState.COMPLETE]
        name = f"fANOVA (Hutter et al. 2014) over {len(complete)} complete trials"
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return dict(optuna.importance.get_param_importances(self.store.study, evaluator=evaluator)), name
        except (ValueError, RuntimeError) as error:
            return {}, f"{name}: not computed ({error})"


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def rows(record: Path, name: str) -> list[tuple[str, str, float | None]]:
    """(state, trial_key, value) of every trial of an Optuna study; none where there is no such study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{record.resolve() / 'optuna.db'}"
    if name not in optuna.get_all_study_names(storage):
        return []
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    words = {**STATES, TrialState.WAITING: "waiting"}
    return [(words[t.state], t.user_attrs.get("trial_key", ""), t.value) for t in trials]


def forget(record: Path, name: str) -> None:
    """Delete an Optuna study: the next launch writes it anew from the trial folders and study.json."""
    optuna.delete_study(study_name=name, storage=f"sqlite:///{record.resolve() / 'optuna.db'}")


def cells(record: Path, plan: Plan, complete: Mapping[str, float], recorded: Iterable[Mapping[str, Any]]) -> Any:
    """What a launch of the plan has to run: the search first, then the grid."""
    searching = plan.space and WINNER not in plan.design.arms
    return SearchCells(record, plan, recorded) if searching else GridCells(record, plan, complete)
