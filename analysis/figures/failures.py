"""What goes wrong.

The images with the most objects missed, of the baseline and of the worst other arm: what was asked for, and what the
evaluator saw. A cross marks an object that was missed, a plus one that nobody asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plotting import images, style
from analysis.plotting import labels as names
from analysis.results import Results
from analysis.tables import outcomes
from runners.tasks.iclevr.scenes import LABELS

PLACE = "pictures"

COLUMNS = ["arm", "seed", "index", "asked", "seen", "missed", "image", "objects", "all missed"]
ACROSS, DOWN = 6, 2  # images of an arm
MISSED, UNASKED = style.ink(style.COLOURS[1]), style.ink(style.COLOURS[0])
SIZE, LINE = 6, 7  # points: letters and lines under an image


def table(results: Results) -> pd.DataFrame:
    """One row per arm and image with COLUMNS, the most missed objects first (then in the list's order).

    `asked` and `seen`: labels joined by ", ", hits first; `all missed` of the `objects` of the whole list's first pass.
    """
    complete, name, found = results.complete, results.all_reported[0], []
    first = complete[complete["seed"] == results.seeds[0]].set_index("arm")
    known = results.of(results.study, results.rows[results.rows["arm"].isin(first.index)])
    for arm in outcomes.pair(known, best=False):
        folder = Path(first.at[arm, "folder"])
        try:
            conditions, seen_KNL = outcomes.seen(folder, name)
        except ValueError:  # an older version recorded none
            continue
        named = [[label for label, yes in zip(LABELS, row, strict=True) if yes] for row in seen_KNL[0]]
        missed = [len(set(asked) - set(seen)) for asked, seen in zip(conditions, named, strict=True)]
        counts = [sum(map(len, conditions)), sum(missed)]
        for index in np.argsort(-np.array(missed), kind="stable")[: ACROSS * DOWN].tolist():
            asked = _hits_first(conditions[index], named[index])
            seen = _hits_first(named[index], conditions[index])
            image = str(folder / "images" / name / f"{index}.png")
            found.append([arm, first.at[arm, "seed"], index, asked, seen, missed[index], image, *counts])
    return pd.DataFrame(found, columns=COLUMNS)


def _hits_first(labels: list[str], others: list[str]) -> str:
    return ", ".join(sorted(labels, key=lambda label: (label not in others, label)))


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial of the first seed has recorded its outcomes yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    arms, looks = list(table["arm"].unique()), style.looks(results.arms)
    figure = style.figure(style.DOUBLE, 3.6 * len(arms))
    for part, arm in zip(figure.subfigures(len(arms), 1, squeeze=False).flatten(), arms, strict=True):
        cells = table[table["arm"] == arm]
        title = f"{names.arm_label(results, arm)}: {_counts(cells)}"
        part.suptitle(title, x=0.01, ha="left", fontsize=8, color=looks[arm].ink)
        panels = part.subplots(DOWN, ACROSS).flatten()
        for unused in panels[len(cells) :]:
            unused.remove()
        for axes, cell in zip(panels, cells.to_dict("records"), strict=False):
            images.show(axes, cell["image"])
            axes.set_anchor("N")  # what a square image leaves of its panel is for the words under it
            asked, seen = cell["asked"].split(", "), cell["seen"].split(", ")
            _words(axes, 0, "asked", asked, seen, "×", MISSED)
            _words(axes, len(asked), "seen", seen, asked, "+", UNASKED)
    return figure


def _counts(cells: pd.DataFrame) -> str:
    return f"{cells['all missed'].iloc[0]} of {cells['objects'].iloc[0]} objects missed"


def _words(axes: Axes, line: int, title: str, labels: list[str], others: list[str], mark: str, colour: str) -> None:
    """Labels under an image, one per line from `line` on; those that are not among `others` with mark and colour."""
    for index, label in enumerate(labels):
        hit = label in others
        text, look = (f"✓ {label}", "black") if hit else (f"{mark} {label}", colour)
        below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
        offset = -2 - LINE * (line + index)
        axes.annotate(text, (0, 0), (22, offset), fontsize=SIZE, color=look, **below)
        if not index:
            axes.annotate(title, (0, 0), (0, offset), fontsize=SIZE, color=style.GREY, **below)


def caption(table: pd.DataFrame, results: Results) -> str:
    arms = {arm: _counts(cells) for arm, cells in table.groupby("arm", sort=False)}
    worst = f"the baseline and the worst other arm on {results.list_of(results.selection)}"
    return (
        f"The {ACROSS * DOWN} images of {results.all_reported[0]} with the most objects missed (ties: the list's "
        f"order), of {worst if len(arms) > 1 else 'the only arm that is complete'}: training seed "
        f"{table['seed'].iloc[0]}, first sampling pass, n = 1 training per arm; "
        + "; ".join(f"{names.plain(arm)}: {counts}" for arm, counts in arms.items())
        + ". Asked: ✓ named by the evaluator, × missed. Seen: its top k, k being the number asked for; + what nobody "
        "asked for. These images were chosen because they are bad: the grids show all."
    )
