"""What goes wrong.

Images of which the evaluator misses what was asked for, of the baseline and of the worst other arm, over what was asked
for and what the evaluator saw. A cross marks what was missed, a plus what nobody asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, style
from analysis.plotting import labels as names
from analysis.recorded_task import Task
from analysis.results import Results
from analysis.tables import outcomes

NEEDS = Needs(files=("outcomes.npz", "conditions.json", "images"))

PLACE = "pictures"

ACROSS, DOWN = 6, 2  # images of an arm
MISSED, UNASKED = style.ink(style.COLOURS[1]), style.ink(style.COLOURS[0])
SIZE, LINE = 6, 7  # points: letters and lines under an image
HEIGHT, LINES = 3.6, 6  # inches of an arm whose images have at most so many lines under them
LETTERS = 16  # of a class under an image


def applies(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] != "none")


def description(results: Results) -> str:
    task = recorded_task.task_of(results)
    noun, arms = task["noun"], "of the baseline and of the worst other arm"
    if task["kind"] == "class":
        return (
            f"Images that the evaluator takes for another class than was asked for, {arms}: the class that was asked "
            "for (a cross: missed) and the class that the evaluator saw (a plus)."
        )
    return (
        f"The images with the most {noun}s missed, {arms}: what was asked for, and what the evaluator saw. A cross "
        f"marks {recorded_task.one(task)} that was missed, a plus one that nobody asked for."
    )


def _columns(task: Task) -> list[str]:
    nouns = recorded_task.nouns(task)
    return ["arm", "seed", "index", "asked", "seen", "missed", "image", nouns, "all missed"]


def table(results: Results) -> pd.DataFrame:
    """One row per arm and image: the most missed first (then in the list's order); of one class each those that are
    missed, or one that is not where none is.

    `asked` and `seen`: labels, hits first, with `_between` between them; `missed`: how many; `all missed` of all
    objects (images, ...) of the whole list's first pass.
    """
    task = recorded_task.task_of(results)
    complete, name, found = results.complete, results.all_reported[0], []
    first = complete[complete["seed"] == results.seeds[0]].set_index("arm")
    known = results.of(results.study, results.rows[results.rows["arm"].isin(first.index)])
    for arm in outcomes.pair(known, best=False):
        folder = Path(first.at[arm, "folder"])
        try:
            conditions, seen_KNL = outcomes.seen(folder, name)
        except ValueError:  # an older version recorded none
            continue
        named = [[label for label, yes in zip(task["labels"], row, strict=True) if yes] for row in seen_KNL[0]]
        missed = [len(set(asked) - set(seen)) for asked, seen in zip(conditions, named, strict=True)]
        counts = [sum(map(len, conditions)), sum(missed)]
        kept = ACROSS * DOWN if task["kind"] == "set" else max(1, min(ACROSS * DOWN, sum(missed)))
        for index in np.argsort(-np.array(missed), kind="stable")[:kept].tolist():
            asked = _between(task).join(_hits_first(conditions[index], named[index]))
            seen = _between(task).join(_hits_first(named[index], conditions[index]))
            image = str(folder / "images" / name / f"{index}.png")
            found.append([arm, first.at[arm, "seed"], index, asked, seen, missed[index], image, *counts])
    return pd.DataFrame(found, columns=_columns(task))


def _hits_first(labels: list[str], others: list[str]) -> list[str]:
    return sorted(labels, key=lambda label: (label not in others, label))


def _between(task: Task) -> str:
    """What stands between labels: nothing that is a part of one."""
    return next(mark for mark in (", ", "; ", " | ", " \n ") if not any(mark in label for label in task["labels"]))


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial of the first seed has recorded its outcomes yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    task = recorded_task.task_of(results)
    arms, looks, between = list(table["arm"].unique()), style.looks(results.arms), _between(task)
    most = max(map(len, [*table["asked"].str.split(between), *table["seen"].str.split(between)]))
    down = DOWN if task["kind"] == "set" else -(-int(table.groupby("arm").size().max()) // ACROSS)
    more = max(2 * most, LINES) - LINES if task["kind"] == "set" else 2 - LINES  # lines under an image
    figure = style.figure(style.DOUBLE, (HEIGHT * down / DOWN + down * more * LINE / 72) * len(arms))
    for part, arm in zip(figure.subfigures(len(arms), 1, squeeze=False).flatten(), arms, strict=True):
        cells = table[table["arm"] == arm]
        title = f"{names.plain(arm)}: {_counts(cells, task)}"
        part.suptitle(title, x=0.01, ha="left", fontsize=8, color=looks[arm].ink)
        panels = part.subplots(down, ACROSS, squeeze=False).flatten()
        for unused in panels[len(cells) :]:
            unused.remove()
        for axes, cell in zip(panels, cells.to_dict("records"), strict=False):
            images.show(axes, cell["image"])
            axes.set_anchor("N")  # what a square image leaves of its panel is for the words under it
            asked, seen = cell["asked"].split(between), cell["seen"].split(between)
            _words(axes, 0, "asked", asked, seen, "×", MISSED)
            _words(axes, len(asked), "seen", seen, asked, "+", UNASKED)
    return figure


def _counts(cells: pd.DataFrame, task: Task) -> str:
    nouns = recorded_task.nouns(task)
    missed = "taken for another class" if task["kind"] == "class" else "missed"
    return f"{cells['all missed'].iloc[0]} of {cells[nouns].iloc[0]} {nouns} {missed}"


def _words(axes: Axes, line: int, title: str, labels: list[str], others: list[str], mark: str, colour: str) -> None:
    """Labels under an image, one per line from `line` on; those that are not among `others` with mark and colour."""
    for index, label in enumerate(labels):
        hit, name = label in others, names.cut(label, LETTERS)
        text, look = (f"✓ {name}", "black") if hit else (f"{mark} {name}", colour)
        below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
        offset = -2 - LINE * (line + index)
        axes.annotate(text, (0, 0), (22, offset), fontsize=SIZE, color=look, **below)
        if not index:
            axes.annotate(title, (0, 0), (0, offset), fontsize=SIZE, color=style.GREY, **below)


def caption(table: pd.DataFrame, results: Results) -> str:
    task, name = recorded_task.task_of(results), results.all_reported[0]
    most = int(table.groupby("arm").size().max())
    arms = {arm: _counts(cells, task) for arm, cells in table.groupby("arm", sort=False)}
    worst = f"the baseline and the worst other arm on {results.list_of(results.selection)}"
    which = (
        f"of {worst if len(arms) > 1 else 'the only arm that is complete'}: training seed {table['seed'].iloc[0]}, "
        f"first sampling pass, n = 1 training per arm; "
        + "; ".join(f"{names.plain(arm)}: {counts}" for arm, counts in arms.items())
    )
    if task["kind"] == "class":
        return (
            f"Images of {name} that the evaluator takes for another class, {most} at most, in the list's "
            f"order, {which}. Asked: the class asked for. Seen: the class that the evaluator names. These images were "
            "chosen because they are bad: the grids show all."
        )
    return (
        f"The {most} images of {name} with the most {recorded_task.nouns(task)} missed (ties: the list's "
        f"order), {which}. Asked: ✓ named by the evaluator, × missed. Seen: its top k, k being the number asked for; + "
        "what nobody asked for. These images were chosen because they are bad: the grids show all."
    )
