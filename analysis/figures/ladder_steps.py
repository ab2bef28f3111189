"""Steps of the ladder.

The metric on every rung of a cumulative ladder, and beside it what the step to it brought, paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import differences
from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

PLACE = "answer"
COLUMNS = ["arm", "n", "planned", "mean", "low", "high", "difference", "difference low", "difference high", "verdict"]
LABEL = 30  # letters of a rung on one line


def applies(study: Mapping[str, Any]) -> bool:
    """Two steps or more, each arm against the one before it."""
    arms = list(study["arms"])
    return len(arms) > 2 and tables.references(study) == dict(zip(arms[1:], arms, strict=False))


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a rung with COLUMNS, of the study's metric; `difference` is from the rung before it, with its verdict."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    if not applies(study):
        return pd.DataFrame(columns=COLUMNS)
    mean = intervals.means(tables.values(rows, study, study["metric"]))
    steps = differences.table(study_id, record)
    steps = steps[steps["metric"] == study["metric"]].set_index("arm").reindex(study["arms"])
    return pd.DataFrame(
        {
            "arm": study["arms"],
            "n": mean.n,
            "planned": len(study["seeds"]),
            "mean": mean.mean,
            "low": mean.low,
            "high": mean.high,
            "difference": steps["difference"].to_numpy(),
            "difference low": steps["low"].to_numpy(),
            "difference high": steps["high"].to_numpy(),
            "verdict": steps["verdict"].fillna("").to_numpy(),
        }
    )


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("the study is no ladder")
    if not table["n"].any():
        return style.blank("no trial is complete yet")
    labels = [style.wrapped(style.plain(arm), LABEL) for arm in table["arm"]]
    figure = style.figure(style.DOUBLE, 0.8 + sum(0.2 + 0.12 * (label.count("\n") + 1) for label in labels))
    axes = figure.subplots()
    known = table[table["n"] > 0]
    axes.step(known["mean"], known.index, where="pre", color="0.75", linewidth=0.9, zorder=1)
    for row, look in zip(table.itertuples(), style.arm_style({"arms": table["arm"]}).values(), strict=False):
        if np.isfinite(row.low):
            axes.plot([row.low, row.high], [row.Index] * 2, color=look["color"], linewidth=1.4)
        axes.plot(row.mean, row.Index, look["marker"], color=look["color"], markersize=5)
    axes.set_yticks(range(len(labels)), labels, linespacing=1.05)
    axes.set_ylim(len(labels) - 0.5, -0.6)
    words = axes.secondary_yaxis("right")
    words.set_yticks(range(len(labels)), [_words(row) for _, row in table.iterrows()], linespacing=1.05)
    words.tick_params(length=0)
    words.spines["right"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{style.plain(study['metric'])}; right: the step from the row above, paired by seed")
    return figure


def _words(row: pd.Series) -> str:
    """`+0.102 [+0.06, +0.14]` and the verdict under it."""
    if not row["verdict"]:
        return f"start, {row['mean']:.3f}" if row["n"] else "start"
    if row["verdict"] == "hole":
        whole = row["n"] == row["planned"]
        return "the row above has a hole" if whole else f"hole: {row['n']} of {row['planned']} seeds"
    word = {"equivalent": "no difference beyond the margin", **differences.WORDS}.get(row["verdict"], row["verdict"])
    if np.isnan(row["difference low"]):
        return f"{row['difference']:+.3f}, {word}"
    return f"{row['difference']:+.3f} [{row['difference low']:+.3f}, {row['difference high']:+.3f}]\n{word}"


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "The study is no ladder."
    if not table["n"].any():
        return "No trial is complete yet."
    known = table[table["n"] > 0]
    first, last = known.iloc[0], known.iloc[-1]
    verdicts = table.loc[table["verdict"] != "", "verdict"].replace(differences.WORDS).value_counts(sort=False)
    counts = ", ".join(f"{count} {'equal' if word == 'equivalent' else word}" for word, count in verdicts.items())
    return (
        f"Every rung keeps the changes above it. Marks are means over training seeds (n = {table['n'].max()} at most), "
        "bars their own 95 % t intervals; the steps beside them are paired differences with theirs, the verdict is the "
        f"paired t test at .05 after Holm over the {len(table) - 1} steps: {counts}. From {first['arm']} "
        f"{first['mean']:.3f} to {last['arm']} {last['mean']:.3f}. A step is worth what it adds to those above it: in "
        "another order it may bring more or less."
    )
