"""Ten samples of each class.

Rows are classes, columns noises, of the baseline: what stays in a row is the class, what changes is the noise.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, labels, style
from analysis.results import Results

NEEDS = Needs(files=("class_grid.png",))

PLACE = "pictures"
CLASSES = 10  # rows of a trial's class_grid.png: the first ones by index
WIDTH = 4.8  # inches of the grid, about square
LETTERS = 22  # of a name


def applies(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] == "class")


def table(results: Results) -> pd.DataFrame:
    """One row, of the baseline: arm, seed, folder, grid (a PNG's path, empty for a trial that is not complete)."""
    found = images.of_first_seed(results, {"grid": "class_grid.png"})
    return found[found["arm"] == results.study.baseline_arm].reset_index(drop=True)


def lacking(table: pd.DataFrame, results: Results) -> str:
    if not (table["folder"] != "").any():
        return "The baseline's trial of the first seed is not complete yet."
    return images.lacking(table, ["grid"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    names = [labels.cut(name, LETTERS) for name in recorded_task.task_of(results)["labels"][:CLASSES]]
    arm = table["arm"].iloc[0]
    figure = style.figure(style.DOUBLE, WIDTH * images.aspect(table["grid"]) + 0.3)
    axes = figure.subplots()
    images.show(axes, table["grid"].iloc[0])
    height = axes.images[0].get_array().shape[0] / len(names)  # type: ignore[union-attr]
    axes.set_yticks([height * (row + 0.5) for row in range(len(names))], names, fontsize=7)
    axes.tick_params(left=False, pad=2)
    title = f"{labels.plain(arm)} (baseline)"
    axes.set_title(labels.wrapped(title, 70), loc="left", pad=4, color=style.looks(results.arms)[arm].ink)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    row, count = table.iloc[0], len(recorded_task.task_of(results)["labels"])
    first = f" The first {CLASSES} of {count:,} classes are shown." if count > CLASSES else ""
    return (
        f"Samples of the baseline, {labels.plain(row['arm'])} (training seed {row['seed']}, n = 1 training), with its "
        f"own sampler and guidance: rows are classes, columns noises, the same in all rows.{first} In a row that "
        "repeats one image, the class decides everything."
    )
