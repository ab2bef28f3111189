"""One study's record as one typed object: what every table, sentence and figure is given.

`Results.open("schedules", record)` reads the record once; arms are columns and seeds are rows of every array. An arm
of which a trial failed, was pruned or is missing is incomplete: its mean over the rest is shown with its n, but it is
compared with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.verdict import Outcome, Verdict
from runners.experiment import Metric
from study.record import reader
from study.record.schema import Study, StudyTrial

# Scores beside the study's metric of which less is better, by how their names begin.
SMALLER_IS_BETTER = (
    "seconds",
    "loss",
    "peak_memory",
    "parameters",
    "spurious",
    "missing",
    "colour_only",
    "shape_only",
    "memorised",
    "x0_error",
)


@dataclass(frozen=True)
class Results:
    """`study`: what was asked; `rows`: one row per trial (`study.record.load`); `record`: the folder they are from."""

    study: Study
    rows: pd.DataFrame = field(repr=False, compare=False)
    record: Path

    @classmethod
    def open(cls, study: str, record: Path) -> Results:
        """Read a study id, or the latest launch of a study. Raises ValueError as `study.record.load_study` does."""
        found = reader.load_study(study, record)
        return cls(found, reader.load(found.study_id, record), Path(record))

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

    def settings_of(self, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """Arm -> its values of the config `fields`, for arms of which a trial is planned."""
        first = self.rows.drop_duplicates("arm").set_index("arm").reindex(columns=list(fields))
        found = dict(zip(first.index, first.itertuples(index=False, name=None), strict=True))
        return {arm: found[arm] for arm in self.arms if arm in found}

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
        """The experiment's metric."""
        return self.study.of_experiment().METRIC

    @property
    def metric(self) -> str:
        """The study's own: the column that its verdict is about."""
        return self.study.metric

    @property
    def all_lists(self) -> list[str]:
        """Every list of the experiment, scored or not."""
        return [one.name for one in self.study.of_experiment().LISTS]

    @property
    def lists(self) -> list[str]:
        """The lists that were scored, in the experiment's order."""
        return [name for name in self.all_lists if self.score.on(name) in self.rows]

    @property
    def selection(self) -> str:
        """The column that every choice is made on."""
        return next(self.score.on(one.name) for one in self.study.of_experiment().LISTS if one.role == "choose")

    @property
    def reported(self) -> list[str]:
        """The scored lists that nothing was chosen on."""
        roles = {one.name: one.role for one in self.study.of_experiment().LISTS}
        return [name for name in self.lists if roles[name] == "report"]

    @property
    def metrics(self) -> list[str]:
        """The study's own metric first, then the experiment's metric on every scored list."""
        return [self.metric, *(name for name in map(self.score.on, self.lists) if name != self.metric)]

    def margin(self, metric: str) -> float:
        """Differences inside it count as none: what the study names, else the experiment's. NaN where none is known,
        so that nothing is called equivalent."""
        of_experiment = metric.startswith(f"{self.score.name}/")
        if of_experiment or (metric == self.metric and self.study.margin is not None):
            return self.score.margin if self.study.margin is None else self.study.margin
        return np.nan

    def smaller_is_better(self, metric: str) -> bool:
        if metric.startswith(f"{self.score.name}/"):
            return not self.score.higher_is_better
        return metric.startswith(SMALLER_IS_BETTER)

    # --- numbers ---------------------------------------------------------------------------------------

    @cached_property
    def _arrays(self) -> dict[str, intervals.Array]:
        return {}

    def values(self, metric: str) -> intervals.Array:
        """The metric as an array (seeds, arms) in the study's order; NaN where a trial is not complete."""
        if metric not in self._arrays:
            array = np.full((len(self.seeds), len(self.arms)), np.nan)
            if metric in self.complete:
                table = self.complete.pivot(index="seed", columns="arm", values=metric)
                array = table.reindex(index=self.seeds, columns=self.arms).to_numpy(dtype=np.float64)
            self._arrays[metric] = array
        return self._arrays[metric]

    def means(self, metric: str) -> intervals.Means:
        return intervals.means(self.values(metric))

    @cached_property
    def reference_columns(self) -> list[int]:
        """Per arm the column of its reference, -1 for none."""
        arms, references = self.arms, self.study.references
        return [arms.index(references[arm]) if arm in references else -1 for arm in arms]

    def differences(self, metric: str) -> intervals.Differences:
        """Every arm minus its reference, paired by seed."""
        return intervals.differences(self.values(metric), self.reference_columns)

    @property
    def comparisons(self) -> int:
        """The family of Holm: every arm with a reference, the incomplete ones included."""
        return len(self.study.references)

    def verdicts(self, metric: str, p: Mapping[str, float] | None = None) -> dict[str, Verdict]:
        """Arm -> what may be said of it. `p`: of one training per arm, arm -> p of a test of its pictures."""
        found, n = self.differences(metric), self.means(metric).n
        planned, references, margin = len(self.seeds), self.study.references, self.margin(metric)
        of_numbers = intervals.outcomes(found, margin, self.smaller_is_better(metric))
        complete = dict(zip(self.arms, (int(count) for count in n), strict=True))
        verdicts = {}
        for index, arm in enumerate(self.arms):
            base = Verdict(of_numbers[index], complete[arm], planned, margin)
            verdicts[arm] = self._verdict(base, arm, references.get(arm, ""), complete, float(found.sd[index]), p or {})
        return verdicts

    def _verdict(
        self, base: Verdict, arm: str, reference: str, complete: Mapping[str, int], sd: float, p: Mapping[str, float]
    ) -> Verdict:
        """`base` is what the numbers alone allow; what is incomplete or not compared goes first."""
        if base.n < base.planned:
            return replace(base, outcome=Outcome.INCOMPLETE, lacking=self._lacking(arm, base.planned - base.n))
        if not reference:
            if arm == self.study.baseline_arm:
                return replace(base, outcome=Outcome.BASELINE)
            used = arm in self.study.references.values()
            return replace(base, outcome=Outcome.REFERENCE if used else Outcome.NOT_COMPARED)
        if complete[reference] < base.planned:
            name = "the baseline" if reference == self.study.baseline_arm else reference
            return replace(base, outcome=Outcome.REFERENCE_INCOMPLETE, reference=name, n=complete[reference])
        if base.planned == 1:
            return replace(base, outcome=Outcome.ONE_TRAINING, p=p.get(arm, np.nan))
        if base.outcome is Outcome.INCONCLUSIVE:
            needed = intervals.seeds_needed(base.margin, sd, comparisons=max(1, self.comparisons))
            return replace(base, seeds=None if needed is None else max(needed, base.n + 1))
        return base

    def _lacking(self, arm: str, lacking: int) -> str:
        """`1 failed, 1 pruned`: what became of the seeds that an arm lacks."""
        states = self.rows.loc[self.rows["arm"] == arm, "state"]
        counts = states[states != "complete"].value_counts().sort_index()
        parts = [f"{count} {state}" for state, count in counts.items()]
        without = lacking - int(counts.sum())
        return ", ".join([*parts, *([f"{without} without a number"] if without > 0 else [])])

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
