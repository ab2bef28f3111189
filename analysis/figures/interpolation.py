"""Between two noises.

Samples whose first noise moves along a great circle from one draw to another, one strip an arm: two conditions, eight
steps. A sampler that adds noise on the way adds the same to all images of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import images as pictures

PLACE = "pictures"


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return pictures.of_first_seed(study_id, record, {"strip": "interpolation.png"})


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    return pictures.strips(table, study, r"one noise $\rightarrow$ another")


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    return pictures.words(
        table,
        study,
        ["strip"],
        "Each of {arms} arms ({seed}) with its own sampler and guidance: two conditions (rows), eight starts on the "
        "great circle between two noises (columns; slerp, Shoemake 1985), the same noises in all arms. A model "
        "that has learned the images changes objects gradually; one that repeats single images jumps.",
    )
