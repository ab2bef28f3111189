"""Search trials by parameter.

One panel per parameter of the search: the value of every trial that has one against what the parameter was. The shape
of a mark says what became of the trial; a star is the winner.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.figures import search_history
from analysis.plotting import labels, style
from analysis.results import Results
from analysis.tables import search as search_table
from runners.experiment import metric_name

COLUMNS = ["trial", "state", "value", "winner"]  # and one column per parameter
SPAN = 4  # the largest value over the smallest from which a continuous parameter has a logarithmic axis
MOST_PANELS = 12
ACROSS = 3  # panels in a line
WINNER: dict[str, Any] = {
    "marker": "*",
    "linestyle": "",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 1.0,
    "label": "winner",
}


def applies(results: Results) -> bool:
    return search_history.applies(results)


def table(results: Results) -> pd.DataFrame:
    """One row per search trial with COLUMNS and one column per parameter, NaN or None where a trial has no such one."""
    found = search_table.table(results)
    if found.empty:
        return pd.DataFrame(columns=COLUMNS)
    values = pd.to_numeric(found[results.study.metric])
    searched = found.drop(columns=["trial", "state", results.study.metric, "pruned at images", "chosen"])
    known = {"trial": found["trial"], "state": found["state"], "value": values, "winner": found["chosen"] == "winner"}
    return pd.DataFrame(known).join(searched)


def parameters(table: pd.DataFrame) -> list[str]:
    """The searched fields of which two values were tried, in the order of the space."""
    return [name for name in table.columns if name not in COLUMNS and table[name].dropna().nunique() > 1]


def is_number(column: pd.Series) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in column.dropna())


def is_log(column: pd.Series) -> bool:
    """Whether the values look searched by their logarithm: positive, wide apart, and no raster of equal steps."""
    values = np.unique(column.dropna().to_numpy(dtype=np.float64))
    if len(values) < 3 or values[0] <= 0 or values[-1] < SPAN * values[0]:
        return False
    steps = (values - values[0]) / np.diff(values).min()
    return not (np.allclose(steps, np.round(steps)) and steps[-1] < 100) or np.allclose(np.diff(np.log(values), 2), 0)


def lacking(table: pd.DataFrame, results: Results) -> str:
    if results.study.search is None:
        return "The study is no search."
    return "No search trial has a value yet." if not parameters(table) or table["value"].isna().all() else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    names = parameters(table)[:MOST_PANELS]
    lines = -(-len(names) // ACROSS)
    figure = style.figure(style.DOUBLE, 0.3 + 1.85 * lines)
    panels = figure.subplots(lines, min(ACROSS, len(names)), sharey=True, squeeze=False).flat
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, table, name)
    for axes in list(panels)[len(names) :]:
        axes.set_visible(False)
    for axes in figure.axes[::ACROSS]:
        axes.set_ylabel(labels.plain(metric_name(results.study.metric)))
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return figure


def _panel(axes: Axes, table: pd.DataFrame, name: str) -> None:
    numeric = is_number(table[name])
    levels = [] if numeric else _levels(table[name])
    x = table[name].astype(float) if numeric else _places(table, name, levels)
    for state, usual in search_history.STATES.items():
        look = usual | {"markersize": 4, "linestyle": "", "label": state}
        of_state = table["state"] == state
        if table.loc[of_state, "value"].notna().any():
            axes.plot(x[of_state], table.loc[of_state, "value"], **look)
    if table["winner"].any():
        axes.plot(x[table["winner"]], table.loc[table["winner"], "value"], **WINNER)
    axes.set_xlabel(labels.plain(name))
    if levels:
        words = labels.short_names(levels, 18)
        slanted = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
        crowded = sum(map(len, words.values())) > 26
        axes.set_xticks(range(len(levels)), words.values(), **(slanted if crowded else {}))
        axes.set_xlim(-0.6, len(levels) - 0.4)
        axes.grid(False, axis="x")
    elif is_log(table[name]):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if x.max() < 30 * x.min() else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _levels(column: pd.Series) -> list[Any]:
    return list(dict.fromkeys(column.dropna()))


def _places(table: pd.DataFrame, name: str, levels: list[Any]) -> pd.Series:
    """The level's number, moved sideways by the trial's place in time: equal choices do not cover each other."""
    aside = 0.5 * (table["trial"] / max(table["trial"].max(), 1) - 0.5)
    return table[name].map({level: index for index, level in enumerate(levels)}).astype(float) + aside


def caption(table: pd.DataFrame, results: Results) -> str:
    names = parameters(table)
    text = (
        f"Each mark is one search trial (one training and one sampling, n = {int(table['value'].notna().sum())} with a "
        "value), pruned ones at their last value. The other parameters differ from mark to mark, and the search comes "
        "back to what did well, so a slope here is not the effect of one parameter alone. Categories are spread "
        "sideways in the order of the trials; an axis is logarithmic where its values look log-spaced."
    )
    if len(names) > MOST_PANELS:
        text += f" Only {MOST_PANELS} of {len(names)} parameters are drawn."
    winner = table[table["winner"]]
    if winner.empty:
        return text + " There is no winner yet." if "running" in set(table["state"]) else text
    settings = ", ".join(f"{name} = {_short(winner.iloc[0][name])}" for name in names)
    return f"{text} The star is the winner, trial {winner.iloc[0]['trial']}: {settings}."


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
