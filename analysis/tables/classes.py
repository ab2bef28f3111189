"""Scores by class: how often each label that a list asks for was found by the evaluator.

A trial keeps classes.csv with the columns list, label, asked, hits and named_unasked (pictures in which the label was
among the evaluator's top k although it was not asked for), summed over its sampling passes and evaluators.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import recorded_task
from analysis.results import Results, once
from analysis.stats import intervals
from analysis.tables.format import decimal

COLUMNS = ("list", "arm", "label", "n", "asked", "recall", "ci low", "ci high", "named unasked")
COUNTS = ("asked", "hits", "named_unasked")
MOST_ARMS = 8  # columns of a table that is read; the CSV has every arm
MOST_LABELS, WORST, BEST = 100, 20, 5  # of more labels the table that is read has the worst and the best


@once
def table(results: Results) -> pd.DataFrame:
    """One row per list, arm and label with COLUMNS: n trainings, recall as their mean with its 95 % t interval.

    `asked` and `named unasked` are means over the trainings. Empty where no trial has kept its classes.csv.
    """
    counts = recorded(results)
    if counts.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    counts["recall"] = counts["hits"] / counts["asked"].where(counts["asked"] > 0)
    keys = ["list", "arm", "label"]
    cells = counts.pivot_table(index="seed", columns=keys, values="recall", sort=False, dropna=False)
    mean = intervals.means(cells.to_numpy(dtype=np.float64))
    found = pd.DataFrame(
        {"n": mean.n, "recall": mean.mean, "ci low": mean.low, "ci high": mean.high}, index=cells.columns
    )
    averages = counts.groupby(keys, sort=False)[["asked", "named_unasked"]].mean()
    found = found[found["n"] > 0].join(averages.rename(columns={"named_unasked": "named unasked"}))
    order = {arm: index for index, arm in enumerate(results.arms)}
    lists = {name: index for index, name in enumerate(results.all_lists)}
    found = found.reset_index()
    ranks = found["list"].map(lambda name: lists.get(name, len(lists))), found["arm"].map(order), found["label"]
    return found.iloc[np.lexsort([rank.to_numpy() for rank in reversed(ranks)])][list(COLUMNS)].reset_index(drop=True)


def recorded(results: Results) -> pd.DataFrame:
    """The lines of every classes.csv, with the arm and seed of its trial."""
    complete, lines = results.complete, list[tuple[Any, ...]]()
    for arm, seed, folder in zip(complete["arm"], complete["seed"], complete["folder"], strict=True):
        path = Path(folder) / "classes.csv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.reader(file)
                head = next(reader)
                place = [head.index(name) for name in ("list", "label", *COUNTS)]
                for line in reader:
                    name, label, *counts = (line[index] for index in place)
                    lines.append((arm, seed, name, label, *map(int, counts)))
    return pd.DataFrame(lines, columns=["arm", "seed", "list", "label", *COUNTS])


def readable(table: pd.DataFrame, results: Results) -> dict[str, pd.DataFrame]:
    """List -> one row per label, one column per arm (of many the baseline and those after it) with its recall.

    Of more than MOST_LABELS labels those with the worst and the best recall over the arms, the worst first.
    """
    present = set(table["arm"])
    arms = [arm for arm in results.arms if arm in present]
    shown = sorted(arms, key=lambda arm: arm != results.study.baseline_arm)[:MOST_ARMS]
    head = {"label": recorded_task.label_word(recorded_task.task_of(results))}
    sheets = {str(name): _sheet(_ends(of_list), shown) for name, of_list in table.groupby("list", sort=False)}
    return {name: sheet.rename(columns=head) for name, sheet in sheets.items()}


def _ends(of_list: pd.DataFrame) -> pd.DataFrame:
    """The lines of the labels that are shown."""
    recall = of_list.groupby("label", sort=False)["recall"].mean()
    if len(recall) <= MOST_LABELS:
        return of_list
    kept = ends(recall, WORST, BEST)
    rank = {label: index for index, label in enumerate(kept)}
    return of_list[of_list["label"].isin(kept)].sort_values("label", key=lambda label: label.map(rank), kind="stable")


def ends(recall: pd.Series, worst: int, best: int) -> list[str]:
    """The labels with the worst and the best of these, the worst first; all labels where there are no more."""
    order = [str(label) for label in recall.sort_values(kind="stable").index]
    return order if len(order) <= worst + best else order[:worst] + order[-best:]


def _sheet(of_list: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    labels = list(dict.fromkeys(of_list["label"]))
    asked = of_list.groupby("label")["asked"].mean()
    sheet = pd.DataFrame({"label": labels, "asked": [f"{asked[label]:.4g}" for label in labels]})
    for arm in arms:
        recall = of_list[of_list["arm"] == arm].set_index("label")["recall"].reindex(labels)
        sheet[head(arm, of_list)] = [decimal(value) for value in recall]
    return sheet


def head(arm: str, of_list: pd.DataFrame) -> str:
    """The name of an arm's column."""
    return f"{arm} (n = {of_list.loc[of_list['arm'] == arm, 'n'].max()})"


def note(table: pd.DataFrame, results: Results) -> str:
    """What stands under the tables."""
    task = recorded_task.task_of(results)
    nouns, label = recorded_task.nouns(task), recorded_task.label_word(task)
    found = f"that {recorded_task.scorer(results)} names so" if task["kind"] == "class" else "found"
    arms, labels = table["arm"].nunique(), table.groupby("list")["label"].nunique().max()
    rest = f" Only {MOST_ARMS} of {arms} arms are shown." if arms > MOST_ARMS else ""
    if labels > MOST_LABELS:
        rest += (
            f" Of a list of more than {MOST_LABELS} {recorded_task.label_words(task)} only the {WORST} worst and the "
            f"{BEST} best are shown."
        )
    if task["noun"] == label:
        return (
            f"Recall: of the times that a {label} was asked for, the share in which it was found, as a mean over n "
            f"complete trainings; asked: how often, per training. That is not often for one {label}: nothing is "
            "tested, "
            f"the CSV has the intervals.{rest}"
        )
    return (
        f"Recall: of the {nouns} of a {label} that were asked for, the share {found}, as a mean over n complete "
        f"trainings; asked: {nouns} per training. There are few {nouns} per {label}: nothing is tested, the CSV has "
        f"the intervals.{rest}"
    )
