"""What study.json says, as typed values that are validated when they are read.

Fields that a version before did not write have defaults: older records stay readable. An unknown field is kept, so
that a newer record survives being rewritten by an older version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runners.config import FIRST, Scalar, StagedConfig
from runners.experiment import Task, find
from study.record import recorded
from study.record.recorded import RecordedField

TrialState = Literal["complete", "pruned", "failed", "missing"]
SearchState = Literal["running", "complete", "pruned", "failed"]
Keep = Literal["all", "best", "none"]
DEFAULT_EXPERIMENT = FIRST  # of records that name none


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class StudyTrial(_Frozen):
    """One cell of the plan: an arm at a seed, the block whose arms are compared with each other.

    `run_id`: its MLflow run, "" before it is indexed.
    """

    arm: str
    seed: int
    trial_key: str
    train_key: str
    run_id: str = ""
    config: dict[str, Scalar]

    @property
    def name(self) -> str:
        return f"{self.arm} seed={self.seed}"


class SearchTrial(_Frozen):
    """One suggestion of a search."""

    number: int
    trial_key: str
    train_key: str
    state: SearchState
    params: dict[str, Scalar]
    value: float | None = None
    pruned_at_images: int | None = None
    config: dict[str, Scalar]

    @property
    def arm(self) -> str:
        return f"trial {self.number}"

    @property
    def name(self) -> str:
        return f"{self.arm} seed={self.config.get('seed', 0)}"


class Search(_Frozen):
    """A search: its suggestions, and what they led to once all are finished.

    `finalists`: the best suggestions trained again on the `selection_seeds`, arm "finalist 7" for suggestion 7; the
    `winner` is the one with the best mean there, its `selection_score`. Without selection seeds, as in records of
    earlier versions, the winner was chosen by its score on the `search_seed`, which is then the selection score.
    `answer_metric`: the score that winner and baseline are compared in, on seeds that chose nothing; "" for the
    study's metric. `importance`: each parameter's share of the variance between complete suggestions. Of
    `importance_shuffles` shuffles of the scores over the suggestions, `importance_null` is the mean share, and
    `importance_limit` one that any of the parameters exceeds in about 5 % of searches of noise.
    """

    trials: tuple[SearchTrial, ...] = ()
    planned: int = 0
    winner: int | None = None
    selection_score: float | None = None
    search_seed: int = 0
    selection_seeds: tuple[int, ...] = ()
    finalists: tuple[StudyTrial, ...] = ()
    answer_metric: str = ""
    importance: dict[str, float] = {}
    importance_evaluator: str = ""
    importance_null: dict[str, float] = {}
    importance_limit: dict[str, float] = {}
    importance_shuffles: int = 0
    pruning: str = ""

    def of(self, *states: SearchState) -> list[SearchTrial]:
        """The suggestions in one of these states."""
        return [trial for trial in self.trials if trial.state in states]

    @property
    def finished(self) -> int:
        """Suggestions that are complete, pruned or failed."""
        return len(self.trials) - len(self.of("running"))

    @property
    def best(self) -> SearchTrial | None:
        """The winner; None while there is none."""
        return next((trial for trial in self.trials if trial.number == self.winner), None)

    def leading(self, count: int, higher_is_better: bool) -> list[SearchTrial]:
        """The `count` best complete suggestions, the best first; a setting that was suggested twice counts once."""
        sign = -1 if higher_is_better else 1
        scored = [(sign * trial.value, trial.number, trial) for trial in self.of("complete") if trial.value is not None]
        distinct: dict[str, SearchTrial] = {}
        for _, _, trial in sorted(scored, key=lambda entry: entry[:2]):
            distinct.setdefault(trial.trial_key, trial)
        return list(distinct.values())[:count]


class Study(_Frozen):
    """A study as it was launched: its question, its arms and seeds, and the trials that answer it.

    `identity` and `config_fields` describe the settings of a user's own experiment, whose code cannot be asked.
    `launch` counts the launches of a record, so that the latest one is known whatever the clocks of its machines say;
    0 in records of earlier versions, and for a study that was imported.
    """

    study_id: str
    study: str
    scale: str = ""
    question: str
    launched: str
    launch: int = 0
    command: str = ""
    experiment: str = DEFAULT_EXPERIMENT
    identity: str = ""
    config_fields: dict[str, RecordedField] = {}
    metric: str
    task: Task | None = None
    factors: dict[str, tuple[Scalar, ...]] = {}
    nuisance: tuple[str, ...] = ()
    arms: tuple[str, ...]
    baseline_arm: str
    against: dict[str, str] | None = None
    contrasts: dict[str, dict[str, float]] = {}
    crosstab: dict[str, tuple[str, str]] = {}
    baseline: dict[str, Scalar] = {}
    seeds: tuple[int, ...]
    published: dict[str, dict[str, float]] = {}
    notes: tuple[str, ...] = ()
    margin: float | None = None
    margin_reason: str = ""
    claim: bool = False
    planned_looks: tuple[int, ...] = ()
    looks: tuple[int, ...] = ()
    keep_checkpoints: Keep = "all"
    trials: tuple[StudyTrial, ...]
    search: Search | None = None

    @property
    def references(self) -> dict[str, str]:
        """Arm -> the arm it is compared with: its own where the study names one, else the baseline."""
        named = dict.fromkeys(self.arms, self.baseline_arm) if self.against is None else self.against
        return {arm: named[arm] for arm in self.arms if named.get(arm) in self.arms and named[arm] != arm}

    @property
    def scientific(self) -> list[str]:
        """The factors that the study asks about."""
        return [name for name in self.factors if name not in self.nuisance]

    @property
    def tuned(self) -> list[str]:
        """The nuisance factors: tuned for each setting of the scientific ones, not asked about."""
        return [name for name in self.nuisance if name in self.factors]

    @property
    def searching(self) -> bool:
        """Whether this is a search that has not led to a winner yet, or to one that is not trained again yet."""
        return self.search is not None and "winner" not in self.arms and not self.won_by_baseline

    @property
    def won_by_baseline(self) -> bool:
        """Whether the winner of the search is the baseline's own setting: there is nothing to compare then."""
        best = self.search.best if self.search else None
        if best is None:
            return False
        baseline = self.config_type.from_dict(self.baseline)
        return self.config(best).at_seed(0, 0) == baseline.at_seed(0, 0)

    @property
    def answer_metric(self) -> str:
        """The score that the verdict is about: of a search, one of a list that nothing was chosen on."""
        return (self.search.answer_metric if self.search else "") or self.metric

    @property
    def all_trials(self) -> dict[str, StudyTrial | SearchTrial]:
        """trial_key -> trial, of the search, of its finalists and of the plan."""
        found: dict[str, StudyTrial | SearchTrial] = {}
        if self.search:
            found |= {trial.trial_key: trial for trial in self.search.trials}
            found |= {trial.trial_key: trial for trial in self.search.finalists}
        found |= {trial.trial_key: trial for trial in self.trials}
        return found

    @property
    def config_type(self) -> type[StagedConfig]:
        """The Config of its experiment. Raises ValueError for an experiment that is unknown and not described."""
        if self.config_fields:
            return recorded.config_of(self.identity, self.config_fields)
        return find(self.experiment).Config

    def of_task(self) -> Task:
        """Whose images it is about; records of versions that knew one task say it in their baseline alone."""
        return self.task or find(self.experiment).task(self.config_type.from_dict(self.baseline))

    def config(self, trial: StudyTrial | SearchTrial) -> StagedConfig:
        """The trial's setting, typed. Raises ValueError where the record names fields that the experiment lacks."""
        return self.config_type.from_dict(trial.config)

    def fields(self, trial: StudyTrial | SearchTrial) -> dict[str, Scalar]:
        """Every field of the trial's setting; those that are newer than the record have their defaults."""
        return self.config_type.defaults() | trial.config

    def to_json(self) -> dict[str, Any]:
        """What is written to study.json."""
        value = self.model_dump(mode="json")
        for name in ("search", "identity", "config_fields"):
            if not value[name]:
                del value[name]
        return value


def parse(value: Any) -> Study:
    """A study from the content of a study.json. Raises ValueError that names the first field that is not as it must
    be."""
    try:
        return Study.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}") from None


def renamed(study: Study, run_ids: Mapping[str, str]) -> Study:
    """The study with the MLflow runs of its trials: trial_key -> run id."""
    changes: dict[str, Any] = {"trials": _renamed(study.trials, run_ids)}
    if study.search and study.search.finalists:
        finalists = _renamed(study.search.finalists, run_ids)
        changes["search"] = study.search.model_copy(update={"finalists": finalists})
    return study.model_copy(update=changes)


def _renamed(trials: Iterable[StudyTrial], run_ids: Mapping[str, str]) -> tuple[StudyTrial, ...]:
    return tuple(trial.model_copy(update={"run_id": run_ids.get(trial.trial_key, trial.run_id)}) for trial in trials)
