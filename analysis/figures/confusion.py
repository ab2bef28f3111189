"""Classes confused.

What was named instead of what was asked for, the baseline beside the best other arm. Rows: what was asked for; columns:
what was named; the number on a cell is its share of the row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import heat, labels, style
from analysis.recorded_task import Task
from analysis.results import Results
from analysis.tables import outcomes

NEEDS = Needs(files=("outcomes.npz", "conditions.json"))

# Cells are as `analysis.tables.outcomes.confusion` defines them; the score sheet counts the same.
NEITHER = "none"  # missed, and no namesake was named unasked
REST = "others"  # of a row that is cut short: everything that is not drawn
MOST = 20  # classes of a matrix; of more, the worst are drawn with what they are named most often
INSTEAD = 3  # confusions of a row that is cut short
ORDER = ("most often instead", "second", "third")
SIDE_BY_SIDE = 12  # classes of two matrices that fit beside each other
CELL = 0.2  # inches
SHOWN = 0.005  # a smaller share is an empty cell of a matrix
LETTERS = 22  # of a name


def applies(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] != "none")


def title(results: Results) -> str:
    task = recorded_task.task_of(results)
    if facets := recorded_task.two_facets(task):
        return f"{facets[0]}s and {facets[1]}s confused".capitalize()
    return f"{recorded_task.label_words(task)} confused".capitalize()


def description(results: Results) -> str:
    start = "What was named instead of what was asked for, the baseline beside the best other arm."
    task = recorded_task.task_of(results)
    if _cut_short(task):
        worst = f"the worst {recorded_task.label_words(task)}"
        return f"{start} Rows: {worst}; columns: how often they were named, and what was named instead."
    return f"{start} Rows: what was asked for; columns: what was named; the number on a cell is its share of the row."


def _cut_short(task: Task) -> bool:
    return recorded_task.two_facets(task) is None and len(task["labels"]) > MOST


def _columns(task: Task) -> list[str]:
    return ["arm", "kind", "asked", "named", "share", recorded_task.nouns(task), "n"]


# --- numbers -------------------------------------------------------------------------------------------


def table(results: Results) -> pd.DataFrame:
    """One row per arm, kind and cell: arm, kind (colour, shape; class or label), asked, named, share of what was asked
    for in a row (mean over n seeds), how much that was, n. Of more than MOST classes the worst of both arms alone, and
    of each the most frequent confusions."""
    task, complete, shares = recorded_task.task_of(results), results.complete, {}
    found: list[list[object]] = []
    for arm in outcomes.pair(results, best=True):
        counts = _of_arm(complete[complete["arm"] == arm]["folder"], results.pooled)
        for kind, of_seeds in counts.items():
            asked = of_seeds.sum(2)
            with np.errstate(invalid="ignore"):
                shares[arm, kind] = (of_seeds / asked[..., None]).mean(0), asked.sum(0), len(of_seeds)
    worst = _worst([of_arm for of_arm, _, _ in shares.values()]) if _cut_short(task) else None
    names = {kind.word: kind.names for kind in outcomes.kinds(task)}
    for (arm, kind), (of_arm, total, n) in shares.items():
        for row in range(len(of_arm)) if worst is None else worst:
            cells = _row(of_arm[row], names[kind], row, short=worst is not None)
            found += [[arm, kind, names[kind][row], named, value, round(total[row]), n] for named, value in cells]
    return pd.DataFrame(found, columns=_columns(task))


def _of_arm(folders: pd.Series, lists: list[str]) -> dict[str, NDArray[np.float64]]:
    """Kind -> counts (seeds, rows, columns); empty without a trial whose outcomes can be read."""
    known = []
    for folder in folders:
        try:
            known.append(outcomes.confusion(Path(folder), lists))
        except ValueError:  # an older version recorded none
            continue
    return {kind: np.stack([counts[kind] for counts in known]) for kind in known[0]} if known else {}


def _worst(shares: list[NDArray[np.float64]]) -> list[int]:
    """The classes that were named least often, as a mean over the arms, among those that were asked for."""
    if not shares:
        return []
    right = np.mean([np.diag(of_arm) for of_arm in shares], axis=0)
    return [int(row) for row in np.argsort(right, kind="stable")[:MOST] if np.isfinite(right[row])]


def _row(share_C: NDArray[np.float64], names: list[str], own: int, short: bool) -> list[tuple[str, float]]:
    """Name and share of each cell of a row: all, or the right one, the most frequent confusions, and the rest."""
    if not short:
        return list(zip([*names, NEITHER], share_C.tolist(), strict=True))
    wrong = np.delete(np.arange(len(names)), own)
    most = [index for index in wrong[np.argsort(-share_C[wrong], kind="stable")][:INSTEAD] if share_C[index] > 0]
    cells = [(names[index], float(share_C[index])) for index in (own, *most)]
    return [*cells, (REST, max(0.0, 1 - sum(share for _, share in cells)))]


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its outcomes yet." if table.empty else ""


# --- drawing -------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame, results: Results) -> Figure:
    task = recorded_task.task_of(results)
    if recorded_task.two_facets(task):
        return _of_facets(table, results, task)
    return _worst_rows(table, results) if _cut_short(task) else _matrices(table, results, task)


def _title(axes: Axes, arm: str, results: Results, width: int = 50) -> None:
    role = "baseline" if arm == results.study.baseline_arm else _other(results)
    label = labels.wrapped(f"{labels.plain(arm)} ({role})", width)
    axes.set_title(label, loc="left", color=style.looks(results.arms)[arm].ink)


def _of_facets(table: pd.DataFrame, results: Results, task: Task) -> Figure:
    """A matrix per facet and arm."""
    kinds, arms = outcomes.kinds(task), list(table["arm"].unique())
    figure = style.figure(style.DOUBLE, 3.6)
    panels = figure.subplots(2, len(arms), squeeze=False, height_ratios=[8, 3.6])
    for column, arm in zip(panels.T, arms, strict=True):
        for axes, kind in zip(column, kinds, strict=True):
            cells = table[(table["arm"] == arm) & (table["kind"] == kind.word)]
            shares = cells["share"].to_numpy().reshape(len(kind.names), len(kind.names) + 1)
            heat.shares(axes, shares, kind.names, [*kind.names, NEITHER])
            axes.axvline(len(kind.names), color=style.GREY, linewidth=0.8)
            axes.set_ylabel(f"{kind.word} asked for")
            axes.set_xlabel(f"{kind.word} named")
        _title(column[0], arm, results)
    return figure


def _matrices(table: pd.DataFrame, results: Results, task: Task) -> Figure:
    """A matrix per arm, beside each other as long as their numbers can be read; cells of next to nothing are empty."""
    (kind,), arms = outcomes.kinds(task), list(table["arm"].unique())
    count = len(kind.names)
    columns = [*kind.names, NEITHER] if _neither(table, task) else kind.names
    rows, heads = ([labels.cut(name, LETTERS) for name in names] for names in (kind.names, columns))
    beside, longest = count <= SIDE_BY_SIDE, max(map(len, heads))
    upright = longest > (4 if beside else 5)  # wider than a cell
    down, across = (1, len(arms)) if beside else (len(arms), 1)
    figure = style.figure(style.DOUBLE, down * (CELL * count + 0.7 + (0.06 * longest if upright else 0)))
    letters = round(15 * (style.DOUBLE - 0.06 * longest) / across)  # of a title
    for place, (axes, arm) in enumerate(zip(figure.subplots(down, across, squeeze=False).flatten(), arms, strict=True)):
        shares = _shares(table[table["arm"] == arm], task)[:, : len(columns)]
        text = np.where(shares < SHOWN, "", np.vectorize(heat.short_share, otypes=[object])(shares))
        heat.cells(axes, shares, text)
        heat.name(axes, rows, heads, fontsize=6)
        if place % across:
            axes.set_yticks([])
        if upright:
            axes.tick_params(axis="x", labelrotation=90)
        if len(columns) > count:
            axes.axvline(count, color=style.GREY, linewidth=0.8)
        axes.set_ylabel("" if place % across else f"{kind.word} asked for")
        axes.set_xlabel(f"{kind.word} named")
        _title(axes, arm, results, letters)
    return figure


def _shares(table: pd.DataFrame, task: Task) -> NDArray[np.float64]:
    """The matrices of whole tables, (rows, labels + 1)."""
    found: NDArray[np.float64] = table["share"].to_numpy().reshape(-1, len(task["labels"]) + 1)
    return found


def _neither(table: pd.DataFrame, task: Task) -> bool:
    """Whether anything was missed without a namesake: never of one class each."""
    return bool((_shares(table, task)[:, -1] > 0).any())


def _worst_rows(table: pd.DataFrame, results: Results) -> Figure:
    """A row per class: how often it was named, and its most frequent confusions by name."""
    arms, heads = list(table["arm"].unique()), ["named right", *ORDER[:INSTEAD], REST]
    rows = list(dict.fromkeys(table["asked"]))
    figure = style.figure(style.DOUBLE, len(arms) * (0.16 * len(rows) + 0.5))
    for axes, arm in zip(figure.subplots(len(arms), 1, squeeze=False).flatten(), arms, strict=True):
        shares, text = np.full((len(rows), len(heads)), np.nan), np.full((len(rows), len(heads)), "", dtype=object)
        for row, (_, cells) in enumerate(table[table["arm"] == arm].groupby("asked", sort=False)):
            *places, rest = [0, *range(1, len(cells) - 1), len(heads) - 1]
            shares[row, [*places, rest]] = cells["share"]
            right, others = cells["share"].iloc[[0, -1]]
            text[row, [0, rest]] = heat.short_share(right), heat.short_share(others) if others >= SHOWN else ""
            for place in places[1:]:
                name, share = cells["named"].iloc[place], cells["share"].iloc[place]
                text[row, place] = f"{labels.cut(name, LETTERS - 4)} ({heat.short_share(share)})"
        heat.cells(axes, shares, text)
        heat.name(axes, [labels.cut(name, LETTERS) for name in rows], heads, fontsize=6)
        axes.xaxis.tick_top()
        _title(axes, arm, results)
    return figure


# --- caption -------------------------------------------------------------------------------------------


def caption(table: pd.DataFrame, results: Results) -> str:
    task = recorded_task.task_of(results)
    both = f"the baseline and the {_other(results)}"
    which = both if table["arm"].nunique() > 1 else "the only arm with outcomes"
    n = int(table["n"].max())
    return (
        f"Shares of the {recorded_task.nouns(task)} asked for, over {_lists(results)}, mean over n = {n} "
        f"training{'s' * (n != 1)} per arm at most, of {which}. {_cells(table, task)}{_most(table, task)}"
    )


def _other(results: Results) -> str:
    """Which arm is drawn beside the baseline (`outcomes.pair`)."""
    chosen_on = results.list_of(results.selection)
    own = [arm for arm, other in results.references.items() if other == results.study.baseline_arm]
    if results.chooses_elsewhere and len(own) == 1:
        return "arm compared with it"
    return f"best other arm on {chosen_on}"


def _lists(results: Results) -> str:
    """`all lists`, or the names of those that are counted."""
    return "all lists" if results.pooled == results.all_lists else " and ".join(results.pooled)


def _cells(table: pd.DataFrame, task: Task) -> str:
    """What the cells mean."""
    word = recorded_task.label_word(task)
    if facets := recorded_task.two_facets(task):
        one, other = facets
        return (
            f"On the diagonal: named exactly. Off the diagonal: missed, while {recorded_task.one(task)} that nobody "
            f"asked for was named: one of the same {other} in another {one} (upper row) or of the same {one} in "
            f"another {other} (lower row). Column '{NEITHER}': missed, and no such {task['noun']} was named. "
            "Empty rows were never asked for. "
        )
    if _cut_short(task):
        asked = table.drop_duplicates(["arm", "asked"])[recorded_task.nouns(task)]
        return (
            f"Rows: of {len(task['labels']):,} {recorded_task.label_words(task)} the {table['asked'].nunique()} that "
            f"were named least often, as a mean over these arms ({asked.min()} to {asked.max()} "
            f"{recorded_task.nouns(task)} per row, over its trainings). Cells: what was named instead, the most "
            f"frequent first; '{REST}': everything else. "
        )
    if task["kind"] == "class":
        return "On the diagonal: named as asked. Rows without a number were never asked for, other empty cells are 0. "
    alone = f"Column '{NEITHER}': missed, and nothing unasked was named. " if _neither(table, task) else ""
    return (
        f"On the diagonal: named. Off the diagonal: missed, while a {word} that nobody asked for was named; where "
        f"there are several, each gets an equal part. {alone}Rows without a number were never asked for, other empty "
        "cells are 0. "
    )


def _most(table: pd.DataFrame, task: Task) -> str:
    """The most frequent confusion."""
    wrong = table[(table["asked"] != table["named"]) & ~table["named"].isin([NEITHER, REST])]
    if wrong.empty or not wrong["share"].max() > 0:
        return "Nothing was confused."
    most = wrong.loc[wrong["share"].idxmax()]
    return (
        f"The most frequent confusion is {most['asked']} named as {most['named']} ({most['share']:.3f}, "
        f"{labels.plain(most['arm'])})."
    )
