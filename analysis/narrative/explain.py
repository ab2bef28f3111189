"""Where a number of a table comes from: every trial behind an arm, and the arithmetic from them to the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.tables import comparison as tables
from analysis.tables.format import text as text_table
from runners.config import nearest
from study.record import reader


def text(study_id: str, arm: str, record: Path) -> str:
    """The trials of `arm` and of the arm that it is compared with, with their ids and scores, and the row they make.

    Raises ValueError, with the nearest name, for an arm that the study does not have.
    """
    study, rows = reader.load_study(study_id, record), reader.load(study_id, record)
    arms = list(study["arms"])
    if arm not in arms:
        raise ValueError(f"{study_id} has no arm {arm!r}{nearest(arm, arms)}")
    runs = {trial["trial_key"]: trial.get("run_id") or "-" for trial in study["trials"]}
    other = tables.references(study).get(arm, "")
    parts = [f"{study['study_id']}: {arm}" + (f", compared with {other}" if other else "")]
    for name in filter(None, (arm, other)):
        lines = []
        for _, trial in rows[rows["arm"] == name].iterrows():
            scores = [trial.get(metric, np.nan) for metric in tables.metrics(rows, study)]
            ids = [trial["trial_key"], trial["train_key"], runs[trial["trial_key"]], f"trials/{trial['trial_key']}"]
            lines.append([str(trial["seed"]), trial["state"], *(f"{score:.6f}" for score in scores), *ids])
        head = ["seed", "state", *tables.metrics(rows, study), "trial", "training", "MLflow run", "folder"]
        parts.append(f"{name}\n{text_table(pd.DataFrame(lines, columns=head))}")
    for metric in tables.metrics(rows, study):
        parts.append(_arithmetic(tables.values(rows, study, metric), arms, arm, other, metric))
    return "\n\n".join(parts)


def _arithmetic(array: intervals.Array, arms: list[str], arm: str, other: str, metric: str) -> str:
    """Mean, interval and difference of one metric, from the per-seed numbers."""
    column = array[:, arms.index(arm)]
    known = column[np.isfinite(column)]
    if not len(known):
        return f"{metric}: no complete trial"
    low, high = intervals.t_interval(known)
    interval = f", 95 % t interval [{low:.6f}, {high:.6f}]" if len(known) > 1 else ", no interval"
    lines = [f"{metric}", f"  mean of {_sum(known)} = {known.mean():.6f}{interval}"]
    if other:
        paired = column - array[:, arms.index(other)]
        if np.isfinite(paired).all():
            low, high = intervals.t_interval(paired)
            test = (
                f", 95 % t interval [{low:+.6f}, {high:+.6f}], paired t test p = {intervals.paired_t(paired):.6f} "
                "before Holm"
            )
            lines.append(
                f"  mean difference, seed by seed, of {_sum(paired)} = {paired.mean():+.6f}"
                + (test if len(paired) > 1 else ", one training each: no interval")
            )
        else:
            lines.append(f"  not compared with {other}: a seed is missing in one of them")
    return "\n".join(lines)


def _sum(values: intervals.Array) -> str:
    return f"({', '.join(f'{value:.6f}' for value in values)}) over n = {len(values)}"
