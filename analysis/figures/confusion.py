"""Colours and shapes confused.

What was named instead of what was asked for, baseline beside the best other arm. Rows: what was asked for; columns:
what was named. `analysis.outcomes.confusion` defines the cells; the score sheet counts the same objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import style
from analysis.tables import outcomes
from runners.tasks.iclevr.scenes import COLOURS, RADIUS
from study.record import reader

COLUMNS = ["arm", "kind", "asked", "named", "share", "objects", "n"]
NAMES = {"colour": list(COLOURS), "shape": list(RADIUS)}
NEITHER = "none"  # missed, and no namesake was named unasked
NOTHING = "no complete trial has recorded its outcomes yet"


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm, kind and cell with COLUMNS: shares of the `objects` asked in a row, means over n seeds."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    found = []
    for arm in outcomes.pair(rows, study, best=True):
        counts = _of_arm(rows[(rows["arm"] == arm) & (rows["state"] == "complete")]["folder"])
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


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank(NOTHING)
    arms = list(table["arm"].unique())
    figure = style.figure(style.DOUBLE, 3.6)
    panels = figure.subplots(2, len(arms), squeeze=False, height_ratios=[8, 3.6])
    for column, arm in zip(panels.T, arms, strict=True):
        for axes, (kind, names) in zip(column, NAMES.items(), strict=True):
            cells = table[(table["arm"] == arm) & (table["kind"] == kind)]
            shares = cells["share"].to_numpy().reshape(len(names), len(names) + 1)
            style.heat(axes, shares, names, [*names, NEITHER])
            axes.axvline(len(names) - 0.5, color=style.GREY, linewidth=0.8)
            axes.set_ylabel(f"{kind} asked for")
            axes.set_xlabel(f"{kind} named")
        role = "baseline" if arm == study["baseline_arm"] else "best other arm on validation"
        label = style.wrapped(f"{style.arm_label(study, arm)} ({role})", 50)
        column[0].set_title(label, loc="left", color=style.arm_style(study)[arm]["color"])
    return figure


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return f"{NOTHING[0].upper()}{NOTHING[1:]}."
    arms = list(table["arm"].unique())
    which = "the baseline and the best other arm on validation" if len(arms) > 1 else "the only arm with outcomes"
    wrong = table[(table["asked"] != table["named"]) & (table["named"] != NEITHER)]
    most = wrong.loc[wrong["share"].idxmax()]
    return (
        f"Shares of the objects asked for, over all lists, mean over n = {table['n'].max()} trainings an arm at most, "
        f"of {which}. On the diagonal: named exactly. Off it, above: missed, while an object of its shape in "
        "another colour was named that nobody asked for (below: of its colour in another shape). "
        f"Column '{NEITHER}': missed, without such a namesake. The most frequent confusion is "
        f"{most['asked']} named as {most['named']} ({most['share']:.3f}, {style.plain(most['arm'])})."
    )
