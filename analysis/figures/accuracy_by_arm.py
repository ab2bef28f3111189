"""Accuracy by arm.

One panel a list: every training a point, the mean with its t interval, published values and chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

PLACE = "answer"
STAR: dict[str, Any] = {
    "marker": "*",
    "linestyle": "",
    "color": "white",
    "markeredgecolor": "black",
    "markersize": 6,
    "markeredgewidth": 0.8,
}
LABEL = 28  # letters of an arm on one line; more leave too little for the panels
COLUMNS = ["list", "arm", "seed", "accuracy", "n", "mean", "low", "high", "published", "chance"]


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a list, arm and seed with COLUMNS; a trial that is not complete has no row."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    found = []
    for name in tables.LISTS:
        array = tables.values(rows, study, f"accuracy/{name}")
        mean = intervals.means(array)
        chance = rows[f"chance/{name}"].mean() if f"chance/{name}" in rows else np.nan
        for index, arm in enumerate(study["arms"]):
            known = tables.published(study, arm, f"accuracy/{name}")
            of_arm = [mean.n[index], mean.mean[index], mean.low[index], mean.high[index], known, chance]
            for seed, accuracy in zip(study["seeds"], array[:, index], strict=True):
                if np.isfinite(accuracy):
                    found.append([name, arm, seed, accuracy, *of_arm])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial is complete yet")
    lists = [name for name in tables.LISTS if (table["list"] == name).any()]
    arms = style.spread(study, list(study["arms"]), style.ROWS)
    labels = [style.wrapped(style.arm_label(study, arm), LABEL) for arm in arms]
    row = 0.3 if all("\n" not in label for label in labels) else 0.34
    figure = style.figure(style.DOUBLE, 1.15 + row * len(labels))
    panels = figure.subplots(1, len(lists), squeeze=False)[0]
    for axes, name in zip(panels, lists, strict=True):
        _panel(axes, table[table["list"] == name], arms, study)
        axes.set_xlim(_limits(table))  # one scale: the lists differ in difficulty
        axes.set_title(name)
    style.name_rows(panels, labels, 0.7)
    panels[0].set_ylabel(style.arm_title(study))
    figure.supxlabel("accuracy (share of the objects asked for that the evaluator finds)", fontsize=8)
    figure.legend(handles=_legend(table), loc="outside upper center", ncols=4)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, arms: Sequence[str], study: Mapping[str, Any]) -> None:
    looks = style.arm_style(study)
    points = points[points["arm"].isin(arms)]
    row = points["arm"].map({arm: index for index, arm in enumerate(arms)})
    place, size = points.groupby("arm").cumcount(), points.groupby("arm")["arm"].transform("size")
    aside = 0.24 * (place / (size - 1).clip(lower=1) - 0.5).where(size > 1, 0)
    colours = points["arm"].map({arm: looks[arm]["color"] for arm in arms})
    # One collection for all arms: a line an arm takes seconds when there are many.
    axes.scatter(points["accuracy"], row + 0.2 + aside, s=9, color=colours, alpha=0.6, linewidth=0)
    means = points.assign(row=row, colour=colours).drop_duplicates("arm")
    several = means[means["n"] > 1]
    axes.hlines(several["row"] - 0.1, several["low"], several["high"], colors=several["colour"], linewidth=1.2)
    for marker, marks in means.groupby(means["arm"].map({arm: looks[arm]["marker"] for arm in arms})):
        axes.scatter(marks["mean"], marks["row"] - 0.1, s=20, marker=marker, color=marks["colour"], zorder=3)
    axes.plot(means["published"], means["row"] - 0.36, **STAR)
    axes.axvline(points["chance"].iloc[0], color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)))


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    """What was measured, with a margin; a wide interval may leave the panel but not squeeze it."""
    shown = points[["accuracy", "published", "chance"]].to_numpy()
    low, high = np.nanmin([np.nanmin(shown), points["low"].min()]), np.nanmax([np.nanmax(shown), points["high"].max()])
    margin = 0.05 * max(high - low, 0.1)
    return max(low - margin, -0.05), min(high + margin, 1.05)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    """What the marks mean, whatever the arm."""
    marks = [
        Line2D([], [], marker="o", linestyle="", color=style.GREY, markersize=3, alpha=0.6, label="one training"),
        Line2D([], [], marker="o", color=style.GREY, markersize=4.5, label="mean, 95 % t interval"),
        Line2D([], [], color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)), label="chance"),
    ]
    if table["published"].notna().any():
        marks.append(Line2D([], [], label="published", **STAR))
    return marks


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial is complete yet."
    leaders = []
    for name, points in table.groupby("list", sort=False):
        best = points.iloc[int(points["mean"].argmax())]
        interval = f" [{best['low']:.3f}, {best['high']:.3f}]" if best["n"] > 1 else ""
        leaders.append(f"{name}: {style.arm_label(study, best['arm'])} {best['mean']:.3f}{interval}, n = {best['n']}")
    text = (
        "Each small point is one training; the large mark is the mean over seeds with its 95 % t interval. The "
        "intervals are each arm's own: two arms whose intervals overlap may still differ seed by seed: see "
        f"the paired differences of the tables. Highest means: {'; '.join(leaders)}."
    )
    if table["low"].min() < 0 or table["high"].max() > 1:
        text += " Intervals that leave [0, 1] are cut off at the panel: few seeds, wide intervals."
    if table["published"].notna().any():
        text += " Stars are published values: one training and one sampling each, with their own evaluator."
    return text + style.spread_words(study, list(study["arms"]), style.ROWS)
