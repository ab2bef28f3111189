"""Importance of the factors.

The share of the variance that each factor carries: of a crossed grid by analysis of variance, with its p; of a
search as its evaluator estimated it.
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
from analysis.tables import comparison as tables
from analysis.tables import factors as factorial
from analysis.tables import search as search_table
from study.record import reader

PLACE = "answer"
COLUMNS = ["effect", "kind", "share", "p", "complete", "planned"]
LOOKS = {"factor": style.COLOURS[0], "interaction": style.COLOURS[5], "error": "0.7"}
ERRORS = ("seed (block)", "rest")


def applies(study: Mapping[str, Any]) -> bool:
    """A search, or factors of which every combination is an arm."""
    if study.get("search"):
        return True
    levels = [len(values) for values in (study.get("factors") or {}).values()]
    return len(levels) > 1 and min(levels) > 1 and int(np.prod(levels)) == len(study["arms"])


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an effect with COLUMNS; the share is NaN where holes or an unfinished search leave none.

    `complete` and `planned` count trials: those of the grid, or of the search.
    """
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    if not applies(study):
        return pd.DataFrame(columns=COLUMNS)
    if search := study.get("search"):
        shares = search.get("importance") or {}
        names = list(shares) or list(dict.fromkeys(name for trial in search["trials"] for name in trial["params"]))
        counts = [len(search_table.complete_trials(study)), search.get("planned") or len(search["trials"])]
        found = [[name, "factor", shares.get(name, np.nan), np.nan, *counts] for name in names]
        return pd.DataFrame(found, columns=COLUMNS).sort_values("share", ascending=False, ignore_index=True)
    counts = [int((rows["state"] == "complete").sum()), len(rows)]
    effects = factorial.effects_table(rows, study, study["metric"])
    if effects.empty:
        return pd.DataFrame([[name, "factor", np.nan, np.nan, *counts] for name in study["factors"]], columns=COLUMNS)
    found = [
        [effect, _kind(effect), share, p, *counts]
        for effect, share, p in zip(effects["effect"], effects["eta^2"], effects["p"], strict=True)
    ]
    return pd.DataFrame(found, columns=COLUMNS)


def _kind(effect: str) -> str:
    if effect in ERRORS:
        return "error"
    return "interaction" if " x " in effect else "factor"


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if message := _nothing(table, study):
        return style.blank(message.removesuffix("."))
    figure = style.figure(style.DOUBLE, 0.75 + 0.26 * len(table))
    axes = figure.subplots()
    axes.barh(range(len(table)), table["share"], color=[LOOKS[kind] for kind in table["kind"]], height=0.66)
    _words(axes, table)
    axes.set_yticks(range(len(table)), [style.plain(name) for name in table["effect"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(0, min(1.18 * table["share"].max(), 1.15))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    what = "importance" if study.get("search") else "eta^2"
    axes.set_xlabel(f"share of the variance of {style.plain(study['metric'])} ({what}); the bars sum to {_sum(table)}")
    return figure


def _words(axes: Axes, table: pd.DataFrame) -> None:
    for place, row in enumerate(table.itertuples()):
        p = f", p {tables.probability(row.p)}" if np.isfinite(row.p) else ""
        words = f"{row.share:.2f}{p}"
        axes.annotate(words, (max(row.share, 0), place), (3, 0), textcoords="offset points", va="center", fontsize=7)


def _sum(table: pd.DataFrame) -> str:
    return f"{table['share'].sum():.2f}"


def _nothing(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """Why there is no share to draw; empty when there are some."""
    if table.empty:
        return "The study crosses no factors."
    if table["share"].notna().any():
        return ""
    if not table["complete"].max():
        return "No trial is complete yet."
    if study.get("search"):
        return "No importance: the search is not finished, or its evaluator found none."
    of_all = f"{table['complete'].iloc[0]} of {table['planned'].iloc[0]} trials are complete"
    return f"No share of a grid with holes: {of_all}, or the metric never varies."


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if message := _nothing(table, study):
        return message
    complete = table["complete"].iloc[0]
    if search := study.get("search"):
        return (
            f"Estimated by {search.get('importance_evaluator') or 'an evaluator without a name'} (n = {complete}, one "
            "training each). Shares of the variance over the ranges that were searched, where the search went; they "
            "sum to "
            f"{_sum(table)} and have no test. A factor that was searched in a narrow range looks unimportant."
        )
    seeds = len(study["seeds"])
    tested = (
        "p of an F test against the effect's own interaction with the seed, one test each, not adjusted"
        if seeds > 1
        else "one training an arm: shares without a test"
    )
    return (
        f"Analysis of variance of a balanced grid with the seed as a block (n = {seeds} seeds, {complete} trials): "
        f"eta^2 = SS / SS total, the bars sum to {_sum(table)}; {tested}. Few seeds flatter every share: luck counts "
        "as effect too. Shares belong to the values that were tried: wider ranges carry more."
    )
