"""What study.json says, as typed values that are validated when they are read.

Fields that a version before did not write have defaults: older records stay readable. An unknown field is kept, so
that a newer record survives being rewritten by an older version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runners.config import Scalar, StagedConfig
from runners.experiment import Experiment, find

TrialState = Literal["complete", "pruned", "failed", "missing"]
SearchState = Literal["running", "complete", "pruned", "failed"]
Keep = Literal["all", "best", "none"]
DEFAULT_EXPERIMENT = "ddpm"  # of records that name none


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
    """A search: its suggestions, and what they led to once all are finished."""

    trials: tuple[SearchTrial, ...] = ()
    planned: int = 0
    winner: int | None = None
    selection_score: float | None = None
    search_seed: int = 0
    importance: dict[str, float] = {}
    importance_evaluator: str = ""
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


class Study(_Frozen):
    """A study as it was launched: its question, its arms and seeds, and the trials that answer it."""

    study_id: str
    study: str
    scale: str = ""
    question: str
    launched: str
    command: str = ""
    experiment: str = DEFAULT_EXPERIMENT
    metric: str
    factors: dict[str, tuple[Scalar, ...]] = {}
    nuisance: tuple[str, ...] = ()
    arms: tuple[str, ...]
    baseline_arm: str
    against: dict[str, str] | None = None
    contrasts: dict[str, dict[str, float]] = {}
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
        """Whether this is a search that has not led to a winner on fresh seeds yet."""
        return self.search is not None and "winner" not in self.arms

    @property
    def all_trials(self) -> dict[str, StudyTrial | SearchTrial]:
        """trial_key -> trial, of the search and of the plan."""
        found: dict[str, StudyTrial | SearchTrial] = {}
        found |= {trial.trial_key: trial for trial in (self.search.trials if self.search else ())}
        found |= {trial.trial_key: trial for trial in self.trials}
        return found

    def of_experiment(self) -> Experiment:
        return find(self.experiment)

    def config(self, trial: StudyTrial | SearchTrial) -> StagedConfig:
        """The trial's setting, typed. Raises ValueError where the record names fields that the experiment lacks."""
        return self.of_experiment().Config.from_dict(trial.config)

    def fields(self, trial: StudyTrial | SearchTrial) -> dict[str, Scalar]:
        """Every field of the trial's setting; those that are newer than the record have their defaults."""
        return self.of_experiment().Config.defaults() | trial.config

    def to_json(self) -> dict[str, Any]:
        """What is written to study.json."""
        value = self.model_dump(mode="json")
        if self.search is None:
            del value["search"]
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
    trials: Sequence[StudyTrial] = [
        trial.model_copy(update={"run_id": run_ids.get(trial.trial_key, trial.run_id)}) for trial in study.trials
    ]
    return study.model_copy(update={"trials": tuple(trials)})
