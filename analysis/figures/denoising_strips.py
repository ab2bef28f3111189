"""Denoising, arm by arm.

One sample from pure noise to the end, one strip per arm: x_t above the estimate of x0.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images
from analysis.results import Results

NEEDS = Needs(files=("denoising.png",))

PLACE = "pictures"


def description(results: Results) -> str:
    what = "One sample" if recorded_task.task_of(results)["kind"] == "none" else "The same condition"
    to = "the end" if what == "One sample" else "the sample"
    return f"{what} from pure noise to {to}, one strip per arm: x_t above the estimate of x0."


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return images.of_first_seed(results, {"strip": "denoising.png"})


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, ["strip"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    return images.strips(table, results, r"pure noise $\rightarrow$ sample")


def caption(table: pd.DataFrame, results: Results) -> str:
    shown = recorded_task.task_of(results)["shown"].get("strip", [])
    names = ", ".join(shown).replace("{", "{{").replace("}", "}}")  # `images.words` fills in braces
    condition = f"the condition ({names}) and the first noise" if shown else "the first noise"
    return images.words(
        table,
        results,
        "One sample of each of {arms} arms ({seed}) on its way from pure noise (left) to the image (right): above the "
        f"noisy state x_t, below the image that the network expects from it. All strips share {condition}; from pure "
        "noise the first estimate is the mean of all images.",
    )
