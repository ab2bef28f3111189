"""The Optuna module: every trial of a study, its values and its state, in `<record>/optuna.db`.

Cells of a grid are enqueued once, under their key; Optuna's own grid samplers repeat cells when several workers
ask at once. One coordinator alone talks to this storage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from study.plan import Plan, Trial

LAST_SEED = 2**31 - 1


class GridStudy:
    """The cells of a plan as an Optuna study of the plan's id."""

    def __init__(self, record: Path, plan: Plan) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        database = record.resolve() / "optuna.db"
        fresh = not database.exists()
        self.plan = plan
        self.storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
        if fresh:
            # Readers (a dashboard) do not block the writer, and a report costs milliseconds.
            with sqlite3.connect(database) as connection:
                connection.execute("PRAGMA journal_mode=wal")
        self.study = optuna.create_study(
            storage=self.storage, study_name=plan.study_id, direction="maximize", load_if_exists=True
        )
        self.study.set_user_attr("question", plan.spec.question)
        self.study.set_user_attr("metric", plan.spec.metric)
        self._grow_choices()

    @property
    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _distributions(self, seen: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """Each factor's values, old and new, and the seed."""
        found: dict[str, BaseDistribution] = {"seed": IntDistribution(0, LAST_SEED)}
        for name, values in self.plan.spec.factors.items():
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
        optuna.delete_study(study_name=self.plan.study_id, storage=self.storage)
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.plan.study_id, direction="maximize", load_if_exists=True
        )
        self.study.set_user_attr("question", self.plan.spec.question)
        self.study.set_user_attr("metric", self.plan.spec.metric)
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
            attrs = {"trial_key": key, "arm": trial.arm}
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

    def tell(self, number: int, value: float | None) -> None:
        """COMPLETE with its value, or FAIL."""
        if value is None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, value)
