"""Same noise, same condition, every arm.

The first eight conditions of the test list (columns) sampled by the first seed of every arm (rows). Every image
of a column started from the same noise, so what differs down a column is the arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import style
from runners.process.files import read_json
from study.record import reader

PLACE = "pictures"
LIST = "test"
CONDITIONS = 8
COLUMNS = ["arm", "seed", "index", "condition", "image"]


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm and condition, with COLUMNS; `image` is a PNG's path, empty for a trial that is not complete."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    first = rows[rows["seed"] == study["seeds"][0]]
    found = []
    for _, trial in first.iterrows():
        folder, complete = Path(trial["folder"]), trial["state"] == "complete"
        labels = _labels(folder)
        for index in range(CONDITIONS):
            image = str(folder / "images" / LIST / f"{index}.png") if complete else ""
            found.append([trial["arm"], trial["seed"], index, labels.get(index, f"{LIST} {index}"), image])
    return pd.DataFrame(found, columns=COLUMNS)


def _labels(folder: Path) -> dict[int, str]:
    """Position in the list -> its condition, one label a line, from the trial's conditions.json where there is one."""
    if not (folder / "conditions.json").is_file():
        return {}
    conditions = read_json(folder / "conditions.json").get(LIST, [])
    return {index: "\n".join(map(str, labels)) for index, labels in enumerate(conditions)}


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if not (table["image"] != "").any():
        return style.blank("no trial of the first seed is complete yet")
    arms = style.spread(study, list(table["arm"].unique()))
    figure = style.figure(style.DOUBLE, 0.35 + 1.03 * len(arms))
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
    panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
    for axes, arm in zip(panels, arms, strict=True):
        centres = style.show_row(axes, list(table.loc[table["arm"] == arm, "image"]), "missing")
        axes.set_title(style.arm_label(study, arm), loc="left", pad=2, color=style.arm_style(study)[arm]["color"])
    # A trial that is not complete knows no conditions: the labels come from one that does.
    labels = table.sort_values("image", ascending=False).drop_duplicates("index").sort_values("index")["condition"]
    panels[-1].set_xticks(centres, [style.plain(label) for label in labels], fontsize=6)
    panels[-1].tick_params(length=0, pad=2)
    return figure


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    all_arms = list(table["arm"].unique())
    table = table[table["arm"].isin(style.spread(study, all_arms))]
    drawn = table[table["image"] != ""]
    if drawn.empty:
        return "No trial of the first seed is complete yet."
    lacking = table["arm"].nunique() - drawn["arm"].nunique()
    return (
        f"Rows are the {table['arm'].nunique()} arms, columns the first {CONDITIONS} conditions of the {LIST} list. "
        f"All images of a column began with the same noise (training seed {drawn['seed'].iloc[0]}, n = 1 training an "
        "arm): look down a column. Eight images illustrate; they measure nothing."
        + style.spread_words(study, all_arms)
        + (f" {lacking} arms are missing." if lacking else "")
    )
