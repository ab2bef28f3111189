"""Accuracy against diversity.

What guidance trades: one line a setting of the other factors, its points in the order of guidance_scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import accuracy_by_guidance
from analysis.plotting import style
from analysis.tables import comparison as tables

PLACE = "answer"
VALIDATION = tables.SELECTION.removeprefix("accuracy/")
MOST_LABELLED = 4  # settings whose every point has room for its s; of more the ends of each line have it


def applies(study: Mapping[str, Any]) -> bool:
    return accuracy_by_guidance.applies(study)


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm with a complete trial: setting, guidance_scale, n; accuracy and diversity with their t intervals.

    Diversity is NaN where a record of an older version has none.
    """
    found = accuracy_by_guidance.table(study_id, record)
    spans = {"mean": "diversity", "low": "diversity low", "high": "diversity high"}
    diversity = found[found["list"] == accuracy_by_guidance.DIVERSITY].set_index("arm")[list(spans)]
    accuracy = found[found["list"] == VALIDATION].rename(columns={"mean": "accuracy"})
    return accuracy.drop(columns="list").join(diversity.rename(columns=spans), on="arm")


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial is complete yet")
    if table["diversity"].isna().all():
        return style.blank("diversity: not recorded")
    settings = list(table["setting"].unique())
    kept = style.spread({}, settings)
    looks = style.arm_style({"arms": settings})
    columns = style.legend_columns(kept) if any(kept) else 0
    figure = style.figure(style.DOUBLE, 3.2 + (0.15 * -(-len(kept) // columns) if columns else 0))
    axes = figure.subplots()
    for setting, points in table.groupby("setting", sort=False):
        if setting not in kept:
            line = points.sort_values("guidance_scale")
            axes.plot(line["diversity"], line["accuracy"], color="0.75", linewidth=0.6, zorder=1)
    for setting in kept:
        points = table[table["setting"] == setting].sort_values("guidance_scale")
        _line(axes, points, looks[setting], style.plain(setting), len(kept) <= MOST_LABELLED)
    axes.set_xlabel(f"diversity: {accuracy_by_guidance.DISTANCE} between samples of one condition")
    axes.set_ylabel(f"{VALIDATION} accuracy")
    axes.margins(0.08)
    if columns:
        lines, labels = axes.get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside upper center", ncols=columns)
    return figure


def _line(axes: Axes, points: pd.DataFrame, look: dict[str, Any], label: str, every: bool) -> None:
    """Means joined in the order of s, a thin cross of t intervals on each, and s beside it."""
    x, y = points["diversity"], points["accuracy"]
    across = np.nan_to_num(np.stack([x - points["diversity low"], points["diversity high"] - x]))
    along = np.nan_to_num(np.stack([y - points["low"], points["high"] - y]))
    axes.errorbar(x, y, xerr=across, yerr=along, markersize=4, linewidth=1, elinewidth=0.5, label=label, **look)
    for place, (index, row) in enumerate(points.iterrows()):
        if every or place in (0, len(points) - 1):
            axes.annotate(
                f"s = {row['guidance_scale']:g}" if place == 0 else f"{row['guidance_scale']:g}",
                (x[index], y[index]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=6.5,
                color=look["color"],
            )


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial is complete yet."
    if table["diversity"].isna().all():
        return "Diversity is not recorded: the trials are of an older version."
    most, best = table.loc[table["diversity"].idxmax()], table.loc[table["accuracy"].idxmax()]
    hidden = table["setting"].nunique() - len(style.spread({}, list(table["setting"].unique())))
    return (
        "Marks are means over training seeds, thin crosses 95 % t intervals of both "
        f"(n = {table['n'].max()} at most); points of a line are in the order of guidance_scale s, up and to the right "
        "is better in both. Diversity is the mean RMS distance between pictures of one condition; pictures that are "
        f"bad in different ways are diverse too. Most accurate: {_named(best)}. Most diverse: {_named(most)}."
        + (f" {hidden} settings without room in the legend are grey." if hidden else "")
    )


def _named(row: pd.Series) -> str:
    setting = f"{row['setting']}, " if row["setting"] else ""
    return f"{setting}s = {row['guidance_scale']:g} (accuracy {row['accuracy']:.3f}, diversity {row['diversity']:.3f})"
