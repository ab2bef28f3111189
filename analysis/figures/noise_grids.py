"""One condition, four noises.

Rows are conditions, columns noises: what stays in a row is the condition, what changes is the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import images as pictures
from analysis.plotting import style
from runners.process.files import read_json

PLACE = "pictures"

LIST = "validation"  # whose first conditions diversity.png shows
ACROSS = 4  # arms a row of the page
FILES = {"grid": "diversity.png"}


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm: arm, seed, folder, grid (a PNG's path, empty for a trial that is not complete), diversity."""
    return pictures.of_first_seed(study_id, record, FILES, {"diversity": "diversity"})


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if not pictures.recorded(table, ["grid"]):
        return style.blank(pictures.nothing(table))
    figure, panels = pictures.sheet(table, study, ["grid"], ACROSS, below=0.2)
    diversity = table.set_index("arm")["diversity"]
    for arm, (axes,) in panels.items():
        if diversity[arm] == diversity[arm]:
            axes.set_xlabel(f"diversity {diversity[arm]:.3f}", labelpad=2)
    names = conditions(next(folder for folder in table["folder"] if folder))
    for axes in (row[0] for index, row in enumerate(panels.values()) if index % ACROSS == 0):
        if axes.images and names:
            # Cells of one height, whatever the padding between them.
            height = axes.images[0].get_array().shape[0] / len(names)
            axes.set_yticks([height * (index + 0.5) for index in range(len(names))], names, fontsize=6)
            axes.tick_params(left=False, pad=1)
    return figure


def conditions(folder: str) -> list[str]:
    """The conditions that diversity.png shows, in rows."""
    path = Path(folder) / "conditions.json"
    known = read_json(path).get(LIST, []) if path.is_file() else []
    return [style.plain("\n".join(labels)) for labels in known[:8]]


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    return pictures.words(
        table,
        study,
        ["grid"],
        "{arms} arms ({seed}): rows are the first eight conditions of the validation list, columns four noises, the "
        "same in all arms. Rows that repeat one image say that the condition decides everything. Under each arm: the "
        "mean distance between two images of a row, on a scale where white minus black is 1.",
    )
