"""Trials as Optuna studies in `<record>/optuna.db`, with their values and states. This module alone knows Optuna.

Optuna is an index here, as MLflow is: the trial folders and study.json are the truth, and both stores are made to agree
with them. What is asked next is decided by `study.scheduling`; of a search, Optuna's TPE suggests it. One scheduler
alone talks to this storage. Trials are addressed by their ids in the storage, whose price does not grow with the study.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from runners.config import Scalar
from study.record import layout, sqlite

State = Literal["complete", "pruned", "failed", "running", "waiting"]
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
OF_STATE = {word: state for state, word in STATES.items()}
Distribution = BaseDistribution
Distributions = Mapping[str, Distribution]


def categories(values: Sequence[Scalar]) -> Distribution:
    """One of `values`, in no order."""
    return CategoricalDistribution(list(values))


def interval(low: float, high: float, log: bool = False, step: float | None = None) -> Distribution:
    """A float from `low` to `high`."""
    return FloatDistribution(low, high, log=log, step=step)


@dataclass(frozen=True)
class Stored:
    """A trial as Optuna has it; `key` is its trial_key, "" for one that was never given out."""

    id: int
    number: int
    state: State
    key: str
    params: Mapping[str, Scalar]
    value: float | None
    reports: Mapping[int, float]
    distributions: Distributions
    attributes: Mapping[str, Scalar]


def _url(record: Path) -> str:
    return sqlite.url(layout.optuna_database(record))


def other_version(record: Path) -> str:
    """What is said of an optuna.db that another version of Optuna has written, or one that was killed while it did; ""
    where the installed one can use it, or there is none."""
    database = layout.optuna_database(record)
    if not database.is_file() or (found := sqlite.revision(database)) is None:
        return ""
    wanted = optuna.storages.RDBStorage("sqlite:///:memory:").get_head_version()
    if found == wanted:
        return ""
    return (
        f"optuna.db was written by another version of Optuna (its schema is {found or 'unknown'}; Optuna "
        f"{optuna.__version__} has {wanted})"
    )


class OptunaStudy:
    """An Optuna study of the record, created if it is not there."""

    def __init__(self, record: Path, name: str, question: str, metric: str, higher_is_better: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        database = layout.optuna_database(record.resolve())
        fresh = not database.exists()
        self.name, self.question, self.metric = name, question, metric
        self.direction: Literal["maximize", "minimize"] = "maximize" if higher_is_better else "minimize"
        sqlite.relax()
        self.storage = optuna.storages.RDBStorage(_url(record))
        if fresh:
            sqlite.write_ahead(database)
        self._open()

    def _open(self) -> None:
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, direction=self.direction, load_if_exists=True
        )
        self.id = self.storage.get_study_id_from_name(self.name)
        self.study.set_user_attr("question", self.question)
        self.study.set_user_attr("metric", self.metric)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names([self.metric])  # what a dashboard writes on its axes

    # --- all trials: once, when a launch begins --------------------------------------------------------

    def stored(self) -> list[Stored]:
        """Every trial, in the order of its number."""
        return [_stored(trial) for trial in self.study.get_trials(deepcopy=False)]

    def begin_again(self) -> None:
        """Delete every trial: Optuna fixes the values of a factor for good, so one with a new value is written anew."""
        optuna.delete_study(study_name=self.name, storage=self.storage)
        self._open()

    # --- one trial: at a price that does not depend on how many there are --------------------------------

    def add(
        self,
        params: Mapping[str, Scalar],
        distributions: Distributions,
        attributes: Mapping[str, Scalar],
        state: State = "running",
        value: float | None = None,
        reports: Mapping[int, float] | None = None,
    ) -> int:
        """A trial in `state` with its intermediate values; returns its id in the storage."""
        frozen = optuna.trial.create_trial(
            state=OF_STATE[state],
            value=value,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(attributes),
            intermediate_values=dict(reports or {}),
        )
        return int(self.storage.create_new_trial(self.id, template_trial=frozen))

    def finish(self, id: int, value: float | None) -> None:
        """A running trial is complete with its value, or has failed."""
        if value is None:
            self.storage.set_trial_state_values(id, TrialState.FAIL)
        else:
            self.storage.set_trial_state_values(id, TrialState.COMPLETE, [value])

    def claim(self, id: int) -> None:
        """A waiting trial, which older versions queued, is running."""
        self.storage.set_trial_state_values(id, TrialState.RUNNING)

    # --- a search --------------------------------------------------------------------------------------

    def suggest(self, distributions: Distributions, seed: int, startup_trials: int) -> Stored:
        """The next suggestion of TPE, as a running trial; the first `startup_trials` are drawn at random."""
        self.study.sampler = _tpe(seed, startup_trials)
        trial = self.study.ask(dict(distributions))
        return _stored(self.storage.get_trial(trial._trial_id))

    def attribute(self, id: int, name: str, value: Scalar) -> None:
        self.storage.set_trial_user_attr(id, name, value)

    def prune(self, id: int, value: float) -> None:
        """A running trial is pruned, at its last value."""
        self.storage.set_trial_state_values(id, TrialState.PRUNED, [value])

    def report(self, id: int, step: int, value: float) -> bool:
        """Note an intermediate value; False when the step has one already."""
        if step in self.storage.get_trial(id).intermediate_values:
            return False
        self.storage.set_trial_intermediate_value(id, step, value)
        return True

    def reports(self, id: int) -> Mapping[int, float]:
        """Step -> intermediate value."""
        return dict(self.storage.get_trial(id).intermediate_values)

    def below_median(self, id: int, after_trials: int, from_step: int) -> bool:
        """Whether Optuna's median pruner gives the trial up: not before so many trials have finished, nor before
        `from_step`."""
        pruner = optuna.pruners.MedianPruner(after_trials, n_warmup_steps=from_step)
        return bool(pruner.prune(self.study, self.storage.get_trial(id)))

    def importances(self, shuffles: int) -> list[dict[str, float]]:
        """Each parameter's share of the variance between complete trials, by fANOVA (Hutter et al. 2014), largest
        first; then the same for so many shuffles of the values over the trials, the same ones every time.

        Raises ValueError or RuntimeError where there are too few trials, or the values never differ.
        """
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < 2:
            raise ValueError(f"{len(complete)} complete trials have no variance")
        copy = optuna.create_study(direction=self.direction)  # in memory: the database is read once
        copy.add_trials(complete)
        generator, values = np.random.default_rng(0), np.array([trial.value for trial in complete], dtype=np.float64)
        orders = [np.arange(len(values)), *(generator.permutation(len(values)) for _ in range(shuffles))]
        return [_importance(copy, values[order]) for order in orders]


def _tpe(seed: int, startup_trials: int) -> optuna.samplers.TPESampler:
    """TPE over all parameters jointly, for several workers.

    Constant liar: running trials count as bad ones, so that two workers are not sent to one place. Both settings are
    the defaults of Optuna 5 for one objective, and were off by default and marked as experimental before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup_trials, multivariate=True, constant_liar=True
        )


def _importance(study: optuna.Study, values: NDArray[np.float64]) -> dict[str, float]:
    """Parameter -> share, as if the trial of number i had the i-th value."""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    target = lambda trial: float(values[trial.number])  # noqa: E731
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    return {name: float(share) for name, share in found.items()}


def _stored(trial: FrozenTrial) -> Stored:
    return Stored(
        id=trial._trial_id,
        number=trial.number,
        state=STATES[trial.state],
        key=str(trial.user_attrs.get("trial_key", "")),
        params=trial.params,
        value=trial.value,
        reports=trial.intermediate_values,
        distributions=trial.distributions,
        attributes=trial.user_attrs,
    )


def rows(record: Path, name: str) -> list[Stored]:
    """Every trial of an Optuna study; none where there is no such study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if name not in optuna.get_all_study_names(_url(record)):
        return []
    study = optuna.load_study(study_name=name, storage=_url(record))
    return [_stored(trial) for trial in study.get_trials(deepcopy=False)]


def delete(record: Path, name: str) -> None:
    """Delete an Optuna study: the next launch writes it anew from the trial folders and study.json."""
    optuna.delete_study(study_name=name, storage=_url(record))
