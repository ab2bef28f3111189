"""Denoising, arm by arm.

The same condition from pure noise to the sample, one strip an arm: x_t above the estimate of x0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import images as pictures
from runners.tasks.iclevr.labels import STRIP_CONDITION

PLACE = "pictures"


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return pictures.of_first_seed(study_id, record, {"strip": "denoising.png"})


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    return pictures.strips(table, study, r"pure noise $\rightarrow$ sample")


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    return pictures.words(
        table,
        study,
        ["strip"],
        "One sample of each of {arms} arms ({seed}) on its way from pure noise (left) to the image (right): above the "
        "noisy state x_t, below the image that the network expects from it. All strips share the condition ("
        f"{', '.join(STRIP_CONDITION)}) and the first noise; from pure noise the first estimate is the mean of all "
        "pictures.",
    )
