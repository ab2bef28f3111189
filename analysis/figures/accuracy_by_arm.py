"""Accuracy by arm.

One panel per list: every training is a point, the mean is a large mark with its t interval; published values are
stars, the chance level is dotted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import recorded_task
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.plotting.style import Look
from analysis.results import Results
from analysis.tables import format as formats

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


def title(results: Results) -> str:
    return f"{labels.score(results, True)} by arm"


def table(results: Results) -> pd.DataFrame:
    """One row per list, arm and seed: list, arm, seed, the score (under the metric's name), and of the arm n, mean,
    low, high, published; chance. A trial that is not complete has no row."""
    parts = []
    for name in results.all_lists:
        metric = results.score.on(name)
        array, mean = results.values(metric), results.means(metric)
        of_arm = {"n": mean.n, "mean": mean.mean, "low": mean.low, "high": mean.high}
        of_arm["published"] = np.array([results.published(arm, metric) for arm in results.arms])
        each = {"list": name, "arm": results.arms, **of_arm, "chance": results.mean_of(f"chance/{name}")}
        rows = pd.DataFrame(each).loc[np.repeat(np.arange(len(results.arms)), len(results.seeds))]
        rows.insert(2, "seed", np.tile(results.seeds, len(results.arms)))
        rows.insert(3, results.score.name, array.T.ravel())
        parts.append(rows[np.isfinite(array.T.ravel())])
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, results: Results) -> Figure:
    lists = list(table["list"].unique())
    arms = labels.spread_arms(results, results.arms, labels.ROWS)
    names = [labels.wrapped(labels.arm_label(results, arm), LABEL) for arm in arms]
    row = 0.3 if all("\n" not in name for name in names) else 0.34
    figure = style.figure(style.DOUBLE, 1.15 + row * len(names))
    panels = figure.subplots(1, len(lists), squeeze=False)[0]
    looks = style.looks(results.arms)
    shown = [results.score.name, "mean", "low", "high", "published", "chance"]
    limits = shared.limits_of(table[shown], results.score.is_share, 0.05)  # one scale: the lists differ in difficulty
    for axes, name in zip(panels, lists, strict=True):
        _panel(axes, table[table["list"] == name], {arm: looks[arm] for arm in arms}, results.score.name)
        axes.set_xlim(*limits)
        axes.set_title(name)
    shared.name_rows(panels, names, 0.7)
    panels[0].set_ylabel(labels.arm_title(results))
    direction = "higher" if results.score.higher_is_better else "lower"
    figure.supxlabel(f"{labels.score(results)} ({direction} is better)", fontsize=8)
    shared.legend(figure, _legend(table), columns=4)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, looks: Mapping[str, Look], score: str) -> None:
    points = points[points["arm"].isin(looks)]
    marks.points(axes, points, score, looks, below=0.2)
    rows = {arm: row for row, arm in enumerate(looks)}
    means = points.drop_duplicates("arm")
    row = means["arm"].map(rows)
    colours = [looks[arm].colour for arm in means["arm"]]
    marks.intervals(axes, means["low"], means["high"], row - 0.1, colours)
    markers = [looks[arm].marker for arm in means["arm"]]
    for marker, of_marker in means.assign(row=row, colour=colours, marker=markers).groupby("marker"):
        axes.scatter(
            of_marker["mean"], of_marker["row"] - 0.1, s=20, marker=marker, color=of_marker["colour"], zorder=3
        )
    axes.plot(means["published"], row - 0.36, **STAR)
    shared.chance_line(axes, points["chance"].iloc[0], across=False)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    """What the marks mean, whatever the arm."""
    handles = [
        Line2D([], [], marker="o", linestyle="", color=style.GREY, markersize=3, alpha=0.6, label="one training"),
        Line2D([], [], marker="o", color=style.GREY, markersize=4.5, label="mean, 95 % t interval"),
    ]
    handles += [shared.chance_handle()] if table["chance"].notna().any() else []
    return handles + ([Line2D([], [], label="published", **STAR)] if table["published"].notna().any() else [])


def caption(table: pd.DataFrame, results: Results) -> str:
    best, sign = [], 1 if results.score.higher_is_better else -1
    for name, points in table.groupby("list", sort=False):
        row = points.iloc[int((sign * points["mean"]).argmax())]
        interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["n"] > 1 else ""
        arms = points.drop_duplicates("arm")
        tied = [labels.plain(arm) for arm in formats.best(arms["arm"], sign * arms["mean"])]
        if len(tied) > 1:
            best.append(f"{name}: {formats.listed(tied)} tie at {row['mean']:.3f}")
        else:
            best.append(f"{name}: {tied[0]} {row['mean']:.3f}{interval}, n = {row['n']}")
    text = (
        "Each small point is one training; the large mark is the mean over seeds with its 95 % t interval. Each "
        "interval is that of one arm. Arms with overlapping intervals may still differ seed by seed: compare arms by "
        f"their paired differences. {'Highest' if sign > 0 else 'Lowest'} means: {'; '.join(best)}."
    )
    if results.score.is_share and (table["low"].min() < 0 or table["high"].max() > 1):
        text += " Intervals that leave [0, 1] are cut off at the panel: few seeds give wide intervals."
    if table["published"].notna().any():
        judged = recorded_task.judged_by_others(results)
        how = "one training and one sampling each, with another evaluator" if judged else "one training each"
        text += f" Stars are published values: {how}."
    return text + labels.spread_words(results.arms, labels.ROWS)
