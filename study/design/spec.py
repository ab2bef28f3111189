"""`StudySpec`: one question as plain data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from runners import packages
from runners.config import Scalar, StagedConfig, nearest
from runners.experiment import Kind, Task
from runners.experiment import find as find_experiment
from study.design.space import Dimension

Arm = Mapping[str, Scalar]
Weights = Mapping[str, float]  # arm -> its weight in a contrast
Cell = tuple[str, str]  # of a table: the names of its row and of its column
T = TypeVar("T")
# What depends on the scale (networks differ with the picture's size) is a function of its name and its baseline.
AtScale = Callable[[str, Any], T]
KINDS: tuple[Kind, ...] = ("set", "class", "none")
LABELLED: tuple[Kind, ...] = ("set", "class")
IMAGES_WITH = {
    "set": "images with sets of labels",
    "class": "images of one class each",
    "none": "images without labels",
}


class WrongKind(ValueError):
    """The question makes no sense for images of this `kind`; the message says why, after the name of the study."""

    def __init__(self, why: str, kind: Kind) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True)
class Design:
    """A spec at one scale: every arm by name, and the arm that it is compared with.

    `factors` are the fields that differ between arms, with their values; `against` has no entry for the baseline nor
    for arms that are compared with nothing.
    """

    arms: Mapping[str, Arm]
    baseline_arm: str
    against: Mapping[str, str]
    contrasts: Mapping[str, Weights]
    factors: Mapping[str, tuple[Scalar, ...]]
    crosstab: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class StudySpec:
    """A question, its arms, and the arm that each is compared with.

    Arms are either crossed, `factors` (field -> values) and `nuisance` (factors that are not the question: every
    setting is also shown at its best value of them), with `baseline` naming each one's value in the baseline arm; or
    listed, `arms` (name -> changed fields, or a function of scale and baseline), with `baseline_arm`; a `seed` among
    them shifts the training seeds of the arm. `against`: "baseline", "previous" (a ladder) or arm -> the arm it is
    compared with ("" for none). `contrasts`: other comparisons that the question is about, name -> arm -> weight, whose
    weights sum to 0: {"a": 1, "b": -1} is a pair, {"a": 1, "b": -1, "c": -1, "d": 1} a difference of differences;
    without one, "better" here and "inconclusive" there says nothing about here against there. `fixed`: fields that the
    question sets for every arm. `published`: arm -> metric -> the number of a report, on the task `published_on`.
    `crosstab`: arm -> (row, column) of a table with one cell per arm, beside the one with one row per arm.
    `seeds`: training seeds. `notes`: sentences that stand under every table. `metric`: what arms are compared by; by
    default the task's own on the list that choices are made on. `kinds`: of tasks that the question makes sense for.
    `margin`: a difference in the metric that would not matter, for the reason in `margin_reason`; one that is shown to
    be smaller has the verdict "equivalent". `experiment`: the package of `runners` that does the trials.
    A search has a `space` (field -> range) and a number of `trials`; its arms are the baseline and the winner. The
    winner is chosen in `metric` among the `finalists` best trials, trained again on `selection_seeds` training seeds;
    it is compared with the baseline on `seeds` further ones, in `answer_metric`, of a list that is only reported; of
    several names it is the first that the task has (default: its first such list).
    """

    question: str
    factors: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    baseline: Arm = field(default_factory=dict)
    arms: Mapping[str, Arm] | AtScale[Mapping[str, Arm]] | None = None
    baseline_arm: str = ""
    against: Literal["baseline", "previous"] | Mapping[str, str] = "baseline"
    nuisance: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    fixed: Arm = field(default_factory=dict)
    metric: str = ""
    seeds: int = 3
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    published_on: str = "iclevr"
    crosstab: Mapping[str, Cell] | AtScale[Mapping[str, Cell]] = field(default_factory=dict)
    kinds: Sequence[Kind] = KINDS
    notes: Sequence[str] = ()
    margin: float = 0.05
    margin_reason: str = ""
    contrasts: Mapping[str, Weights] | AtScale[Mapping[str, Weights]] = field(default_factory=dict)
    experiment: str = "ddpm"
    space: Mapping[str, Dimension] | AtScale[Mapping[str, Dimension]] | None = None
    trials: int = 0
    finalists: int = 5
    selection_seeds: int = 3
    answer_metric: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        for name in [*self.factors, *self.nuisance, *self.baseline, *self.fixed]:
            self._require(name)
        if isinstance(self.notes, str):
            raise ValueError(f"notes={self.notes!r} must be a list of sentences: write notes=[...].")
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds} runs nothing: write seeds=1 or more.")
        for name, values in {**self.factors, **self.nuisance}.items():
            if isinstance(values, str):
                raise ValueError(f"The factor {name!r} has the text {values!r} for its values: write ({values!r},).")
            if not values or len(set(values)) != len(values):
                raise ValueError(f"The factor {name!r} needs values that differ from each other.")
            if name in self.fixed:
                raise ValueError(f"The field {name!r} is both varied and fixed: remove one.")
            if name in self.factors and name in self.nuisance:
                raise ValueError(f"The field {name!r} is both in factors and in nuisance: remove one.")
            if self.baseline.get(name) not in values:
                raise ValueError(f"The baseline needs a value of the factor {name!r}: one of {list(values)}.")
        if self.factors and self.arms is not None:
            raise ValueError("Arms are crossed (factors=...) or listed (arms=...), not both.")
        if not self.factors and self.arms is None and self.space is None:
            raise ValueError("The study has no arm: give factors=..., arms=... or, for a search, space=...")
        if not self.margin > 0:
            raise ValueError(f"margin={self.margin} must be above 0: write margin=0.05, for example.")
        self._check_search()

    def _check_search(self) -> None:
        """Raises ValueError for a search that finds nothing, and for the answer's metric of a grid."""
        if self.space is None:
            if self.answer_metric:
                raise ValueError(f"answer_metric={self.answer_metric!r} is for a search: write metric= instead.")
            return
        for name, value in {"trials": self.trials, "selection_seeds": self.selection_seeds}.items():
            if value < 1:
                raise ValueError(f"A search with {name}={value} finds nothing: write {name}=1 or more.")
        if self.finalists < 1:
            raise ValueError(f"finalists={self.finalists} leaves no winner: write finalists=1 or more.")

    # --- on a task ---------------------------------------------------------------------------------------

    def check_task(self, task: Task) -> None:
        """Raises WrongKind for a task that the question makes no sense for, ValueError without its metric."""
        if not task.scores("choose"):
            raise ValueError(
                f"The task {task.name} of the experiment {self.experiment} has no list to choose by: write "
                'ListSpec("validation", "choose") for one of its lists.'
            )
        if task.kind not in self.kinds:
            wanted = " or ".join(IMAGES_WITH[kind] for kind in self.kinds)
            raise WrongKind(f"it is about {wanted}, and these are {IMAGES_WITH[task.kind]}", task.kind)
        if self.metric and self.metric not in task.scores():
            known = task.scores()
            if self.metric.startswith(f"{task.metric.name}/") and nearest(self.metric, known).startswith(": write"):
                raise ValueError(
                    f"The study is about {self.metric}, and these data give {', '.join(known)} alone, as where images "
                    "have no labels: give data with labels there, or write a study of your own with another metric."
                )
            raise ValueError(f"Unknown metric {self.metric!r}{nearest(self.metric, known)}")
        if self.space is None:
            return
        if isinstance(self.answer_metric, str) and self.answer_metric not in ("", *task.scores("report")):
            raise ValueError(
                f"answer_metric={self.answer_metric!r} is of no list that is only reported"
                f"{nearest(self.answer_metric, task.scores('report'))}"
            )
        if self.metric and self.metric not in task.scores("choose"):
            raise ValueError(
                f"metric={self.metric!r} is what a search chooses by, on a list that is only reported: write "
                f"metric={task.choice!r}, and answer_metric= for what it is answered in."
            )

    def metric_on(self, task: Task) -> str:
        """The score that arms are compared by."""
        return self.metric or task.choice

    def answered_in(self, task: Task) -> str:
        """The score that the question is answered in: of a search, and of settings at their best nuisance value, on a
        list that nothing was chosen on."""
        metric, reported = self.metric_on(task), task.scores("report")
        if self.space is None and not (self.nuisance and metric in task.scores("choose")):
            return metric
        wanted = [self.answer_metric] if isinstance(self.answer_metric, str) else self.answer_metric
        return next((name for name in wanted if name in reported), (reported or [metric])[0])

    def design(self, scale: str, baseline: StagedConfig) -> Design:
        """The arms at a scale, whose baseline config is given.

        Raises ValueError for an arm without changes or name, two arms that are one setting, or unknown names.
        """
        if self.arms is None:
            arms, start = self._crossed()
        else:
            listed = self.arms(scale, baseline) if callable(self.arms) else self.arms
            arms, start = {name: dict(arm) for name, arm in listed.items()}, self.baseline_arm or next(iter(listed), "")
        if start not in arms:
            raise ValueError(f"The baseline arm {start!r} is not among the arms: write one of {', '.join(arms)}.")
        settings: dict[str, str] = {}  # by their keys, which leave out what a setting does not read
        configs: list[StagedConfig] = []
        for name, arm in arms.items():
            for changed in arm:
                self._require(changed)
            if not name.strip() or (not arm and name != start):
                raise ValueError(f"The arm {name!r} is empty: give it a name and the fields that it changes.")
            configs.append(baseline.replace(**arm))
            twin = settings.setdefault(configs[-1].trial_key, name)
            if twin != name:
                same = configs[list(settings.values()).index(twin)] == configs[-1]
                why = "" if same else ", because what they change means nothing with the other fields"
                raise ValueError(f"The arms {twin!r} and {name!r} are one setting{why}: change one or leave one out.")
        for name in self.published:
            if name not in arms:
                raise ValueError(f"published= names the unknown arm {name!r}{nearest(name, arms)}")
        against = self._against(list(arms), start)
        given = self.contrasts(scale, baseline) if callable(self.contrasts) else self.contrasts
        _check_contrasts(given, list(arms), against)
        cells = self.crosstab(scale, baseline) if callable(self.crosstab) else self.crosstab
        _check_crosstab(cells, list(arms))
        return Design(arms, start, against, given, _factors(configs, arms), cells)

    def _require(self, name: str) -> None:
        config = find_experiment(self.experiment).Config
        if name not in config.types():
            raise ValueError(f"The study varies {foreign(name, self.experiment)}")
        if name in config.replicated() and name != "seed":  # an arm's seed shifts those of the blocks
            raise ValueError(f"The field {name!r} is drawn anew for each training seed: leave it out of the study.")

    def _crossed(self) -> tuple[dict[str, dict[str, Scalar]], str]:
        """Arm name -> its factor values, in the order of the factors; "schedule=linear"."""
        crossed = {**self.factors, **self.nuisance}
        arms = [dict(zip(crossed, row, strict=True)) for row in itertools.product(*crossed.values())]
        if not crossed:  # a search: its winner joins the baseline when it is known
            return {"baseline": {}}, "baseline"
        return {arm_name(arm): arm for arm in arms}, arm_name({name: self.baseline[name] for name in crossed})

    def _against(self, arms: list[str], baseline_arm: str) -> dict[str, str]:
        if self.against == "previous":
            return dict(zip(arms[1:], arms, strict=False))
        given = {} if isinstance(self.against, str) else dict(self.against)
        for name in [*given, *filter(None, given.values())]:
            if name not in arms:
                raise ValueError(f"against= names the unknown arm {name!r}{nearest(name, arms)}")
        full = {arm: given.get(arm, baseline_arm) for arm in arms if arm != baseline_arm}
        return {arm: other for arm, other in full.items() if other}


def owners_of(field: str) -> list[str]:
    """The project's own experiments that have a field."""
    return [name for name in packages.names() if field in find_experiment(name).Config.types()]


def foreign(name: str, experiment: str) -> str:
    """What a name is that is no field of the experiment: one of another experiment, or of none ("the unknown ...")."""
    owners = owners_of(name)
    if name == "experiment":
        return "the experiment: a study has one, so write experiment= of its StudySpec, and a study for each."
    if owners:
        return (
            f"{name!r}, a field of the experiment {' and '.join(owners)} and not of {experiment}: a study has one "
            f"experiment, and its fields are {', '.join(find_experiment(experiment).Config.types())}."
        )
    return f"the unknown field {name!r}{find_experiment(experiment).Config.nearest_field(name)}"


def _check_crosstab(cells: Mapping[str, Cell], arms: Sequence[str]) -> None:
    """Raises ValueError for a cell of no arm, or of two."""
    seen: dict[Cell, str] = {}
    for arm, cell in cells.items():
        if arm not in arms:
            raise ValueError(f"crosstab= names the unknown arm {arm!r}{nearest(arm, arms)}")
        if (twin := seen.setdefault(cell, arm)) != arm:
            raise ValueError(
                f"crosstab= puts {twin!r} and {arm!r} into one cell, {' x '.join(cell)}: give each its own."
            )


def _check_contrasts(contrasts: Mapping[str, Weights], arms: Sequence[str], against: Mapping[str, str]) -> None:
    """Raises ValueError for a contrast that compares nothing, or what is compared anyway."""
    for name, weights in contrasts.items():
        for arm in weights:
            if arm not in arms:
                raise ValueError(f"The contrast {name!r} names the unknown arm {arm!r}{nearest(arm, arms)}")
        used = [arm for arm, weight in weights.items() if weight]
        if len(used) < 2 or abs(sum(weights.values())) > 1e-9:
            raise ValueError(
                f"The weights of the contrast {name!r} must sum to 0 over two arms or more: write 1 for what is "
                "compared and -1 for what it is compared with."
            )
        if len(used) == 2 and (against.get(used[0]) == used[1] or against.get(used[1]) == used[0]):
            raise ValueError(f"The contrast {name!r} compares an arm with its reference, as the table does: remove it.")


def _factors(configs: list[StagedConfig], arms: Mapping[str, Arm]) -> dict[str, tuple[Scalar, ...]]:
    """The fields that differ between arms -> their values in the order in which they occur."""
    changed = dict.fromkeys(name for arm in arms.values() for name in arm if name != "seed")  # a shift is no setting
    values = {name: tuple(dict.fromkeys(getattr(config, name) for config in configs)) for name in changed}
    return {name: found for name, found in values.items() if len(found) > 1}


def arm_name(arm: Arm) -> str:
    return " ".join(f"{name}={value}" for name, value in arm.items())
