"""Accuracy of two crossed factors.

One panel a list, one cell a combination of the two: the mean over seeds, and the cell that validation would choose.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from runners.ddpm.config import TrialConfig
from study.record import reader

PLACE = "answer"
COLUMNS = ["list", "arm", "row", "column", "n", "planned", "mean", "low", "high", "chosen"]
COLOURS = matplotlib.colormaps["cividis"]  # Nunez et al. 2018: even steps, the same for colour-blind readers
NARROW = 18  # letters under a panel that takes a quarter of the page
MOST_CELLS = 12  # in a row that leave room for their numbers
DARK = 0.179  # relative luminance L where black, (L + .05) / .05, and white, 1.05 / (L + .05), are equally clear


def applies(study: Mapping[str, Any]) -> bool:
    """Two factors, and two values of one of them that each stand in several cells: more than a line and a branch."""
    if len(study.get("factors") or {}) != 2 or study.get("search"):
        return False
    _, _, cells = _design(study)
    counts = [Counter(cell[side] for cell in cells).values() for side in (0, 1)]
    return any(sum(count > 1 for count in side) > 1 for side in counts)


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a list and cell of the design with COLUMNS; n is 0 and the mean NaN where no trial is complete."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    if not applies(study):
        return pd.DataFrame(columns=COLUMNS)
    _, _, cells = _design(study)
    best = tables.chosen(rows, study, {"": list(study["arms"])}).get("")
    found = []
    for name in tables.LISTS:
        array = tables.values(rows, study, f"accuracy/{name}")
        mean = intervals.means(array)
        for (row, column), arm in cells.items():
            index = study["arms"].index(arm)
            of_arm = [mean.n[index], len(array), mean.mean[index], mean.low[index], mean.high[index], arm == best]
            found.append([name, arm, row, column, *of_arm])
    gathered = pd.DataFrame(found, columns=COLUMNS)
    scored = gathered.groupby("list")["n"].transform("sum") > 0
    return gathered[scored | ~scored.any()]


def _design(study: Mapping[str, Any]) -> tuple[list[Any], list[Any], dict[tuple[Any, Any], str]]:
    """Values down, values across (numbers ascending, words as the study lists them), and cell -> its first arm."""
    cells: dict[tuple[Any, Any], str] = {}
    for trial in study["trials"]:
        config = TrialConfig.defaults() | trial["config"]
        down, across = (config[name] for name in study["factors"])
        cells.setdefault((down, across), trial["arm"])
    sides = [list(dict.fromkeys(cell[side] for cell in cells)) for side in (0, 1)]
    down, across = (sorted(values) if _are_numbers(values) else values for values in sides)
    return down, across, cells


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("the study crosses no two factors")
    if not (table["n"] > 0).any():
        return style.blank("no trial is complete yet")
    down, across, _ = _design(study)
    lists = list(table["list"].unique())
    words = style.short_names(across)
    many = 4 if max(map(len, words.values())) * len(across) <= NARROW else 2  # panels side by side
    lines = -(-len(lists) // many)
    figure = style.figure(style.DOUBLE, 0.5 + lines * (0.45 + min(max(0.3 * len(down), 0.5), 5.5)))
    panels = figure.subplots(lines, min(many, len(lists)), squeeze=False, sharex=True, sharey=True)
    scale = Normalize(table["mean"].min(), table["mean"].max())
    for axes, name in itertools.zip_longest(panels.flat, lists):
        if name is None:
            axes.set_visible(False)
            continue
        _panel(axes, table[table["list"] == name], down, across, scale)
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xticks(range(len(across)), words.values())
        if max(map(len, words.values())) * len(across) > 2.5 * NARROW:
            axes.set_xticks(range(len(across)), words.values(), rotation=25, ha="right", rotation_mode="anchor")
    panels[0, 0].set_yticks(range(len(down)), style.short_names(down).values())
    names = [style.plain(name) for name in study["factors"]]
    figure.supylabel(names[0], fontsize=8)
    figure.supxlabel(names[1], fontsize=8)
    shades = matplotlib.cm.ScalarMappable(scale, COLOURS)
    bar = figure.colorbar(shades, ax=panels, label="mean accuracy", pad=0.01, aspect=25, fraction=0.05)
    bar.outline.set_visible(False)
    return figure


def _panel(axes: Axes, cells: pd.DataFrame, down: list[Any], across: list[Any], scale: Normalize) -> None:
    axes.set(xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # What the design leaves out is hatched; cells are laid over it.
    axes.add_patch(
        Rectangle((-0.5, -0.5), len(across), len(down), facecolor="white", edgecolor="0.8", hatch="////", linewidth=0)
    )
    for cell in cells.itertuples():
        x, y = across.index(cell.column), down.index(cell.row)
        colour = to_rgb(COLOURS(scale(cell.mean))) if cell.n else (1.0, 1.0, 1.0)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
        if len(across) <= MOST_CELLS:
            words = [f"{cell.mean:.2f}".replace("0.", ".", 1)] if cell.n else []
            words += [f"n = {cell.n}"] if cell.n < cell.planned else []
            size = 7 if len(words) < 2 else 5.5
            axes.text(x, y, "\n".join(words), color=_ink(colour), ha="center", va="center", fontsize=size)
        if cell.chosen:
            axes.add_patch(Rectangle((x - 0.44, y - 0.4), 0.88, 0.8, fill=False, edgecolor=_ink(colour), linewidth=1.2))


def _ink(colour: tuple[float, float, float]) -> str:
    """Black or white, whichever is read on the sRGB `colour`, by its relative luminance (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return "white" if float(np.dot((0.2126, 0.7152, 0.0722), linear)) < DARK else "black"


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "The study crosses no two factors."
    if not (table["n"] > 0).any():
        return "No trial is complete yet."
    text = (
        f"Each number is the mean over training seeds (n = {table['n'].max()}, else it is written under it); hatched "
        "combinations are not in the design, white cells are without a complete trial. Two cells are compared by "
        "their paired difference, in the tables, and not by their colours. "
    )
    best = table[table["chosen"]]
    if best.empty:
        return text + "No best cell is marked: the grid has holes."
    scores = [
        f"{row.list} {row.mean:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
        for row in best.itertuples()
    ]
    sides = zip(study["factors"], best.iloc[0][["row", "column"]], strict=True)
    cell = ", ".join(f"{name} = {value}" for name, value in sides)
    return text + (
        f"Framed in every panel: the best of {table['arm'].nunique()} on validation, {cell}: {', '.join(scores)}. "
        "The choice flatters validation itself."
    )
