"""Between two noises.

Samples whose first noise moves along a great circle from one draw to another, one strip per arm: two conditions, eight
steps. A sampler that adds noise on the way adds the same to all images of a row.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.plotting import images
from analysis.results import Results

PLACE = "pictures"


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return images.of_first_seed(results, {"strip": "interpolation.png"})


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, ["strip"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    return images.strips(table, results, r"one noise $\rightarrow$ another")


def caption(table: pd.DataFrame, results: Results) -> str:
    nouns = recorded_task.nouns(recorded_task.task_of(results))
    things = "them" if nouns == "images" else nouns
    return images.words(
        table,
        results,
        "Each of {arms} arms ({seed}) with its own sampler and guidance: two conditions (rows), eight starts on the "
        "great circle between two noises (columns; slerp, Shoemake 1985), the same noises in all arms. A model "
        f"that has learned the images changes {things} gradually; one that repeats single images jumps.",
    )
