"""Accuracy of two crossed factors.

One panel per list, one cell per combination of the two: the mean over seeds, written on the cell. The cell that would
be chosen on the validation list is framed; combinations outside the design are hatched.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.plotting import heat, labels, style
from analysis.results import Results

PLACE = "answer"
COLUMNS = ["list", "arm", "row", "column", "n", "planned", "mean", "low", "high", "chosen"]
COLOURS = matplotlib.colormaps["cividis"]  # Nunez et al. 2018: even steps, the same for colour-blind readers
NARROW = 18  # letters under a panel that takes a quarter of the page
MOST_CELLS = 12  # in a row that leave room for their numbers

Cells = dict[tuple[Any, Any], str]


def applies(results: Results) -> bool:
    """Two factors, and two values of one of them that each stand in several cells: more than a line and a branch."""
    if len(results.study.factors) != 2 or results.study.search:
        return False
    _, _, cells = _design(results)
    counts = [Counter(cell[side] for cell in cells).values() for side in (0, 1)]
    return any(sum(count > 1 for count in side) > 1 for side in counts)


def title(results: Results) -> str:
    return f"{labels.score(results, True)} of two crossed factors"


def table(results: Results) -> pd.DataFrame:
    """One row per list and cell of the design with COLUMNS; n is 0 and the mean NaN where no trial is complete."""
    if not applies(results):
        return pd.DataFrame(columns=COLUMNS)
    _, _, cells = _design(results)
    best = results.chosen({"": results.arms}).get("")
    place = {arm: index for index, arm in enumerate(results.arms)}
    found = []
    for name in results.lists or results.all_lists:
        mean = results.means(results.score.on(name))
        for (row, column), arm in cells.items():
            index = place[arm]
            of_arm = [mean.n[index], len(results.seeds), mean.mean[index], mean.low[index], mean.high[index]]
            found.append([name, arm, row, column, *of_arm, arm == best])
    gathered = pd.DataFrame(found, columns=COLUMNS)
    scored = gathered.groupby("list")["n"].transform("sum") > 0
    return gathered[scored | ~scored.any()]


def _design(results: Results) -> tuple[list[Any], list[Any], Cells]:
    """Values down, values across (numbers ascending, words as the study lists them), and cell -> its first arm."""
    cells: Cells = {}
    for arm, (down, across) in results.settings_of(list(results.study.factors)).items():
        cells.setdefault((down, across), arm)
    sides = [list(dict.fromkeys(cell[side] for cell in cells)) for side in (0, 1)]
    down, across = (sorted(values) if _are_numbers(values) else values for values in sides)
    return down, across, cells


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "The study crosses no two factors."
    return "" if (table["n"] > 0).any() else "No trial is complete yet."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    down, across, _ = _design(results)
    lists = list(table["list"].unique())
    words = list(labels.short_names(across).values())
    letters = max(map(len, words)) * len(across)
    many = 4 if letters <= NARROW else 2  # panels side by side
    lines = -(-len(lists) // many)
    figure = style.figure(style.DOUBLE, 0.5 + lines * (0.45 + min(max(0.3 * len(down), 0.5), 5.5)))
    panels = figure.subplots(lines, min(many, len(lists)), squeeze=False)
    scale = Normalize(table["mean"].min(), table["mean"].max())
    for place, (axes, name) in enumerate(itertools.zip_longest(panels.flat, lists)):
        if name is None:
            axes.set_visible(False)
            continue
        _panel(axes, table[table["list"] == name], down, across, scale)
        axes.set_title(name)
        if place % many == 0:
            axes.set_yticks(np.arange(len(down)) + 0.5, list(labels.short_names(down).values()), rotation=0)
    slanted = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if letters > 2.5 * NARROW else {"rotation": 0}
    for axes in panels[-1]:
        axes.set_xticks(np.arange(len(across)) + 0.5, words, **slanted)
    names = [labels.plain(name) for name in results.study.factors]
    figure.supylabel(names[0], fontsize=8)
    figure.supxlabel(names[1], fontsize=8)
    shades, label = ScalarMappable(scale, COLOURS), f"mean {labels.score(results)}"
    bar = figure.colorbar(shades, ax=panels, label=label, pad=0.01, aspect=25, fraction=0.05)
    bar.outline.set_visible(False)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, down: list[Any], across: list[Any], scale: Normalize) -> None:
    """Cell (row, column) has its middle at (column + .5, row + .5); what the design leaves out is hatched."""
    x, y = ({value: place for place, value in enumerate(side)} for side in (across, down))
    values = np.full((len(down), len(across)), np.nan)
    words = np.full(values.shape, "", dtype=object)
    planned = np.zeros(values.shape, dtype=bool)
    numbers = len(across) <= MOST_CELLS
    for cell in table.itertuples():
        at = y[cell.row], x[cell.column]
        values[at], planned[at] = cell.mean, True
        words[at] = _words(cell) if numbers else ""
    heat.cells(axes, values, words, COLOURS, scale, fontsize=7)
    for text in axes.texts:
        text.set_fontsize(5.5 if "\n" in text.get_text() else 7)
    for (row, column), inside in np.ndenumerate(planned):
        if not inside:
            hatched = {"facecolor": "white", "edgecolor": "0.8", "hatch": "////", "linewidth": 0}
            axes.add_patch(Rectangle((column, row), 1, 1, zorder=0, **hatched))
        elif numbers and np.isnan(values[row, column]):
            axes.text(column + 0.5, row + 0.5, "n = 0", ha="center", va="center", fontsize=5.5)
    for cell in table[table["chosen"]].itertuples():
        ink = style.ink_on(tuple(COLOURS(scale(cell.mean))))
        corner = (x[cell.column] + 0.06, y[cell.row] + 0.1)
        axes.add_patch(Rectangle(corner, 0.88, 0.8, fill=False, edgecolor=ink, linewidth=1.2))


def _words(cell: Any) -> str:
    """`.72`, with n under it where seeds are lacking."""
    return heat.short_share(cell.mean) + (f"\nn = {cell.n}" if cell.n < cell.planned else "")


def caption(table: pd.DataFrame, results: Results) -> str:
    chosen_on = results.list_of(results.selection)
    text = (
        f"Each number is the mean over training seeds (n = {table['n'].max()}, else it is written under it); hatched "
        "combinations are not in the design, white cells have no complete trial. Compare two cells by their paired "
        "difference, in the tables, not by their colours. "
    )
    best = table[table["chosen"]]
    if best.empty:
        return text + "No best cell is marked: the grid is incomplete."
    scores = [
        f"{row.list} {row.mean:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
        for row in best.itertuples()
    ]
    sides = zip(results.study.factors, best.iloc[0][["row", "column"]], strict=True)
    cell = ", ".join(f"{name} = {value}" for name, value in sides)
    return text + (
        f"Framed in every panel: the best of {table['arm'].nunique()} on {chosen_on}, {cell}: {', '.join(scores)}. "
        f"The framed number on {chosen_on} itself is optimistically biased by selection; where the cells differ in "
        "training the other lists share it, less, because they share the trainings."
    )
