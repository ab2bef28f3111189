"""Steps of the ladder.

The metric on every rung of a cumulative ladder, with its t interval, and beside it what the step to it brought, paired
by seed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import verdicts
from analysis.plotting import labels, marks, style
from analysis.results import Results
from analysis.verdict import Outcome
from runners.experiment import metric_name

PLACE = "answer"
COLUMNS = ["arm", "n", "planned", "mean", "low", "high", "difference", "difference low", "difference high", "verdict"]
LABEL = 30  # letters of a rung on one line


def applies(results: Results) -> bool:
    """Two steps or more, each arm against the one before it."""
    arms = results.arms
    return len(arms) > 2 and results.study.references == dict(zip(arms[1:], arms, strict=False))


def table(results: Results) -> pd.DataFrame:
    """One row per rung with COLUMNS, of the study's metric; differences are from the rung before it."""
    if not applies(results):
        return pd.DataFrame(columns=COLUMNS)
    mean, steps = results.means(results.metric), results.differences(results.metric)
    return pd.DataFrame(
        {
            "arm": results.arms,
            "n": mean.n,
            "planned": len(results.seeds),
            "mean": mean.mean,
            "low": mean.low,
            "high": mean.high,
            "difference": steps.difference,
            "difference low": steps.low,
            "difference high": steps.high,
            "verdict": list(verdicts.of_arms(results, results.metric).values()),
        }
    )


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "The study is no ladder."
    return "" if table["n"].any() else "No trial is complete yet."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    names = [labels.wrapped(labels.plain(arm), LABEL) for arm in table["arm"]]
    figure = style.figure(style.DOUBLE, 0.8 + sum(0.2 + 0.12 * (name.count("\n") + 1) for name in names))
    axes = figure.subplots()
    known = table[table["n"] > 0]
    axes.step(known["mean"], known.index, where="pre", color=style.FAINT, linewidth=0.9, zorder=1)
    looks = list(style.looks(results.arms).values())
    marks.intervals(axes, table["low"], table["high"], table.index, [look.colour for look in looks], linewidths=1.4)
    for row, look in zip(table.itertuples(), looks, strict=True):
        axes.plot(row.mean, row.Index, look.marker, color=look.colour, markersize=5)
    axes.set_yticks(range(len(names)), names, linespacing=1.05)
    axes.set_ylim(len(names) - 0.5, -0.6)
    words = axes.secondary_yaxis("right")
    words.set_yticks(range(len(names)), [_words(row) for row in table.to_dict("records")], linespacing=1.05)
    words.tick_params(length=0)
    words.spines["right"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{labels.plain(metric_name(results.metric))}; right: the step from the row above, paired by seed")
    return figure


def _words(row: dict[str, object]) -> str:
    """`+0.102 [+0.06, +0.14]` and the verdict under it."""
    verdict = row["verdict"]
    if verdict.outcome is Outcome.BASELINE:
        return f"start, {row['mean']:.3f}"
    if np.isnan(row["difference"]):
        return labels.wrapped(labels.plain(verdict), LABEL)
    if np.isnan(row["difference low"]):
        return f"{row['difference']:+z.3f}, {verdict.short}"
    return f"{row['difference']:+z.3f} [{row['difference low']:+z.3f}, {row['difference high']:+z.3f}]\n{verdict.short}"


def caption(table: pd.DataFrame, results: Results) -> str:
    known = table[table["n"] > 0]
    first, last = known.iloc[0], known.iloc[-1]
    counts = Counter(verdict.short for verdict in table["verdict"][1:])
    listed = ", ".join(f"{count} {words}" for words, count in counts.items())
    return (
        f"Every rung keeps the changes above it. Marks are means over training seeds (n = {table['n'].max()} at most), "
        "bars their own 95 % t intervals; the steps beside them are paired differences with theirs, the verdict is the "
        f"paired t test at .05, Holm-corrected over the {len(table) - 1} steps: {listed}. From {first['arm']} "
        f"{first['mean']:.3f} to {last['arm']} {last['mean']:.3f}. A step is worth what it adds to those above it: in "
        "another order it may bring more or less."
    )
