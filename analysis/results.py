"""One study's record as one typed object: what every table, sentence and figure is given.

`Results.open("schedules", record)` reads the record once; arms are columns and seeds are rows of every array. An arm
of which a trial failed, was pruned or is missing is incomplete: its mean over the rest is shown with its n, but it is
compared with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats import evaluators, intervals, planning
from analysis.stats import looks as sequential
from runners.experiment import Metric
from study.record import reader
from study.record.schema import Study, StudyTrial

P = ParamSpec("P")
T = TypeVar("T")

# Scores beside the study's metric of which less is better, by how their names begin.
SMALLER_IS_BETTER = (
    "seconds",
    "loss",
    "peak_memory",
    "parameters",
    "spurious",
    "missing",
    "memorised",
    "x0_error",
    "kid",
    "fid",
    "evaluator_ece",
)
FACET = "_only"  # ... and how they end: misses in which one facet was right


def once(make: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """What a function makes of a Results is made once for the same arguments; a frame is handed out as a copy."""

    def kept(results: Results, /, *arguments: P.args, **named: P.kwargs) -> T:
        key = (make.__module__, make.__qualname__, arguments, tuple(sorted(named.items())))
        if key not in results.made:
            results.made[key] = make(results, *arguments, **named)
        found: T = results.made[key]
        return found.copy() if isinstance(found, pd.DataFrame) else found

    update_wrapper(kept, make)
    return kept


@dataclass(frozen=True)
class Results:
    """`study`: what was asked; `rows`: one row per trial (`study.record.load`); `record`: the folder they are from."""

    study: Study
    rows: pd.DataFrame = field(repr=False, compare=False)
    record: Path

    @classmethod
    def open(cls, study: str, record: Path) -> Results:
        """Read a study id, or the latest launch of a study.

        Raises ValueError as `study.record.load_study` does, and for a study without arms, seeds or trials.
        """
        found = reader.load_study(study, record)
        lacking = [name for name in ("arms", "seeds", "trials") if not getattr(found, name)]
        if lacking:
            raise ValueError(f"The study.json of {found.study_id!r} in {record} has no {', '.join(lacking)}.")
        return cls(found, reader.load(found.study_id, record), Path(record))

    @cached_property
    def made(self) -> dict[Hashable, Any]:
        """What `once` has made of these results."""
        return {}

    # --- what was recorded -----------------------------------------------------------------------------

    @cached_property
    def complete(self) -> pd.DataFrame:
        """The rows of the complete trials."""
        return self.rows[self.rows["state"] == "complete"] if len(self.rows) else self.rows

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per report of a training (`study.record.curves`)."""
        return reader.curves(self.study.study_id, self.record)

    @property
    def arms(self) -> list[str]:
        return list(self.study.arms)

    @property
    def seeds(self) -> list[int]:
        return list(self.study.seeds)

    def fields_of(self, trial: StudyTrial) -> dict[str, Any]:
        """Every field of a trial's setting."""
        return self.study.fields(trial)

    @cached_property
    def _first_rows(self) -> pd.DataFrame:
        """The first row of each arm, indexed by it."""
        return self.rows.drop_duplicates("arm").set_index("arm")

    def settings_of(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """Arm -> its values of the config `fields`, for arms of which a trial is planned."""
        first = self._first_rows.reindex(columns=list(fields))
        found = {arm: tuple(values) for arm, *values in first.itertuples(name=None)}  # pandas 2 gives no empty rows
        return {arm: found[arm] for arm in self.arms if arm in found}

    @property
    def baseline_fields(self) -> dict[str, Any]:
        """Every field of the baseline arm's setting, which may differ from what arms are made of in a factor: the
        study's `baseline` where no trial of that arm is planned."""
        names = [name for name in self.study.factors if name in self.rows]
        own = self.settings_of(names).get(self.study.baseline_arm, ())
        return self.study.baseline | dict(zip(names, own, strict=False))

    def mean_of(self, column: str) -> float:
        """Mean of a numeric result over the complete trials; NaN when it is not recorded."""
        known = column in self.complete and len(self.complete)
        return float(self.complete[column].mean()) if known else np.nan

    def arm_means(self, column: str) -> intervals.Array:
        """A numeric result averaged over each arm's complete trials, shape (arms,); NaN where it is not recorded."""
        if column not in self.complete:
            return np.full(len(self.arms), np.nan)
        found = self.complete.groupby("arm")[column].mean().reindex(self.arms)
        return found.to_numpy(dtype=np.float64)

    def published(self, arm: str, metric: str) -> float:
        """What others reported for the arm; NaN when nothing is known."""
        return float(self.study.published.get(arm, {}).get(metric, np.nan))

    # --- metrics and lists -----------------------------------------------------------------------------

    @property
    def score(self) -> Metric:
        """The task's metric."""
        return self.study.of_task().metric

    @property
    def metric(self) -> str:
        """The study's own: the column that its verdict is about."""
        return self.study.answer_metric

    @property
    def all_lists(self) -> list[str]:
        """Every list of the task, scored or not."""
        return [one.name for one in self.study.of_task().lists]

    @property
    def lists(self) -> list[str]:
        """The lists that were scored, in the task's order."""
        return [name for name in self.all_lists if self.score.on(name) in self.rows]

    @property
    def pooled(self) -> list[str]:
        """The lists whose outcomes are counted together: those of the images that the study's metric is of."""
        of = {one.name: one.of for one in self.study.of_task().lists}
        own = of.get(self.list_of(self.metric), "")
        return [name for name in self.all_lists if of[name] == own]

    @property
    def chooses_elsewhere(self) -> bool:
        """Whether choices are made on other images than those that the study's metric is of."""
        return self.list_of(self.selection) not in self.pooled

    @property
    def selection(self) -> str:
        """The column that every choice is made on."""
        return self.study.of_task().choice

    @property
    def all_reported(self) -> list[str]:
        """The lists that nothing is chosen on, scored or not."""
        return [one.name for one in self.study.of_task().lists if one.role == "report"]

    @property
    def reported(self) -> list[str]:
        """The scored lists that nothing was chosen on."""
        return [name for name in self.all_reported if name in self.lists]

    @property
    def judged(self) -> str:
        """The column that verdicts are about: the study's own. "" where each setting is judged at its best nuisance
        value, which the study's own column chose, on another list (`tables.nuisance`)."""
        tuned = self.metric == self.selection and bool(self.reported) and len(self.settings()) > 1
        return "" if tuned else self.metric

    def list_of(self, metric: str) -> str:
        """The list that the experiment's metric was measured on; "" for another score."""
        prefix = self.score.on("")
        name = metric.removeprefix(prefix)
        return name if metric.startswith(prefix) and name in self.all_lists else ""

    @property
    def metrics(self) -> list[str]:
        """The study's own metric first, then the experiment's metric on every scored list."""
        return [self.metric, *(name for name in map(self.score.on, self.lists) if name != self.metric)]

    def margin(self, metric: str) -> float:
        """Differences inside it count as none: what the study names, else the experiment's. NaN where none is known,
        so that nothing is called equivalent."""
        if self._is_score(metric) or (metric == self.metric and self.study.margin is not None):
            known = self.score.margin if self.study.margin is None else self.study.margin
            return np.nan if known is None else known
        return np.nan

    def smaller_is_better(self, metric: str) -> bool:
        if self._is_score(metric):
            return not self.score.higher_is_better
        return metric.startswith(SMALLER_IS_BETTER) or metric.partition("/")[0].endswith(FACET)

    def is_share(self, metric: str) -> bool:
        """Whether the metric is a proportion of the objects of a list."""
        return self.score.is_share and self._is_score(metric)

    def _is_score(self, metric: str) -> bool:
        """The experiment's metric on a list, or a variant of it such as accuracy_macro/test."""
        return metric.startswith(self.score.name)

    # --- numbers ---------------------------------------------------------------------------------------

    @cached_property
    def _cells(self) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Which complete rows are of an arm and a seed of the study, and their seed and arm by position."""
        seeds = {seed: index for index, seed in enumerate(self.seeds)}
        arms = {arm: index for index, arm in enumerate(self.arms)}
        if not len(self.complete):
            return np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        seed = np.array([seeds.get(seed, -1) for seed in self.complete["seed"]], dtype=np.int64)
        arm = np.array([arms.get(arm, -1) for arm in self.complete["arm"]], dtype=np.int64)
        inside = (seed >= 0) & (arm >= 0)
        return inside, seed[inside], arm[inside]

    @once
    def values(self, metric: str) -> intervals.Array:
        """The metric as an array (seeds, arms) in the study's order; NaN where a trial is not complete. Read-only."""
        array = np.full((len(self.seeds), len(self.arms)), np.nan)
        if metric in self.complete:
            inside, seed, arm = self._cells
            array[seed, arm] = self.complete[metric].to_numpy(dtype=np.float64)[inside]
        array.setflags(write=False)
        return array

    @once
    def means(self, metric: str) -> intervals.Means:
        return intervals.means(self.values(metric))

    @cached_property
    def references(self) -> dict[str, str]:
        """Arm -> the arm that it is compared with."""
        return self.study.references

    @cached_property
    def reference_columns(self) -> list[int]:
        """Per arm the column of its reference, -1 for none."""
        column = {arm: index for index, arm in enumerate(self.arms)}
        return [column.get(self.references.get(arm, ""), -1) for arm in self.arms]

    @once
    def compared(self, metric: str) -> intervals.Differences:
        """Every comparison of the study: the arms with their references, then the contrasts. Of several evaluators the
        intervals hold their share."""
        found = intervals.differences(self.values(metric), self.reference_columns, contrasts=self._contrasts)
        return evaluators.held(found, self.evaluator_values(metric), self.weights)

    @cached_property
    def _contrasts(self) -> list[list[float]]:
        return [[row.get(arm, 0.0) for arm in self.arms] for row in self.study.contrasts.values()]

    @cached_property
    def weights(self) -> intervals.Array:
        """What is compared, as weights of shape (comparisons, arms)."""
        return intervals.weights_of(len(self.arms), self.reference_columns, self._contrasts)

    def differences(self, metric: str) -> intervals.Differences:
        """Every arm minus its reference, paired by seed."""
        return self.compared(metric).part(slice(len(self.arms)))

    def contrasts(self, metric: str) -> intervals.Differences:
        """The study's contrasts, in its order."""
        return self.compared(metric).part(slice(len(self.arms), None))

    @once
    def evaluator_values(self, metric: str) -> intervals.Array | None:
        """The metric by each of several evaluators, (seeds, arms, evaluators); None where it is kept of one alone."""
        names = evaluators.columns(metric, set(map(str, self.rows)))
        return np.stack([self.values(name) for name in names], axis=-1) if len(names) > 1 else None

    @property
    def comparisons(self) -> int:
        """The family of Holm: every arm with a reference and every contrast, the incomplete ones included."""
        return len(self.references) + len(self.study.contrasts)

    @property
    def level(self) -> float:
        """The two-sided level of this look: .05, or what a plan of several looks leaves for it."""
        looks, n = self.study.planned_looks, len(self.seeds)
        return sequential.levels(looks)[looks.index(n)] if n in looks and len(looks) > 1 else planning.SIGNIFICANT

    # --- nuisance factors --------------------------------------------------------------------------------

    def settings(self) -> dict[str, list[str]]:
        """Scientific setting, as `drop_probability=0.1` -> its arms, one per nuisance value; empty without both."""
        scientific, tuned = self.study.scientific, self.study.tuned
        found: dict[str, list[str]] = {}
        if scientific and tuned and len(self.rows):
            for arm, setting in self.settings_of(scientific).items():
                found.setdefault(setting_name(scientific, setting), []).append(arm)
        return found

    def chosen(self, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Group -> its arm with the best mean in the column of choice, as long as none of its arms is incomplete."""
        array = self.values(self.selection)
        sign = -1 if self.smaller_is_better(self.selection) else 1
        means = np.where(np.isfinite(array).all(axis=0), sign * array.mean(axis=0), np.nan)
        score = dict(zip(self.arms, means, strict=True))
        whole = {group: arms for group, arms in groups.items() if np.isfinite([score[arm] for arm in arms]).all()}
        return {group: max(arms, key=score.__getitem__) for group, arms in whole.items()}

    def varies_alone(self, name: str) -> bool:
        """Whether two arms differ in the factor `name` alone, so that a line over its values means something."""
        if name not in self.study.factors or self.study.search:
            return False
        others = [factor for factor in self.study.factors if factor != name]
        seen: dict[tuple[Any, ...], set[Any]] = {}
        for trial in self.study.trials:
            setting = self.study.fields(trial)
            seen.setdefault(tuple(setting[other] for other in others), set()).add(setting[name])
        return any(len(values) > 1 for values in seen.values())

    def of(self, study: Study, rows: pd.DataFrame) -> Results:
        """The same record with another view of the study: a part of its arms, say."""
        return Results(study, rows, self.record)


def setting_name(fields: Sequence[str], setting: Sequence[Any]) -> str:
    """`drop_probability=0.1 guidance_scale=2.0`."""
    return " ".join(f"{name}={value}" for name, value in zip(fields, setting, strict=True))
