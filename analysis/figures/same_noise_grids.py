"""Same noise, same condition, every arm.

The first eight conditions of the first test list (columns) sampled by the first seed of every arm (rows). Every image
of a column started from the same noise, so what differs down a column is the arm.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, labels, style
from analysis.results import Results
from runners.process.files import read_json

NEEDS = Needs(files=("images", "conditions.json"))

PLACE = "pictures"
CONDITIONS = 8
COLUMNS = ["arm", "seed", "index", "condition", "image"]


def _unlabelled(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] == "none")


def title(results: Results) -> str:
    return "Same noise, every arm" if _unlabelled(results) else "Same noise, same condition, every arm"


def description(results: Results) -> str:
    what = "samples" if _unlabelled(results) else "conditions"
    return (
        f"The first eight {what} of {results.all_reported[0]} (columns) by the first seed of every arm (rows). Every "
        "image of a column started from the same noise, so what differs down a column is the arm."
    )


def table(results: Results) -> pd.DataFrame:
    """One row per arm and condition, with COLUMNS; `image` is a PNG's path, empty for a trial that is not complete."""
    first = results.rows[results.rows["seed"] == results.seeds[0]]
    name, found = results.all_reported[0], []
    for trial in first[["arm", "seed", "folder", "state"]].to_dict("records"):
        folder, complete = Path(trial["folder"]), trial["state"] == "complete"
        names = _labels(folder, name)
        for index in range(CONDITIONS):
            image = str(folder / "images" / name / f"{index}.png") if complete else ""
            found.append([trial["arm"], trial["seed"], index, names.get(index, f"{name} {index}"), image])
    return pd.DataFrame(found, columns=COLUMNS)


def _labels(folder: Path, name: str) -> dict[int, str]:
    """Position in the list -> its condition, one label per line; empty where the trial has no conditions.json."""
    if not (folder / "conditions.json").is_file():
        return {}
    conditions = read_json(folder / "conditions.json").get(name, [])
    return {index: "\n".join(map(str, given)) for index, given in enumerate(conditions)}


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "" if (table["image"] != "").any() else "No trial of the first seed is complete yet."


def draw(table: pd.DataFrame, results: Results) -> Figure:
    arms, looks = labels.spread_arms(results, list(table["arm"].unique())), style.looks(results.arms)
    figure = style.figure(style.DOUBLE, 0.35 + 1.03 * len(arms))
    figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.02, wspace=0.0, hspace=0.0)
    panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
    for axes, arm in zip(panels, arms, strict=True):
        centres = images.show_row(axes, list(table.loc[table["arm"] == arm, "image"]), "missing")
        axes.set_title(labels.plain(arm), loc="left", pad=2, color=looks[arm].ink)
    # A trial that is not complete knows no conditions: the labels come from one that does.
    named = table.sort_values("image", ascending=False).drop_duplicates("index").sort_values("index")["condition"]
    panels[-1].set_xticks(centres, [labels.plain(label) for label in named], fontsize=6)
    panels[-1].tick_params(length=0, pad=2)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    all_arms = list(table["arm"].unique())
    table = table[table["arm"].isin(labels.spread_arms(results, all_arms))]
    drawn = table[table["image"] != ""]
    what = "samples" if _unlabelled(results) else "conditions"
    absent = table["arm"].nunique() - drawn["arm"].nunique()
    return (
        f"Rows are the {table['arm'].nunique()} arms, columns the first {CONDITIONS} {what} of "
        f"{results.all_reported[0]}. All images of a column began with the same noise (training seed "
        f"{drawn['seed'].iloc[0]}, n = 1 training per arm): look down a column. Eight images illustrate; they measure "
        "nothing." + labels.spread_words(all_arms) + images.missing(absent)
    )
