"""Accuracy by class.

Recall of each class, one panel per arm: a row per shape, a column per colour, the share found on each cell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import heat, labels, style
from analysis.results import Results
from analysis.tables import classes
from runners.tasks.iclevr.scenes import COLOURS, LABELS, RADIUS

COLUMNS = ["arm", "label", "asked", "hits", "recall", "n"]


def table(results: Results) -> pd.DataFrame:
    """One row per drawn arm and label with COLUMNS: how often it was asked for and hit, over all lists, passes and the
    n complete trials that recorded it."""
    drawn = labels.spread_arms(results, [arm for arm in results.arms if arm in set(results.complete["arm"])])
    own = results.of(results.study, results.rows[results.rows["arm"].isin(drawn)])
    found = []
    for arm, counts in classes.recorded(own).groupby("arm", sort=False):
        sums = counts.groupby("label")[["asked", "hits"]].sum().reindex(LABELS, fill_value=0)
        for label, (asked, hits) in zip(LABELS, sums.to_numpy(), strict=True):
            found.append([arm, label, asked, hits, hits / asked if asked else np.nan, counts["seed"].nunique()])
    return pd.DataFrame(found, columns=COLUMNS)


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its classes yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    arms, looks = list(table["arm"].unique()), style.looks(results.arms)
    across = min(2, len(arms))
    rows = -(-len(arms) // across)
    figure = style.figure(style.DOUBLE, 0.35 + 0.95 * rows)
    panels = figure.subplots(rows, across, squeeze=False)
    for unused in panels.flatten()[len(arms) :]:
        unused.remove()
    for axes, arm in zip(panels.flatten(), arms, strict=False):
        recall = table.loc[table["arm"] == arm, "recall"].to_numpy().reshape(len(RADIUS), len(COLOURS))
        heat.shares(axes, recall, list(RADIUS), list(COLOURS))
        name = labels.wrapped(labels.arm_label(results, arm), 50)
        axes.set_title(name, loc="left", color=looks[arm].ink, pad=3)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    asked = table.loc[table["n"] == table["n"].max(), "asked"]
    total = table.groupby("label", sort=False)[["asked", "hits"]].sum()
    recall = (total["hits"] / total["asked"]).dropna().sort_values()
    scored = results.complete["arm"].nunique()
    hidden = f" Only {table['arm'].nunique()} of {scored} arms are drawn." if scored > labels.MOST else ""
    n = int(table["n"].max())
    return (
        "Share of the objects asked for that the evaluator names, by class, pooled over the lists and over n = "
        f"{n} training{'s' * (n != 1)} per arm at most ({asked.min()} to {asked.max()} objects per cell). Over these "
        f"arms the best class is {recall.index[-1]} ({recall.iloc[-1]:.3f}), the worst {recall.index[0]} "
        f"({recall.iloc[0]:.3f}). Empty cells were never asked for.{hidden}"
    )
