"""Recorded pictures of the arms: where they lie, and how a page of them is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from analysis.plotting import style
from study.record import reader

Study = Mapping[str, Any]
ONE_COLUMN = 6  # strips across the page; more are drawn at half the size
NOT_RECORDED = "Not recorded by these trials: an older version ran them."


def of_first_seed(
    study_id: str, record: Path, files: Mapping[str, str], results: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """One row an arm: arm, seed, folder, a column for each of `files` (column -> name in the trial's folder) and of
    `results` (column -> name in the record).

    Paths are empty and results NaN for a trial that is not complete.
    """
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    first = rows[rows["seed"] == study["seeds"][0]]
    found = []
    for _, row in first.iterrows():
        complete = row["state"] == "complete"
        trial = {"arm": row["arm"], "seed": row["seed"], "folder": row["folder"] if complete else ""}
        trial |= {column: str(Path(row["folder"]) / file) if complete else "" for column, file in files.items()}
        found.append(trial | {column: row.get(name, np.nan) for column, name in (results or {}).items()})
    return pd.DataFrame(found, columns=["arm", "seed", "folder", *files, *(results or {})])


def recorded(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether any of the pictures is there."""
    return any(path and Path(path).is_file() for column in columns for path in table[column])


def nothing(table: pd.DataFrame) -> str:
    """The sentence for a page on which no picture would be."""
    return NOT_RECORDED if (table["folder"] != "").any() else "No trial of the first seed is complete yet."


def sheet(
    table: pd.DataFrame, study: Study, columns: Sequence[str], across: int, below: float = 0.0
) -> tuple[Figure, dict[str, list[Axes]]]:
    """A page with `across` arms a row, each with its pictures side by side under its name: the figure, arm -> axes.

    `below`: inches that a row needs for words under its pictures; the last row has room for one line. More arms than
    a page takes are thinned by `style.spread`.
    """
    table = table[table["arm"].isin(style.spread(study, list(table["arm"])))]
    across = min(across, len(table))
    rows, side_by_side = -(-len(table) // across), across * len(columns)
    names = {arm: style.wrapped(style.arm_label(study, arm), round(118 / across)) for arm in table["arm"]}
    title = 0.14 * max(1 + name.count("\n") for name in names.values()) + 0.04
    # A single tall picture across the whole page would be a poster.
    picture = min(0.96 * style.DOUBLE / side_by_side * _aspect(table, columns), 4.5)
    figure = style.figure(style.DOUBLE, rows * (picture + title + below) + 0.2)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    panels = figure.subplots(rows, side_by_side, squeeze=False).reshape(rows * across, len(columns))
    for unused in panels[len(table) :].flatten():
        unused.remove()
    for axes_of_arm, (_, row) in zip(panels, table.iterrows(), strict=False):
        for axes, column in zip(axes_of_arm, columns, strict=True):
            style.show_image(axes, row[column], "not recorded" if row[column] else "missing")
        axes_of_arm[0].set_title(" " + "\n" * names[row["arm"]].count("\n"), pad=4)  # keeps the lines free
        # In the layout a name as wide as several pictures would push them apart.
        above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
        label = axes_of_arm[0].annotate(names[row["arm"]], (0, 1), (0, 2), **above)
        label.set(color=style.arm_style(study)[row["arm"]]["color"], in_layout=False)
    return figure, {arm: list(panels[index]) for index, arm in enumerate(names)}


def strips(table: pd.DataFrame, study: Study, below: str) -> Figure:
    """A page of the column `strip`, a strip an arm, with the words `below` under the last one."""
    if not recorded(table, ["strip"]):
        return style.blank(nothing(table))
    figure, panels = sheet(table, study, ["strip"], 1 if len(table) <= ONE_COLUMN else 2)
    list(panels.values())[-1][0].set_xlabel(below)
    return figure


def _aspect(table: pd.DataFrame, columns: Sequence[str]) -> float:
    """Height / width of the first picture that exists; 1 without one."""
    for column in columns:
        for path in table[column]:
            if path and Path(path).is_file():
                height, width = imread(path).shape[:2]
                return float(height / width)
    return 1.0


def words(table: pd.DataFrame, study: Study, columns: Sequence[str], text: str) -> str:
    """A caption: `text` (with {arms}, their number, and {seed} in it), how many arms are drawn and missing."""
    if not recorded(table, columns):
        return nothing(table)
    all_arms = list(table["arm"])
    table = table[table["arm"].isin(style.spread(study, all_arms))]
    drawn = table[table["folder"] != ""]
    absent = len(table) - len(drawn)
    return (
        text.format(arms=len(drawn), seed=f"training seed {drawn['seed'].iloc[0]}, n = 1 training an arm")
        + style.spread_words(study, all_arms)
        + (f" {absent} arms are missing." if absent else "")
    )
