"""Colours and shapes confused.

What was named instead of what was asked for, the baseline beside the best other arm. Rows: what was asked for; columns:
what was named; the number on a cell is its share of the row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import heat, labels, style
from analysis.results import Results
from analysis.tables import outcomes
from runners.tasks.iclevr.scenes import COLOURS, RADIUS

# Cells are as `analysis.tables.outcomes.confusion` defines them; the score sheet counts the same objects.
COLUMNS = ["arm", "kind", "asked", "named", "share", "objects", "n"]
NAMES = {"colour": list(COLOURS), "shape": list(RADIUS)}
NEITHER = "none"  # missed, and no namesake was named unasked


def table(results: Results) -> pd.DataFrame:
    """One row per arm, kind and cell with COLUMNS: shares of the `objects` asked in a row, means over n seeds."""
    complete, found = results.complete, []
    for arm in outcomes.pair(results, best=True):
        counts = _of_arm(complete[complete["arm"] == arm]["folder"])
        for kind, of_seeds in counts.items():
            objects = of_seeds.sum(2)
            with np.errstate(invalid="ignore"):
                shares = (of_seeds / objects[..., None]).mean(0)
            for asked, share, total in zip(NAMES[kind], shares, objects.sum(0), strict=True):
                for named, value in zip([*NAMES[kind], NEITHER], share, strict=True):
                    found.append([arm, kind, asked, named, value, round(total), len(of_seeds)])
    return pd.DataFrame(found, columns=COLUMNS)


def _of_arm(folders: pd.Series) -> dict[str, np.ndarray]:
    """kind -> counts (seeds, rows, columns); empty without a trial whose outcomes can be read."""
    known = []
    for folder in folders:
        try:
            known.append(outcomes.confusion(Path(folder)))
        except ValueError:  # an older version recorded none
            continue
    return {kind: np.stack([counts[kind] for counts in known]) for kind in NAMES} if known else {}


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its outcomes yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    arms, looks = list(table["arm"].unique()), style.looks(results.arms)
    figure = style.figure(style.DOUBLE, 3.6)
    panels = figure.subplots(2, len(arms), squeeze=False, height_ratios=[8, 3.6])
    for column, arm in zip(panels.T, arms, strict=True):
        for axes, (kind, names) in zip(column, NAMES.items(), strict=True):
            cells = table[(table["arm"] == arm) & (table["kind"] == kind)]
            shares = cells["share"].to_numpy().reshape(len(names), len(names) + 1)
            heat.shares(axes, shares, names, [*names, NEITHER])
            axes.axvline(len(names), color=style.GREY, linewidth=0.8)
            axes.set_ylabel(f"{kind} asked for")
            axes.set_xlabel(f"{kind} named")
        chosen_on = results.list_of(results.selection)
        role = "baseline" if arm == results.study.baseline_arm else f"best other arm on {chosen_on}"
        label = labels.wrapped(f"{labels.arm_label(results, arm)} ({role})", 50)
        column[0].set_title(label, loc="left", color=looks[arm].ink)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    both = f"the baseline and the best other arm on {results.list_of(results.selection)}"
    which = both if table["arm"].nunique() > 1 else "the only arm with outcomes"
    wrong = table[(table["asked"] != table["named"]) & (table["named"] != NEITHER)]
    most = wrong.loc[wrong["share"].idxmax()]
    n = int(table["n"].max())
    return (
        f"Shares of the objects asked for, over all lists, mean over n = {n} training{'s' * (n != 1)} per arm at most, "
        f"of {which}. On the diagonal: named exactly. Off the diagonal: missed, while an object that nobody "
        "asked for was named: one of the same shape in another colour (upper row) or of the same colour in another "
        f"shape (lower row). Column '{NEITHER}': missed, and no such object was named. Empty rows were never asked "
        "for. The most frequent "
        f"confusion is {most['asked']} named as {most['named']} ({most['share']:.3f}, {labels.plain(most['arm'])})."
    )
