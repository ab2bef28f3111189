"""Search history.

Every search trial in the order of its number, by what became of it; the best so far as a line; beside it what baseline
and winner score on fresh seeds, with their t intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plotting import labels, style
from analysis.results import Results
from study.record.schema import Search

PLACE = "answer"
COLUMNS = ["kind", "name", "state", "value", "best", "pruned_at_images", "n", "low", "high"]
STATES: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "color": style.COLOURS[0], "markersize": 4.5},
    "pruned": {"marker": "v", "color": style.COLOURS[4], "markersize": 4.5, "markerfacecolor": "none"},
    "failed": {"marker": "x", "color": style.COLOURS[1], "markersize": 5, "markeredgewidth": 1.3},
    "running": {"marker": "d", "color": style.GREY, "markersize": 4.5, "markerfacecolor": "none"},
}


def applies(results: Results) -> bool:
    return results.study.search is not None


def table(results: Results) -> pd.DataFrame:
    """One row per search trial (kind "search") and per arm on fresh seeds (kind "fresh"), with COLUMNS."""
    sign = -1 if results.smaller_is_better(results.metric) else 1
    found: list[list[Any]] = []
    for trial in (results.study.search or Search()).trials:
        value = np.nan if trial.value is None else trial.value
        pruned = trial.pruned_at_images
        found.append(["search", str(trial.number), trial.state, value, np.nan, pruned, 1, np.nan, np.nan])
    mean = results.means(results.metric)
    for index, arm in enumerate(results.arms):
        of_arm = [mean.n[index], mean.low[index], mean.high[index]]
        found.append(["fresh", arm, "", mean.mean[index], np.nan, None, *of_arm])
    gathered = pd.DataFrame(found, columns=COLUMNS)
    searched = gathered["kind"] == "search"
    complete = gathered["value"].where(gathered["state"] == "complete")[searched]
    gathered["best"] = sign * (sign * complete).cummax().ffill()
    return gathered


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "" if (table["kind"] == "search").any() else "No search trial has begun yet."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    figure = style.figure(style.DOUBLE, 2.8)
    history, fresh = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
    _history(history, table[table["kind"] == "search"])
    history.set(xlabel="search trial", ylabel=labels.plain(results.metric))
    _fresh(fresh, table[table["kind"] == "fresh"], results)
    lines, names = history.get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper center", ncols=len(names))
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
    seed = (results.study.search or Search()).search_seed
    text = (
        f"Left: every search trial once (training seed {seed}, n = 1), by state; a pruned trial is drawn at "
        "its last value, a trial without one at the bottom. The line is the best complete trial so far. It can only "
        "improve and is optimistically biased by selection. Right: means with 95 % t intervals on fresh seeds, on "
        "which nothing was chosen"
    )
    scored = [
        f"{row.name} {row.value:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
        for row in fresh.itertuples()
        if row.n
    ]
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    n = f" (n = {fresh['n'].max()})" if scored else ""
    return f"{text}: {'; '.join(scored) or 'none is complete yet'}{n}. {len(trials)} trials: {counts}."
