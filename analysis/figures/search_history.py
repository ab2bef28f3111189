"""Search history.

Every search trial in the order of its number, the best so far, and what baseline and winner score on fresh seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

PLACE = "answer"
COLUMNS = ["kind", "name", "state", "value", "best", "pruned_at_images", "n", "low", "high"]
STATES: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "color": style.COLOURS[0], "markersize": 4.5},
    "pruned": {"marker": "v", "color": style.COLOURS[4], "markersize": 4.5, "markerfacecolor": "none"},
    "failed": {"marker": "x", "color": style.COLOURS[1], "markersize": 5, "markeredgewidth": 1.3},
    "running": {"marker": "d", "color": style.GREY, "markersize": 4.5, "markerfacecolor": "none"},
}


def applies(study: Mapping[str, Any]) -> bool:
    return bool(study.get("search"))


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a search trial (kind "search") and an arm on fresh seeds (kind "fresh"), with COLUMNS."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    metric, sign = study["metric"], -1 if study["metric"].startswith(tables.SMALLER_IS_BETTER) else 1
    found = []
    for trial in (study.get("search") or {}).get("trials", []):
        value = np.nan if trial.get("value") is None else float(trial["value"])
        pruned = trial.get("pruned_at_images")
        found.append(["search", str(trial["number"]), trial["state"], value, np.nan, pruned, 1, np.nan, np.nan])
    mean = intervals.means(tables.values(rows, study, metric))
    for index, arm in enumerate(study["arms"]):
        of_arm = [mean.n[index], mean.low[index], mean.high[index]]
        found.append(["fresh", arm, "", mean.mean[index], np.nan, None, *of_arm])
    gathered = pd.DataFrame(found, columns=COLUMNS)
    searched = gathered["kind"] == "search"
    complete = gathered["value"].where(gathered["state"] == "complete")[searched]
    gathered["best"] = sign * (sign * complete).cummax().ffill()
    return gathered


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    trials = table[table["kind"] == "search"]
    if trials.empty:
        return style.blank("no search trial has begun yet")
    figure = style.figure(style.DOUBLE, 2.8)
    history, fresh = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
    _history(history, trials)
    history.set(xlabel="search trial", ylabel=style.plain(study["metric"]))
    _fresh(fresh, table[table["kind"] == "fresh"], study)
    lines, labels = history.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=len(labels))
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


def _fresh(axes: Axes, arms: pd.DataFrame, study: Mapping[str, Any]) -> None:
    looks = style.arm_style(study)
    for index, row in enumerate(arms.itertuples()):
        colour = looks[str(row.name)]["color"]
        if np.isfinite(row.low):
            axes.plot([index, index], [row.low, row.high], color=colour, linewidth=1.4)
        axes.plot(index, row.value, looks[str(row.name)]["marker"], color=colour, markersize=5)
    axes.set_xticks(range(len(arms)), [style.plain(name) for name in arms["name"]])
    axes.set_xlim(-0.7, len(arms) - 0.3)
    axes.set_title("fresh seeds")
    axes.grid(False, axis="x")


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    trials, fresh = table[table["kind"] == "search"], table[table["kind"] == "fresh"]
    if trials.empty:
        return "No search trial has begun yet."
    seed = study["search"].get("search_seed", 0)
    text = (
        f"Left: every search trial once (training seed {seed}, n = 1), by what became of it; a pruned trial stands at "
        "its last value, a trial without a value at the foot. The line is the best complete trial so far: it can only "
        "improve, whatever the search does, because it is the best of ever more noisy numbers. Right: means with 95 % "
        "t intervals on seeds that chose nothing"
    )
    scored = [
        f"{row.name} {row.value:.3f}" + (f" [{row.low:.3f}, {row.high:.3f}]" if np.isfinite(row.low) else "")
        for row in fresh.itertuples()
        if row.n
    ]
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    n = f" (n = {fresh['n'].max()})" if scored else ""
    return f"{text}: {'; '.join(scored) or 'none is complete yet'}{n}. {len(trials)} trials: {counts}."
