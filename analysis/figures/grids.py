"""Samples of both test lists.

The grids of `test` and `new_test` as the course asks for them, each arm's with the accuracy of that very training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import images as pictures
from analysis.plotting import style

PLACE = "pictures"

LISTS = ("test", "new_test")
ONE_COLUMN = 6  # arms; more are drawn at half the size


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm: arm, seed, folder; for each list its grid's path (empty for a trial that is not complete),
    `accuracy <list>` and `objects <list>` of that trial."""
    results = {f"{score} {name}": f"{score}/{name}" for name in LISTS for score in ("accuracy", "objects")}
    return pictures.of_first_seed(study_id, record, {name: f"grid_{name}.png" for name in LISTS}, results)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if not pictures.recorded(table, LISTS):
        return style.blank(pictures.nothing(table))
    across = 1 if len(table) <= ONE_COLUMN else 2
    figure, panels = pictures.sheet(table, study, LISTS, across, below=0.2)
    scores = table.set_index("arm")
    for arm, axes_of_arm in panels.items():
        for axes, name in zip(axes_of_arm, LISTS, strict=True):
            accuracy, objects = scores.at[arm, f"accuracy {name}"], scores.at[arm, f"objects {name}"]
            if accuracy == accuracy:
                of = f" of {objects:.0f} objects" if across == 1 and objects == objects else ""
                axes.set_xlabel(f"{name}: {accuracy:.3f}{of}", labelpad=2, fontsize=8 if across == 1 else 7)
    return figure


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    return pictures.words(
        table,
        study,
        LISTS,
        "Every image of both test lists, in the lists' order, for {arms} arms ({seed}). Under a grid: the accuracy of "
        "that very training on the list, over all its sampling passes; the first is shown. All arms began with the "
        "same noise.",
    )
