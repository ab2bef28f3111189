"""Between two noises.

Samples whose first noise moves from one draw to another, one strip per arm: a row for each condition, or for each way
between the noises. A sampler that adds noise on the way adds the same to all images of a row.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, labels
from analysis.results import Results

NEEDS = Needs(files=("interpolation.png",))

PLACE = "pictures"
FILE = "interpolation.csv"  # of a trial: mix, condition, step, pixels, features
WAYS = {"slerp": "the great circle (slerp, Shoemake 1985)", "lerp": "the straight line"}


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, strip; `strip` is a PNG's path, empty for a trial that is not complete."""
    return images.of_first_seed(results, {"strip": "interpolation.png"})


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, ["strip"])


def draw(table: pd.DataFrame, results: Results) -> Figure:
    return images.strips(table, results, r"one noise $\rightarrow$ another")


def caption(table: pd.DataFrame, results: Results) -> str:
    task = recorded_task.task_of(results)
    nouns, shown = recorded_task.nouns(task), task["shown"]
    things = "them" if nouns == "images" else nouns
    mixes, steps = shown.get("mixes", ["slerp"]), shown.get("steps", 8)  # of records that do not say it
    rows = (
        f"{len(shown['interpolation'])} conditions"
        if task["kind"] != "none"
        else " and ".join(WAYS[mix] for mix in mixes)
    )
    between = "on the great circle between two noises (slerp, Shoemake 1985)"
    between = "between two noises" if len(mixes) > 1 else between
    own = "sampler" if task["kind"] == "none" else "sampler and guidance"
    return images.words(
        table,
        results,
        f"Each of {{arms}} arms ({{seed}}) with its own {own}: {rows} (rows), {steps} starts "
        f"{between} (columns), the same noises in all arms. A model that has learned the images changes {things} "
        "gradually; one that repeats single images jumps." + _distances(table),
    )


def _distances(table: pd.DataFrame) -> str:
    """The distances between neighbours of each row, where they are recorded: of the first arm that is drawn."""
    for folder in table["folder"]:
        path = Path(folder) / FILE if folder else None
        if path and path.is_file():
            steps = pd.read_csv(path)
            found = [
                f"{WAYS[mix]} {of_mix['pixels'].min():.3f} to {of_mix['pixels'].max():.3f} (sum "
                f"{of_mix['pixels'].sum():.3f})"
                for mix, of_mix in steps.groupby("mix", sort=False)
            ]
            arm = labels.plain(str(table.loc[table["folder"] == folder, "arm"].iloc[0]))
            return f" Distance between neighbours of {arm}, root mean square over pixels: {'; '.join(found)}."
    return ""
