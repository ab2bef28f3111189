"""Axes that several figures share: rows named once, logarithmic ticks, legends above the page, the chance level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from analysis.plotting import style

LINEAR = 5  # largest over smallest value up to which a logarithmic axis would have a tick or none
LEGEND_LINE = 0.16  # inches


# --- legends -----------------------------------------------------------------------------------------


def legend_columns(labels: Sequence[str]) -> int:
    """Columns of a legend that fit the page."""
    return max(1, min(len(labels), 110 // (max(map(len, labels), default=0) + 8)))


def legend_height(labels: Sequence[str]) -> float:
    """Inches that the legend of these labels takes above the page, its title not counted."""
    return LEGEND_LINE * -(-len(labels) // legend_columns(labels))


def legend(figure: Figure | SubFigure, handles: Sequence[Line2D], title: str = "", columns: int = 0) -> None:
    """A legend above all panels, of as many columns as fit (or `columns`); none without handles."""
    if handles:
        columns = columns or legend_columns([str(handle.get_label()) for handle in handles])
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, title=title or None)


def chance_handle() -> Line2D:
    """The chance level in a legend."""
    return Line2D([], [], label="chance", **style.CHANCE)


# --- scales ------------------------------------------------------------------------------------------


def name_rows(panels: Sequence[Axes], labels: Sequence[str], above: float) -> None:
    """Panels side by side with a row per label from the top, `above` rows free; the first one bears the labels.

    The others have no ticks at all: hidden ticks of a shared axis are laid out like visible ones.
    """
    for axes in panels:
        axes.set_yticks([])
        axes.set_ylim(len(labels) - 0.4, -above)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels, linespacing=1.05)


def ticks_1_2_5(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade from `low` to `high`, and of more than three decades the 1 alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    digits = (1, 2, 5) if last - first <= 3 else (1,)
    return [digit * 10.0**power for power in range(first, last + 1) for digit in digits]


def log_y(axes: Axes) -> None:
    """A logarithmic y axis with named ticks, where what is drawn spans enough to have two of them."""
    low, high = axes.dataLim.intervaly
    if not 0 < LINEAR * low < high:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def share_y(panels: Sequence[Axes], table: pd.DataFrame, label: str, is_share: bool) -> None:
    """One y axis for panels side by side, named once: the columns mean, low, high and chance of `table` fit in it."""
    for axes in panels[1:]:
        axes.sharey(panels[0])
        axes.tick_params(labelleft=False)
    limits = limits_of(table[["mean", "low", "high", "chance"]], is_share, 0.03)
    panels[0].set_ylim(*limits)
    panels[0].set_ylabel(label)


def limits_of(values: pd.DataFrame, is_share: bool, rim: float) -> tuple[float, float]:
    """From the smallest to the largest value with `rim` of their distance (at least .1) more; a share leaves [0, 1] by
    no more than the rim, however wide an interval is."""
    numbers = values.to_numpy(dtype=float)
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    margin = rim * max(high - low, 0.1) if is_share else rim * (high - low or abs(high) or 1.0)
    low, high = low - margin, high + margin
    return (max(low, -rim), min(high, 1 + rim)) if is_share else (low, high)


# --- chance ------------------------------------------------------------------------------------------


def chance_line(axes: Axes, level: float, across: bool = True, named: bool = False) -> None:
    """A dotted line at the chance level, of the y axis or (not `across`) of the x axis; nothing for NaN."""
    if not np.isfinite(level):
        return
    (axes.axhline if across else axes.axvline)(level, **style.CHANCE)
    if named:
        where: dict[str, Any] = {"ha": "right", "va": "bottom", "transform": axes.get_yaxis_transform()}
        axes.text(1, level, "chance", color=style.GREY, **where)


def say_in(axes: Axes, text: str) -> None:
    """A word in the middle of an empty panel."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color=style.GREY, transform=axes.transAxes)
