"""Search trials in parallel coordinates.

One vertical axis per parameter of the search and one of the value; one line per trial, coloured by its value. Trials
that were stopped early are dashed, the winner is thick.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import search_slices
from analysis.plotting import axes as shared
from analysis.plotting import labels, style
from analysis.results import Results
from runners.experiment import metric_name

DARK_IS_LARGE, DARK_IS_SMALL = matplotlib.colormaps["cividis_r"], matplotlib.colormaps["cividis"]
MOST_AXES = 8


def applies(results: Results) -> bool:
    return search_slices.applies(results)


def table(results: Results) -> pd.DataFrame:
    """As of `search_slices`: one row per search trial, one column per parameter."""
    return search_slices.table(results)


def lacking(table: pd.DataFrame, results: Results) -> str:
    return search_slices.lacking(table, results)


def draw(table: pd.DataFrame, results: Results) -> Figure:
    names, metric = search_slices.parameters(table)[:MOST_AXES], results.study.metric
    shown = table[table["value"].notna()].sort_values("value", kind="stable")
    figure = style.figure(style.DOUBLE, 3.0)
    axes = figure.subplots()
    heights = np.stack([_height(axes, place, table, name)[shown.index] for place, name in enumerate(names)], axis=1)
    complete = shown.loc[shown["state"] == "complete", "value"]
    scale = Normalize(complete.min(), complete.max()) if len(complete) else Normalize()
    value = _height(axes, len(names), table, "value")[shown.index]
    points = np.concatenate([heights, value[:, None]], axis=1)
    colours = DARK_IS_SMALL if results.smaller_is_better(metric) else DARK_IS_LARGE
    _lines(axes, points, shown, scale, colours)
    axes.set_xticks(range(len(names) + 1), [*(labels.plain(name) for name in names), labels.plain(metric_name(metric))])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set(xlim=(-0.1, len(names) + 0.35), ylim=(-0.04, 1.04), yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)
    shades = matplotlib.cm.ScalarMappable(scale, colours)
    bar = figure.colorbar(shades, ax=axes, label=labels.plain(metric_name(metric)), pad=0.01, aspect=30, fraction=0.04)
    bar.outline.set_visible(False)
    return figure


def _height(axes: Axes, place: int, table: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    """Where each trial crosses the axis at `place`, from 0 to 1; draws that axis and its labels."""
    axes.axvline(place, color="0.35", linewidth=0.8, zorder=3)
    if search_slices.is_number(table[name]):
        change = np.log if name != "value" and search_slices.is_log(table[name]) else np.asarray
        values = change(table[name].to_numpy(dtype=np.float64))
        low, high = np.nanmin(values), np.nanmax(values)
        ticks = _ticks(table[name], change is np.log)
        at, words = (change(np.array(ticks)) - low) / max(high - low, 1e-12), [f"{tick:g}" for tick in ticks]
        heights = (values - low) / max(high - low, 1e-12)
    else:
        levels = list(dict.fromkeys(table[name].dropna()))
        at = (np.arange(len(levels)) + 0.5) / len(levels)
        words = list(labels.short_names(levels, 18).values())
        # Trials of one choice are fanned out by their number: a bundle shows how many there are.
        fan = 0.5 * (table["trial"].to_numpy() / max(table["trial"].max(), 1) - 0.5) / len(levels)
        heights = table[name].map(dict(zip(levels, at, strict=True))).to_numpy(dtype=np.float64) + fan
    back = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    for height, word in zip(at, words, strict=True):
        if -0.001 <= height <= 1.001:
            axes.plot([place - 0.012, place + 0.012], [height, height], color="0.35", linewidth=0.8, zorder=4)
            axes.text(place + 0.03, height, word, fontsize=6.5, va="center", zorder=5, bbox=back)
    return np.asarray(heights)


def _ticks(column: pd.Series, log: bool) -> list[float]:
    """A few values to name on the axis; those that were tried where there are few."""
    values = np.unique(column.dropna().to_numpy(dtype=np.float64))
    if len(values) <= 10:
        return [float(value) for value in values]
    if not log:
        return [float(tick) for tick in MaxNLocator(5).tick_values(values[0], values[-1])]
    return [tick for tick in shared.ticks_1_2_5(values[0], values[-1]) if values[0] <= tick <= values[-1]]


def _lines(axes: Axes, points: np.ndarray[Any, Any], shown: pd.DataFrame, scale: Normalize, colours: Colormap) -> None:
    """Complete trials in the colour of their value, the largest on top; the others faint; the winner thick."""
    x = np.arange(points.shape[1])
    paths = [np.column_stack([x, row]) for row in points]
    complete = (shown["state"] == "complete").to_numpy()
    faint = [path for path, whole in zip(paths, complete, strict=True) if not whole]
    axes.add_collection(LineCollection(faint, colors="0.7", linewidths=0.6, linestyles="--", zorder=1))
    whole = [path for path, whole in zip(paths, complete, strict=True) if whole]
    of_value = colours(scale(shown["value"].to_numpy()))
    axes.add_collection(LineCollection(whole, colors=of_value[complete], linewidths=1.0, zorder=2))
    for index in np.flatnonzero(shown["winner"].to_numpy()):
        axes.plot(x, points[index], color=of_value[index], linewidth=3.5, zorder=2.5)


def caption(table: pd.DataFrame, results: Results) -> str:
    names, shown = search_slices.parameters(table), table[table["value"].notna()]
    others = int((shown["state"] != "complete").sum())
    text = (
        f"One line per search trial (n = {len(shown)} with a value, one training each), from its parameters on the "
        f"left to its {metric_name(results.study.metric)} on the right, in the colour of that value; {others} that "
        "were stopped "
        "early are dashed in grey. Numeric axes increase upwards; an axis is logarithmic where its values look "
        "log-spaced. Categories are spread out in the order of the trials."
    )
    if len(names) > MOST_AXES:
        text += f" Only {MOST_AXES} of {len(names)} parameters are drawn."
    winner = shown[shown["winner"]]
    if len(winner):
        value = f"{winner.iloc[0]['value']:.3f} where it was searched"
        text += f" The thick line is the winner, trial {winner.iloc[0]['trial']} ({value})."
    return text
