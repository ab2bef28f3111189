"""Accuracy by class.

Recall of each class, one panel per arm: a bar per class with its interval over trainings, the worst on top.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import heat, labels, marks, style
from analysis.recorded_task import Task
from analysis.results import Results
from analysis.stats import intervals
from analysis.tables import classes
from analysis.tables import format as formats

NEEDS = Needs(files=("classes.csv",))

COLUMNS = ["arm", "label", "asked", "hits", "recall", "n"]
INTERVAL = ["low", "high"]  # of bars alone
WORST, BEST = 20, 5  # bars; of more classes these are drawn
ACROSS = 4  # panels of bars in a row
BAR = 0.14  # inches
LETTERS = 22  # of a name


def applies(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] != "none")


def title(results: Results) -> str:
    return f"{labels.score(results, True)} by {recorded_task.label_word(recorded_task.task_of(results))}"


def description(results: Results) -> str:
    task = recorded_task.task_of(results)
    facets, word = recorded_task.two_facets(task), recorded_task.label_word(task)
    cells = f"a row per {facets[1]}, a column per {facets[0]}, the share found on each cell." if facets else ""
    bars = f"a bar per {word} with its interval over trainings, the worst on top."
    return f"Recall of each {word}, one panel per arm: {cells or bars}"


def table(results: Results) -> pd.DataFrame:
    """One row per drawn arm and label with COLUMNS: how often it was asked for and hit, over all lists, passes and the
    n complete trials that recorded it. Without two facets also the 95 % t interval of `recall` over the trainings."""
    task = recorded_task.task_of(results)
    drawn = labels.spread_arms(results, [arm for arm in results.arms if arm in set(results.complete["arm"])])
    own = results.of(results.study, results.rows[results.rows["arm"].isin(drawn)])
    as_cells = recorded_task.two_facets(task) is not None
    found = []
    counted = classes.recorded(own)
    for arm, counts in counted[counted["list"].isin(results.pooled)].groupby("arm", sort=False):
        sums = counts.groupby("label")[["asked", "hits"]].sum().reindex(task["labels"], fill_value=0)
        asked, hits = sums["asked"].to_numpy(), sums["hits"].to_numpy()
        of_arm = pd.DataFrame({"arm": arm, "label": task["labels"], "asked": asked, "hits": hits})
        of_arm["recall"] = hits / np.where(asked > 0, asked, np.nan)
        of_arm["n"] = counts["seed"].nunique()
        found.append(of_arm if as_cells else _with_intervals(of_arm, counts))
    columns = COLUMNS if as_cells else COLUMNS + INTERVAL
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _with_intervals(of_arm: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """With `recall` as the mean over the trainings, and its interval."""
    sums = counts.groupby(["seed", "label"])[["asked", "hits"]].sum()
    by_seed = (sums["hits"] / sums["asked"].where(sums["asked"] > 0)).unstack("label").reindex(columns=of_arm["label"])
    mean = intervals.means(by_seed.to_numpy(dtype=np.float64))
    return of_arm.assign(recall=mean.mean, low=mean.low, high=mean.high)


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its classes yet." if table.empty else ""


# --- drawing -------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame, results: Results) -> Figure:
    task = recorded_task.task_of(results)
    facets = recorded_task.two_facets(task)
    return _cells(table, results, task, facets) if facets else _bars(table, results, task)


def _cells(table: pd.DataFrame, results: Results, task: Task, facets: tuple[str, str]) -> Figure:
    """Of labels of two facets: a grid of them per arm."""
    columns, rows = (recorded_task.values(task, facet) for facet in facets)
    places = [(rows.index(row), columns.index(column)) for column, row in zip(*task["facets"].values(), strict=True)]
    arms, looks = list(table["arm"].unique()), style.looks(results.arms)
    across = min(2, len(arms))
    down = -(-len(arms) // across)
    figure = style.figure(style.DOUBLE, 0.35 + 0.95 * down)
    panels = figure.subplots(down, across, squeeze=False)
    for unused in panels.flatten()[len(arms) :]:
        unused.remove()
    for axes, arm in zip(panels.flatten(), arms, strict=False):
        recall = np.full((len(rows), len(columns)), np.nan)
        recall[tuple(np.transpose(places))] = table.loc[table["arm"] == arm, "recall"]
        heat.shares(axes, recall, rows, columns)
        name = labels.wrapped(labels.plain(arm), 50)
        axes.set_title(name, loc="left", color=looks[arm].ink, pad=3)
    return figure


def _bars(table: pd.DataFrame, results: Results, task: Task) -> Figure:
    """A bar per label in one order for all arms, by the mean over them."""
    shown = classes.ends(_over_arms(table), WORST, BEST)
    gap = WORST if len(shown) < table.loc[table["asked"] > 0, "label"].nunique() else len(shown)
    rows = [*range(gap), *range(gap + 1, len(shown) + 1)]  # an empty row stands for those between
    texts = {gap: "⋮"} | {row: labels.cut(label, LETTERS) for row, label in zip(rows, shown, strict=True)}
    arms, looks = list(table["arm"].unique()), style.looks(results.arms)
    across, height = min(ACROSS, len(arms)), BAR * (max(rows) + 1) + 0.6
    figure = style.figure(style.DOUBLE, 0.15 + height * -(-len(arms) // across))
    panels = figure.subplots(-(-len(arms) // across), across, squeeze=False)
    for line in panels:
        shared.name_rows(line, [texts[row] for row in range(max(rows) + 1)], 0.6)
    for unused in panels.flatten()[len(arms) :]:
        unused.remove()
    for axes, arm in zip(panels.flatten(), arms, strict=False):
        of_arm = table[table["arm"] == arm].set_index("label").loc[shown]
        axes.barh(rows, of_arm["recall"], height=0.7, color=looks[arm].colour, alpha=0.55, linewidth=0)
        marks.intervals(axes, of_arm["low"], of_arm["high"], rows, [style.GREY] * len(rows), linewidths=1)
        if task["kind"] == "class":
            shared.chance_line(axes, 1 / len(task["labels"]), across=False)
        for row, recall in zip(rows, of_arm["recall"], strict=True):
            axes.text(1.02, row, heat.short_share(recall), va="center", fontsize=6, color=style.GREY)
        axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], xlabel="recall")
        axes.xaxis.set_major_formatter("{x:g}")
        name = labels.wrapped(labels.plain(arm), round(88 / across))
        axes.set_title(name, loc="left", color=looks[arm].ink, pad=3)
    return figure


def _over_arms(table: pd.DataFrame) -> pd.Series:
    """The pooled recall of every label that was asked for, in the order of the labels."""
    total = table.groupby("label", sort=False)[["asked", "hits"]].sum()
    recall: pd.Series = (total["hits"] / total["asked"].where(total["asked"] > 0)).dropna()
    return recall


# --- caption -------------------------------------------------------------------------------------------


def caption(table: pd.DataFrame, results: Results) -> str:
    task = recorded_task.task_of(results)
    facets = recorded_task.two_facets(task)
    # Of equal classes the bars name the one that is drawn first or last.
    recall = _over_arms(table).sort_values(kind="quicksort" if facets else "stable")
    scored = results.complete["arm"].nunique()
    hidden = f" Only {table['arm'].nunique()} of {scored} arms are drawn." if scored > labels.MOST else ""
    ends = _ends(recall, recorded_task.label_word(task), recorded_task.label_words(task))
    if facets:
        n = int(table["n"].max())
        asked = table.loc[table["n"] == table["n"].max(), "asked"]
        return (
            f"Share of the {recorded_task.nouns(task)} asked for that {recorded_task.scorer(results)} names, by "
            f"{recorded_task.label_word(task)}, {_pooled(results)} and over n = {n} training{'s' * (n != 1)} per arm "
            f"at most ({asked.min()} to {asked.max()} "
            f"{recorded_task.nouns(task)} per cell). {ends} Empty cells were never asked for.{hidden}"
        )
    return f"{_of_bars(table, results, task)} {ends}{_left_out(recall, task)}{hidden}"


def _ends(recall: pd.Series, label: str, labels_: str) -> str:
    """The best and the worst of these labels; those that tie together."""
    names = [str(name) for name in recall.index]
    best, worst = formats.best(names, list(recall)), formats.best(names, list(-recall))
    if len(best) == len(names) > 1:
        return f"Over these arms all {labels_} tie ({recall.iloc[0]:.3f})."
    first = f"the best {label if len(best) == 1 else labels_}"
    return (
        f"Over these arms {first} {'is' if len(best) == 1 else 'are'} {formats.listed(best)} "
        f"({recall.max():.3f}), the worst {formats.listed(worst)} ({recall.min():.3f})."
    )


def _pooled(results: Results) -> str:
    """`over target_test and target_validation`, where other lists are of other images."""
    return "pooled over the lists" if results.pooled == results.all_lists else f"over {' and '.join(results.pooled)}"


def _of_bars(table: pd.DataFrame, results: Results, task: Task) -> str:
    per_training = table.loc[table["asked"] > 0, "asked"] / table.loc[table["asked"] > 0, "n"]
    counts = list(dict.fromkeys(f"{count:.4g}" for count in (per_training.min(), per_training.max())))
    chance = " The dotted line is chance." if task["kind"] == "class" else ""
    word, nouns = recorded_task.label_word(task), recorded_task.nouns(task)
    often = f"{' to '.join(counts)} {nouns} of each {word} and training"
    if word == task["noun"]:
        often = f"each {word} was asked for {' to '.join(counts)} times per training"
    so = " so" if task["kind"] == "class" else ""
    return (
        f"Share of the {nouns} asked for that {recorded_task.scorer(results)} names{so}, by {word}, {_pooled(results)} "
        f"({often}). Bars and numbers are means over trainings (n = {table['n'].max()} per arm at most), lines "
        "their 95 % t intervals; all panels have "
        f"the order of the mean over the arms.{chance}"
    )


def _left_out(recall: pd.Series, task: Task) -> str:
    """Which classes are not drawn."""
    words = recorded_task.label_words(task)
    never, many = len(task["labels"]) - len(recall), len(recall) > WORST + BEST
    return (f" Only the {WORST} worst and the {BEST} best of {len(recall):,} {words} are drawn." if many else "") + (
        f" {never:,} of {len(task['labels']):,} {words} were never asked for." if never else ""
    )
