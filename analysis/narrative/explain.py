"""Where a number of a table comes from: every trial behind an arm, and the arithmetic from them to the row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.results import Results
from analysis.stats import evaluators, intervals
from analysis.tables import search
from analysis.tables.format import text as text_table
from runners.config import nearest
from study.record import reader

COLUMNS = ("trial", "training", "MLflow run", "folder")
NO_ERROR = ", the same in every seed: no error can be estimated"


def text(results: Results, arm: str) -> str:
    """The trials of `arm` and of the arm that it is compared with, with their ids and scores, and the row they make.

    Raises ValueError, with the nearest name, for an arm that the study does not have.
    """
    study = results.study
    if arm not in results.arms:
        raise ValueError(f"{study.study_id} has no arm {arm!r}{nearest(arm, results.arms)}")
    other = results.references.get(arm, "")
    parts = [f"{study.study_id}: {arm}" + (f", compared with {other}" if other else "")]
    parts += [f"{name}\n{text_table(_trials(results, name))}" for name in (arm, other) if name]
    parts += [_arithmetic(results, arm, other, metric) for metric in results.metrics]
    return "\n\n".join([*parts, *(_choice(results) if arm == "winner" else [])])


def _choice(results: Results) -> list[str]:
    """The trainings that chose the winner of a search; nothing for another study."""
    if (table := search.finalists(results)).empty:
        return []
    trials = reader.load_finalists(results.study.study_id, results.record)
    shown = text_table(search.readable_finalists(table, results))
    listed = text_table(_listed(trials, [results.study.metric], ["arm", "seed"]))
    return [f"how the winner was chosen: the best mean {results.study.metric}\n{shown}", listed]


def _trials(results: Results, arm: str) -> pd.DataFrame:
    """One row per trial of the arm."""
    return _listed(results.rows[results.rows["arm"] == arm], results.metrics, ["seed"])


def _listed(rows: pd.DataFrame, metrics: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """One row per trial: its `names`, state, scores and ids."""
    lines = []
    for trial in rows.to_dict("records"):
        scores = [f"{trial.get(metric, np.nan):.6f}" for metric in metrics]
        ids = [trial["trial_key"], trial["train_key"], trial["run_id"] or "-", f"trials/{trial['trial_key']}"]
        lines.append([*(str(trial[name]) for name in names), trial["state"], *scores, *ids])
    return pd.DataFrame(lines, columns=[*names, "state", *metrics, *COLUMNS])


def _arithmetic(results: Results, arm: str, other: str, metric: str) -> str:
    """Mean, interval and difference of one metric, from the per-seed numbers."""
    array, position = results.values(metric), {name: index for index, name in enumerate(results.arms)}
    column = array[:, position[arm]]
    known = column[np.isfinite(column)]
    if not len(known):
        return f"{metric}: no complete trial"
    low, high = intervals.t_interval(known)
    interval = f", 95 % t interval [{low:.6f}, {high:.6f}]" if len(known) > 1 else ", no interval"
    interval = NO_ERROR if intervals.without_spread(known) else interval
    mean = f"{metric}\n  mean of {_sum(known)} = {known.mean():.6f}{interval}"
    if not other:
        return mean
    line = _difference(column - array[:, position[other]], other)
    values = results.evaluator_values(metric)
    if values is None or not np.isfinite(paired := values[:, position[arm]] - values[:, position[other]]).all():
        return f"{mean}\n{line}"
    return f"{mean}\n{line}\n{_over_evaluators(paired)}"


def _over_evaluators(paired: intervals.Array) -> str:
    """The line of the interval that holds the evaluators' share; `paired` is (seeds, evaluators)."""
    each = ", ".join(f"{value:+z.6f}" for value in paired.mean(axis=0))
    line = f"  by evaluator ({each})"
    found = evaluators.crossed(paired)
    if not np.isfinite(found.error):
        return f"{line}: no error can be estimated"
    return (
        f"{line}: with their share, standard error {found.error:.6f} with {found.df:.2f} degrees of freedom, 95 % t "
        f"interval [{found.low:+z.6f}, {found.high:+z.6f}], p = {found.p:.6f} before Holm"
    )


def _difference(paired: intervals.Array, other: str) -> str:
    """The line of the paired difference over seeds."""
    if not np.isfinite(paired).all():
        return f"  not compared with {other}: a seed is missing in one of them"
    line = f"  mean difference, seed by seed, of {_sum(paired)} = {paired.mean():+z.6f}"
    if len(paired) < 2:
        return f"{line}, one training each: no interval"
    if intervals.without_spread(paired):
        return f"{line}{NO_ERROR}"
    low, high = intervals.t_interval(paired)
    p = intervals.paired_t(paired)
    return f"{line}, 95 % t interval [{low:+z.6f}, {high:+z.6f}], paired t test p = {p:.6f} before Holm"


def _sum(values: intervals.Array) -> str:
    return f"({', '.join(f'{value:.6f}' for value in values)}) over n = {len(values)}"
