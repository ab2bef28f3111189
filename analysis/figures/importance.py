"""Importance of the factors.

One bar per effect: of a crossed grid its partial omega^2 by analysis of variance, with interval and p; of a search the
share of the variance that its evaluator attributes to it, with the mean (point) and the limit (line) of the shares that
shuffled scores give, and in grey where it is not above that limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.narrative import search as search_text
from analysis.plotting import labels, marks, style
from analysis.results import Results
from analysis.tables import factors
from analysis.tables import search as search_table
from analysis.verdict import probability
from runners.experiment import metric_name

PLACE = "answer"
COLUMNS = ["effect", "kind", "share", "low", "high", "p", "complete", "planned", "null mean", "null limit"]
LOOKS = {"factor": style.COLOURS[0], "interaction": style.COLOURS[5], "noise": "0.7"}


def applies(results: Results) -> bool:
    """A search, or factors of which every combination is an arm."""
    if results.study.search:
        return True
    levels = [len(values) for values in results.study.factors.values()]
    return len(levels) > 1 and min(levels) > 1 and int(np.prod(levels)) == len(results.arms)


def table(results: Results) -> pd.DataFrame:
    """One row per effect with COLUMNS; the share is NaN where an incomplete grid or an unfinished search leaves none.

    The share is that of the evaluator of a search; of a grid it is partial omega^2, from `low` to `high`, and p is
    adjusted over the effects. `complete` and `planned` count trials: those of the grid, or of the search.
    """
    if not applies(results):
        return pd.DataFrame(columns=COLUMNS)
    if search := results.study.search:
        tried = dict.fromkeys(name for trial in search.trials for name in trial.params)
        return _of_search(results, list(tried), [len(search.of("complete")), search.planned or len(search.trials)])
    counts = [len(results.complete), len(results.rows)]
    effects = factors.effects_table(results, results.metric)
    if effects.empty:
        found = [[name, "factor", *[np.nan] * 4, *counts] for name in results.study.factors]
    else:
        sizes = effects[["effect", "omega^2", "omega^2 low", "omega^2 high", "p Holm"]].itertuples(index=False)
        found = [[effect, _kind(effect), *size, *counts] for effect, *size in sizes]
    return pd.DataFrame(found, columns=COLUMNS[:-2]).reindex(columns=COLUMNS)


def _of_search(results: Results, tried: list[str], counts: list[int]) -> pd.DataFrame:
    """One row per parameter; the share is NaN as long as the search is not finished."""
    known, nothing = search_table.importance(results), [np.nan] * 3
    if known.empty:
        found = [[name, "factor", np.nan, *nothing, *counts, np.nan, np.nan] for name in tried]
        return pd.DataFrame(found, columns=COLUMNS)
    below = known["importance"] <= known["null limit"]
    rows = zip(known["parameter"], below, known["importance"], known["null mean"], known["null limit"], strict=True)
    found = [
        [name, "noise" if noise else "factor", share, *nothing, *counts, mean, limit]
        for name, noise, share, mean, limit in rows
    ]
    return pd.DataFrame(found, columns=COLUMNS)


def _kind(effect: str) -> str:
    return "interaction" if " x " in effect else "factor"


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "The study crosses no factors."
    if table["share"].notna().any():
        return ""
    if not table["complete"].max():
        return "No trial is complete yet."
    if results.study.search:
        return "No importance: the search is not finished, or its evaluator found none."
    of_all = f"{table['complete'].iloc[0]} of {table['planned'].iloc[0]} trials are complete"
    if len(results.seeds) < 2 and table["complete"].iloc[0] == table["planned"].iloc[0]:
        return "One training per arm: no effect has a size, because its error cannot be estimated."
    return f"An incomplete grid has no sizes of effects: {of_all}, or the metric never varies."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    figure = style.figure(style.DOUBLE, 0.75 + 0.26 * len(table))
    axes = figure.subplots()
    bars = {"hue": "kind", "palette": LOOKS, "dodge": False, "width": 0.66, "saturation": 1, "legend": False}
    shown = table.assign(row=range(len(table)))
    sns.barplot(shown, x="share", y="row", orient="h", errorbar=None, linewidth=0, ax=axes, **bars)
    marks.intervals(axes, table["low"], table["high"], shown["row"], [style.GREY] * len(table))
    _null(axes, table)
    _words(axes, table)
    axes.set_yticks(range(len(table)), [labels.plain(name) for name in table["effect"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    reach = table[["share", "high", "null limit"]].max(axis=None)
    axes.set_xlim(min(0, 1.1 * table["share"].min()), min(1.3 * reach, 1.35))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    of = labels.plain(metric_name(results.study.metric if results.study.search else results.metric))
    searched = f"share of the variance of {of} (importance); the bars sum to {_sum(table)}"
    axes.set(xlabel=searched if results.study.search else f"partial omega^2 in {of}, 95 % interval", ylabel="")
    return figure


def _null(axes: Axes, table: pd.DataFrame) -> None:
    """What shuffled scores give each parameter; nothing where that was not computed."""
    if table["null limit"].isna().all():
        return
    rows = np.arange(len(table))
    look: dict[str, Any] = {"linestyle": "", "color": "black", "zorder": 3}
    axes.plot(table["null mean"], rows, marker="o", markersize=3, label="shuffled scores: mean", **look)
    axes.plot(table["null limit"], rows, marker="|", markersize=11, label="their limit", **look)
    axes.legend(loc="lower right", fontsize=7)


def _words(axes: Axes, table: pd.DataFrame) -> None:
    ends = table[["share", "high", "null limit"]].max(axis=1)  # beside the bar, its interval or its limit
    for place, (row, end) in enumerate(zip(table.itertuples(), ends, strict=True)):
        p = f", p {probability(row.p)}" if np.isfinite(row.p) else ""
        at = (max(end, 0), place)
        axes.annotate(f"{row.share:.2f}{p}", at, (4, 0), textcoords="offset points", va="center", fontsize=7)


def _sum(table: pd.DataFrame) -> str:
    return f"{table['share'].sum():.2f}"


def caption(table: pd.DataFrame, results: Results) -> str:
    complete, seeds = int(table["complete"].iloc[0]), len(results.seeds)
    if search := results.study.search:
        return (
            f"Estimated by {search.importance_evaluator or 'a method that was not recorded'} (n = {complete}, one "
            "training each): shares of the variance over the part of the ranges that the search visited. They "
            f"sum to {_sum(table)}. {_against_noise(results)} A factor that was searched in a narrow range looks "
            "unimportant."
        )
    return (
        f"Analysis of variance of a balanced grid with the seed as a block (n = {seeds} "
        f"seed{'s' * (seeds != 1)}, {complete} trial{'s' * (complete != 1)}). "
        f"{' '.join(factors.effect_notes(results))} A wider range of values would bring more."
    )


def _against_noise(results: Results) -> str:
    """What the marks of noise are, and which parameters are beyond them."""
    search = search_table.search_of(results)
    if not search.importance_shuffles:
        return "They are not tested: noise has shares too, and its own were not computed."
    return (
        f"Point and line: mean and limit of {search.importance_shuffles} shuffles of the scores over the trials; any "
        "of the parameters exceeds its limit in about 5 % of searches of noise. "
        f"{search_text.verdict(search_table.importance(results))}"
    )
