"""Search history.

Every search trial in the order of its number, by what became of it; the best so far as a line; beside it the finalists,
where they were searched and on the seeds that chose the winner, and baseline and winner on seeds that chose nothing,
with their t intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.narrative import search as search_text
from analysis.plotting import labels, style
from analysis.results import Results
from analysis.stats import intervals
from analysis.tables import search as search_table
from runners.experiment import metric_name

PLACE = "answer"
COLUMNS = ["kind", "name", "state", "value", "best", "pruned_at_images", "n", "low", "high", "searched"]
STATES: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "color": style.COLOURS[0], "markersize": 4.5},
    "pruned": {"marker": "v", "color": style.COLOURS[4], "markersize": 4.5, "markerfacecolor": "none"},
    "failed": {"marker": "x", "color": style.COLOURS[1], "markersize": 5, "markeredgewidth": 1.3},
    "running": {"marker": "d", "color": style.GREY, "markersize": 4.5, "markerfacecolor": "none"},
}


def applies(results: Results) -> bool:
    return results.study.search is not None


def table(results: Results) -> pd.DataFrame:
    """One row per search trial (kind "search"), per finalist ("finalist") and per arm on seeds that chose nothing
    ("fresh"), with COLUMNS, all in the score that is chosen by.

    `searched` is a finalist's score where it was searched.
    """
    metric = results.study.metric
    sign = -1 if results.smaller_is_better(metric) else 1
    found: list[list[Any]] = []
    for trial in search_table.search_of(results).trials:
        value = np.nan if trial.value is None else trial.value
        pruned = trial.pruned_at_images
        found.append(["search", str(trial.number), trial.state, value, np.nan, pruned, 1, np.nan, np.nan, np.nan])
    found += _finalists(results)
    mean = results.means(metric)
    for index, arm in enumerate(results.arms):
        of_arm = [mean.n[index], mean.low[index], mean.high[index], np.nan]
        found.append(["fresh", arm, "", mean.mean[index], np.nan, None, *of_arm])
    gathered = pd.DataFrame(found, columns=COLUMNS)
    searched = gathered["kind"] == "search"
    complete = gathered["value"].where(gathered["state"] == "complete")[searched]
    gathered["best"] = sign * (sign * complete).cummax().ffill()
    return gathered


def _finalists(results: Results) -> list[list[Any]]:
    """Rows of the finalists, in the order of the table of finalists."""
    again = search_table.finalists(results)
    scores = again[[name for name in again.columns if name.startswith("seed ")]].to_numpy(dtype=np.float64)
    rows = []
    for row, values in zip(again.itertuples(), scores, strict=True):
        low, high = intervals.t_interval(values) if row.n == row.planned else (np.nan, np.nan)
        rows.append(["finalist", str(row.trial), row.chosen, row.mean, np.nan, None, row.n, low, high, row.searched])
    return rows


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "" if (table["kind"] == "search").any() else "No search trial has begun yet."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    figure = style.figure(style.DOUBLE, 3.0)
    parts = {kind: table[table["kind"] == kind] for kind in ("search", "finalist", "fresh")}
    again = len(parts["finalist"]) > 0
    widths = [3.6, 0.6 + 0.22 * len(parts["finalist"]), 1.3] if again else [4.0, 1.0]
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    _history(panels[0], parts["search"])
    panels[0].set(xlabel="search trial", ylabel=labels.plain(metric_name(results.study.metric)))
    if again:
        _again(panels[1], parts["finalist"])
    _fresh(panels[-1], parts["fresh"], results)
    handles = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    if again:
        handles |= dict(zip(*reversed(panels[1].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(len(handles), 4))
    return figure


def _history(axes: Axes, trials: pd.DataFrame) -> None:
    x = trials["name"].astype(int)
    for state, look in STATES.items():
        valued = trials[(trials["state"] == state) & trials["value"].notna()]
        without = trials[(trials["state"] == state) & trials["value"].isna()]
        if len(valued):
            axes.plot(x[valued.index], valued["value"], linestyle="", label=state, **look)
        # A trial without a value has its place in the order, on the axis.
        label = None if len(valued) else f"{state} (no value)"
        if len(without):
            foot = axes.get_xaxis_transform()
            axes.plot(x[without.index], [0.03] * len(without), linestyle="", transform=foot, label=label, **look)
    if trials["best"].notna().any():
        axes.step(x, trials["best"], where="post", color="black", linewidth=1, label="best so far", zorder=1)
    axes.set_xlim(x.min() - 0.8, x.max() + 0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _again(axes: Axes, finalists: pd.DataFrame) -> None:
    """Each finalist's score where it was searched, and its mean on the seeds that chose; the winner as a star."""
    x = np.arange(len(finalists))
    look = STATES["complete"] | {"linestyle": "", "markerfacecolor": "none"}
    axes.plot(x - 0.15, finalists["searched"], label="where it was searched", **look)
    for place, row in zip(x + 0.15, finalists.itertuples(), strict=True):
        if np.isfinite(row.low):
            axes.plot([place, place], [row.low, row.high], color="black", linewidth=1.2)
    won = (finalists["state"] == "winner").to_numpy()
    marks = {"mean on the choosing seeds": (~won, "s", 4.0), "winner there": (won, "*", 9.0)}
    for label, (chosen, marker, size) in marks.items():
        if chosen.any():
            means = finalists["value"][chosen]
            axes.plot(x[chosen] + 0.15, means, marker, color="black", markersize=size, label=label)
    axes.set_xticks(x, finalists["name"])
    axes.set_xlim(-0.7, len(finalists) - 0.3)
    axes.set(xlabel="finalist", title="chosen again")
    axes.grid(False, axis="x")


def _fresh(axes: Axes, arms: pd.DataFrame, results: Results) -> None:
    looks = style.looks(results.arms)
    for index, row in enumerate(arms.itertuples()):
        look = looks[str(row.name)]
        if np.isfinite(row.low):
            axes.plot([index, index], [row.low, row.high], color=look.colour, linewidth=1.4)
        axes.plot(index, row.value, look.marker, color=look.colour, markersize=5)
    axes.set_xticks(range(len(arms)), [labels.plain(name) for name in arms["name"]])
    axes.set_xlim(-0.7, len(arms) - 0.3)
    axes.set_title("fresh seeds")
    axes.grid(False, axis="x")


def caption(table: pd.DataFrame, results: Results) -> str:
    trials, fresh = table[table["kind"] == "search"], table[table["kind"] == "fresh"]
    again, search = table[table["kind"] == "finalist"], search_table.search_of(results)
    text = (
        f"Left: every search trial once (training seed {search.search_seed}, n = 1), by state; a pruned trial is drawn "
        "at its last value, a trial without one at the bottom. The line is the best complete trial so far. It can only "
        "improve and is optimistically biased by selection."
    )
    if len(again):
        text += (
            f" Middle: the {len(again)} best again on {search_text.seeds(search.selection_seeds)}, means with 95 % t "
            "intervals beside the scores that made them finalists; the best mean is the winner, a star."
        )
    scored = [
        f"{row.name} {row.value:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
        for row in fresh.itertuples()
        if row.n
    ]
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    n = f" (n = {fresh['n'].max()})" if scored else ""
    text += (
        f" Right: means with 95 % t intervals on fresh seeds, on which nothing was chosen: "
        f"{'; '.join(scored) or 'none is complete yet'}{n}. {len(trials)} trial{'s' * (len(trials) != 1)}: {counts}."
    )
    if results.metric != results.study.metric:
        text += f" The answer is about another list, {metric_name(results.metric)}."
    return text
