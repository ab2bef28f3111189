"""Denoising, arm by arm.

The same condition from pure noise to the sample, one strip an arm: x_t above the estimate of x0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from study import record as reader

COLUMNS = ["arm", "seed", "strip"]
ONE_COLUMN = 6  # strips; more are drawn at half the size


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm with COLUMNS; `strip` is a PNG's path, empty for a trial that is not complete."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    found = []
    for _, trial in rows[rows["seed"] == study["seeds"][0]].iterrows():
        strip = str(Path(trial["folder"]) / "denoising.png") if trial["state"] == "complete" else ""
        found.append([trial["arm"], trial["seed"], strip])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if not (table["strip"] != "").any():
        return style.blank("no trial of the first seed is complete yet")
    table = table[table["arm"].isin(style.spread(study, list(table["arm"])))]
    columns = 1 if len(table) <= ONE_COLUMN else 2
    rows = -(-len(table) // columns)
    strip = 0.2 + (style.strip_height(list(table["strip"])) - 0.2) / columns
    figure = style.figure(style.DOUBLE, 0.3 + strip * rows)
    panels = figure.subplots(rows, columns, squeeze=False).T.flatten()
    for axes in panels[len(table) :]:
        axes.remove()
    panels = panels[: len(table)]
    for axes, (_, row) in zip(panels, table.iterrows(), strict=True):
        style.show_image(axes, row["strip"], "missing")
        colour = style.arm_style(study)[row["arm"]]["color"]
        axes.set_title(style.arm_label(study, row["arm"]), loc="left", color=colour, pad=2)
    for axes in (panels[rows - 1], panels[-1]):
        axes.set_xlabel(r"pure noise $\rightarrow$ sample")
    return figure


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    all_arms = list(table["arm"])
    table = table[table["arm"].isin(style.spread(study, all_arms))]
    drawn = table[table["strip"] != ""]
    if drawn.empty:
        return "No trial of the first seed is complete yet."
    lacking = len(table) - len(drawn)
    return (
        f"One sample of each of {len(drawn)} arms (training seed {drawn['seed'].iloc[0]}, n = 1 training an arm) on "
        "its way from pure noise (left) to the image (right): above the noisy state x_t, below the image that "
        "the network expects from it. All strips share the condition and the first noise."
        + style.spread_words(study, all_arms)
        + (f" {lacking} arms are missing." if lacking else "")
    )
