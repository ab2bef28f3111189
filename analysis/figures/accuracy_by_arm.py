"""Accuracy by arm.

One panel a list: every training a point, the mean with its t interval, published values and chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import intervals, style, tables
from study import record as reader

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
    labels = [style.wrapped(style.arm_label(study, arm), LABEL) for arm in study["arms"]]
    row = 0.3 if all("\n" not in label for label in labels) else 0.34
    figure = style.figure(style.DOUBLE, 1.15 + row * len(labels))
    panels = figure.subplots(1, len(lists), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, lists, strict=True):
        _panel(axes, table[table["list"] == name], study)
        axes.set_title(name)
    panels[0].set_yticks(range(len(labels)), labels, linespacing=1.05)
    panels[0].set_ylim(len(study["arms"]) - 0.4, -0.7)
    panels[0].set_ylabel(style.arm_title(study))
    figure.supxlabel("accuracy (share of the objects asked for that the evaluator finds)", fontsize=8)
    figure.legend(handles=_legend(table), loc="outside upper center", ncols=4)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, study: Mapping[str, Any]) -> None:
    for row, (arm, look) in enumerate(style.arm_style(study).items()):
        seeds = points[points["arm"] == arm]
        if seeds.empty:
            continue
        spread = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        axes.scatter(seeds["accuracy"], row + 0.2 + spread, s=9, color=look["color"], alpha=0.6, linewidth=0)
        mean = seeds.iloc[0]
        if mean["n"] > 1:
            axes.plot([mean["low"], mean["high"]], [row - 0.1] * 2, color=look["color"], linewidth=1.2)
        axes.plot(mean["mean"], row - 0.1, look["marker"], color=look["color"], markersize=4.5)
        axes.plot(mean["published"], row - 0.36, **STAR)
    axes.axvline(points["chance"].iloc[0], color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xlim(_limits(points))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


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
    return text
