"""One condition, four noises.

Rows are conditions, columns noises: what stays in a row is the condition, what changes is the noise.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, labels
from analysis.results import Results
from runners.process.files import read_json

NEEDS = Needs(files=("diversity.png",))

PLACE = "pictures"
ACROSS = 4  # arms per row of the page
CONDITIONS = 8  # of the list of choice, whose first conditions diversity.png shows


def applies(results: Results) -> bool:
    return bool(recorded_task.task_of(results)["kind"] != "none")


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, grid (a PNG's path, empty for a trial that is not complete), diversity."""
    return images.of_first_seed(results, {"grid": "diversity.png"}, {"diversity": "diversity"})


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, ["grid"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    figure, panels = images.sheet(table, results, ["grid"], ACROSS, below=0.2)
    diversity = table.set_index("arm")["diversity"]
    for arm, (axes,) in panels.items():
        if diversity[arm] == diversity[arm]:
            axes.set_xlabel(f"diversity {diversity[arm]:.3f}", labelpad=2)
    names = conditions(next(folder for folder in table["folder"] if folder), results.list_of(results.selection))
    for axes in (row[0] for index, row in enumerate(panels.values()) if index % ACROSS == 0):
        if axes.images and names:
            # Cells of one height, whatever the padding between them.
            height = axes.images[0].get_array().shape[0] / len(names)
            axes.set_yticks([height * (index + 0.5) for index in range(len(names))], names, fontsize=6)
            axes.tick_params(left=False, pad=1)
    return figure


def conditions(folder: str, name: str) -> list[str]:
    """The conditions that diversity.png shows, in rows: the first of the list `name`."""
    path = Path(folder) / "conditions.json"
    known = read_json(path).get(name, []) if path.is_file() else []
    return [labels.plain("\n".join(each)) for each in known[:CONDITIONS]]


def caption(table: pd.DataFrame, results: Results) -> str:
    return images.words(
        table,
        results,
        f"{{arms}} arms ({{seed}}): rows are the first eight conditions of {results.list_of(results.selection)}, "
        "columns four noises, the same in all arms. In rows that repeat one image, the condition decides everything. "
        "Under each arm: the mean distance between two images of a row, on a scale where white minus black is 1.",
    )
