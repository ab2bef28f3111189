"""Accuracy by class.

Recall of each of the 24 objects, 8 colours x 3 shapes, one panel an arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import style
from analysis.tables import classes as class_scores
from analysis.tables import comparison as tables
from runners.tasks.iclevr.scenes import COLOURS, LABELS, RADIUS
from study.record import reader

COLUMNS = ["arm", "label", "asked", "hits", "recall", "n"]
NOTHING = "no complete trial has recorded its classes yet"


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm and label with COLUMNS: how often it was asked for and hit, over all lists, passes and the n
    complete trials that recorded it."""
    rows = tables.complete_rows(reader.load(study_id, record))
    found = []
    for arm, counts in class_scores.recorded(rows).groupby("arm", sort=False):
        sums = counts.groupby("label")[["asked", "hits"]].sum().reindex(LABELS, fill_value=0)
        for label, (asked, hits) in zip(LABELS, sums.to_numpy(), strict=True):
            found.append([arm, label, asked, hits, hits / asked if asked else np.nan, counts["seed"].nunique()])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank(NOTHING)
    arms = style.spread(study, list(table["arm"].unique()))
    across = min(2, len(arms))
    rows = -(-len(arms) // across)
    figure = style.figure(style.DOUBLE, 0.35 + 0.95 * rows)
    panels = figure.subplots(rows, across, sharex=True, squeeze=False)
    for unused in panels.flatten()[len(arms) :]:
        unused.remove()
    for axes, arm in zip(panels.flatten(), arms, strict=False):
        recall = table.loc[table["arm"] == arm, "recall"].to_numpy().reshape(len(RADIUS), len(COLOURS))
        style.heat(axes, recall, list(RADIUS), list(COLOURS))
        axes.tick_params(labelbottom=True)
        axes.set_title(
            style.wrapped(style.arm_label(study, arm), 50),
            loc="left",
            color=style.arm_style(study)[arm]["color"],
            pad=3,
        )
    return figure


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return f"{NOTHING[0].upper()}{NOTHING[1:]}."
    all_arms = list(table["arm"].unique())
    asked = table.loc[table["n"] == table["n"].max(), "asked"]
    total = table.groupby("label", sort=False)[["asked", "hits"]].sum()
    recall = (total["hits"] / total["asked"]).dropna().sort_values()
    return (
        "Share of the objects asked for that the evaluator names, by class, pooled over the lists and over n = "
        f"{table['n'].max()} trainings an arm at most ({asked.min()} to {asked.max()} objects a cell). Over all arms "
        f"the best class is {recall.index[-1]} ({recall.iloc[-1]:.3f}), the worst {recall.index[0]} "
        f"({recall.iloc[0]:.3f})." + style.spread_words(study, all_arms)
    )
