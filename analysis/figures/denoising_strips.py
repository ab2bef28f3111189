"""Denoising, arm by arm.

The same condition from pure noise to the sample, one strip per arm: x_t above the estimate of x0.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import images
from analysis.results import Results
from runners.tasks.iclevr.labels import STRIP_CONDITION

PLACE = "pictures"


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return images.of_first_seed(results, {"strip": "denoising.png"})


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, ["strip"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    return images.strips(table, results, r"pure noise $\rightarrow$ sample")


def caption(table: pd.DataFrame, results: Results) -> str:
    return images.words(
        table,
        results,
        "One sample of each of {arms} arms ({seed}) on its way from pure noise (left) to the image (right): above the "
        "noisy state x_t, below the image that the network expects from it. All strips share the condition ("
        f"{', '.join(STRIP_CONDITION)}) and the first noise; from pure noise the first estimate is the mean of all "
        "images.",
    )
