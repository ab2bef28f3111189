"""What goes wrong.

The pictures with the most objects missed, of the baseline and of the worst other arm: what was asked for, and what the
evaluator saw. A cross marks an object that was missed, a plus one that nobody asked for.
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
from analysis.tables import outcomes
from study.record import reader

PLACE = "pictures"

LIST = "test"
COLUMNS = ["arm", "seed", "index", "asked", "seen", "missed", "image", "objects", "all missed"]
ACROSS, DOWN = 6, 2  # pictures of an arm
MISSED, UNASKED = style.COLOURS[1], style.COLOURS[0]
SIZE, LINE = 6, 7  # points: letters and lines under a picture
NOTHING = "no complete trial of the first seed has recorded its outcomes yet"


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm and picture with COLUMNS, the most missed objects first (then in the list's order).

    `asked` and `seen`: labels joined by ", ", hits first; `all missed` of the `objects` of the whole list's first pass.
    """
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    first = rows[(rows["seed"] == study["seeds"][0]) & (rows["state"] == "complete")].set_index("arm")
    found = []
    for arm in outcomes.pair(rows[rows["arm"].isin(first.index)], study, best=False):
        folder = Path(first.at[arm, "folder"])
        try:
            conditions, seen_KNL = outcomes.seen(folder, LIST)
        except ValueError:  # an older version recorded none
            continue
        named = [[label for label, yes in zip(outcomes.LABELS, row, strict=True) if yes] for row in seen_KNL[0]]
        missed = [len(set(asked) - set(seen)) for asked, seen in zip(conditions, named, strict=True)]
        counts = [sum(map(len, conditions)), sum(missed)]
        for index in np.argsort(-np.array(missed), kind="stable")[: ACROSS * DOWN].tolist():
            asked = _hits_first(conditions[index], named[index])
            seen = _hits_first(named[index], conditions[index])
            image = str(folder / "images" / LIST / f"{index}.png")
            found.append([arm, first.at[arm, "seed"], index, asked, seen, missed[index], image, *counts])
    return pd.DataFrame(found, columns=COLUMNS)


def _hits_first(labels: list[str], others: list[str]) -> str:
    return ", ".join(sorted(labels, key=lambda label: (label not in others, label)))


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank(NOTHING)
    arms = list(table["arm"].unique())
    figure = style.figure(style.DOUBLE, 3.6 * len(arms))
    for part, arm in zip(figure.subfigures(len(arms), 1, squeeze=False).flatten(), arms, strict=True):
        cells = table[table["arm"] == arm]
        title = f"{style.arm_label(study, arm)}: {_counts(cells)}"
        part.suptitle(title, x=0.01, ha="left", fontsize=8, color=style.arm_style(study)[arm]["color"])
        panels = part.subplots(DOWN, ACROSS).flatten()
        for unused in panels[len(cells) :]:
            unused.remove()
        for axes, (_, cell) in zip(panels, cells.iterrows(), strict=False):
            style.show_image(axes, cell["image"])
            axes.set_anchor("N")  # what a square picture leaves of its panel is for the words under it
            asked, seen = cell["asked"].split(", "), cell["seen"].split(", ")
            _words(axes, 0, "asked", asked, seen, "×", MISSED)
            _words(axes, len(asked), "seen", seen, asked, "+", UNASKED)
    return figure


def _counts(cells: pd.DataFrame) -> str:
    return f"{cells['all missed'].iloc[0]} of {cells['objects'].iloc[0]} objects missed"


def _words(axes: Axes, line: int, title: str, labels: list[str], others: list[str], mark: str, colour: str) -> None:
    """Labels under a picture, one a line from `line` on; those that are not among `others` with mark and colour."""
    for index, label in enumerate(labels):
        hit = label in others
        text, look = (f"✓ {label}", "black") if hit else (f"{mark} {label}", colour)
        below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
        offset = -2 - LINE * (line + index)
        axes.annotate(text, (0, 0), (22, offset), fontsize=SIZE, color=look, **below)
        if not index:
            axes.annotate(title, (0, 0), (0, offset), fontsize=SIZE, color=style.GREY, **below)


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return f"{NOTHING[0].upper()}{NOTHING[1:]}."
    arms = {arm: _counts(cells) for arm, cells in table.groupby("arm", sort=False)}
    worst = "the baseline and the arm with the lowest validation accuracy among the others"
    return (
        f"The {ACROSS * DOWN} pictures of the {LIST} list with the most objects missed (ties: the list's order), of "
        f"{worst if len(arms) > 1 else 'the only arm that is complete'}: training seed {table['seed'].iloc[0]}, first "
        "sampling pass, n = 1 training an arm; "
        + "; ".join(f"{style.plain(arm)}: {counts}" for arm, counts in arms.items())
        + ". Asked: ✓ named by the evaluator, × missed. Seen: its top k, k being the number asked for; + what nobody "
        "asked for. These pictures were chosen because they are bad: the grids show all."
    )
