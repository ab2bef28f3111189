"""Recorded images of the arms: where they lie, how one is shown, and how a page of them is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from analysis.plotting import axes as shared
from analysis.plotting import labels, style
from analysis.results import Results

TALL = 1.5  # height / width of a grid of eight columns of which the first eight rows are shown, a square
ONE_COLUMN = 6  # strips across the page; more are drawn at half the size


# --- what is recorded --------------------------------------------------------------------------------


def of_first_seed(results: Results, files: Mapping[str, str], columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per arm: arm, seed, folder, a column for each of `files` (column -> name in the trial's folder) and of
    `columns` (column -> name of a result in the record).

    Paths are empty and results NaN for a trial that is not complete.
    """
    first = results.rows[results.rows["seed"] == results.seeds[0]]
    found = []
    for row in first.to_dict("records"):
        complete = row["state"] == "complete"
        trial = {"arm": row["arm"], "seed": row["seed"], "folder": row["folder"] if complete else ""}
        trial |= {column: str(Path(row["folder"]) / file) if complete else "" for column, file in files.items()}
        found.append(trial | {column: row.get(name, np.nan) for column, name in (columns or {}).items()})
    return pd.DataFrame(found, columns=["arm", "seed", "folder", *files, *(columns or {})])


def lacking(table: pd.DataFrame, columns: Sequence[str]) -> str:
    """Why no image of these columns can be shown; empty where one can."""
    if any(path and Path(path).is_file() for column in columns for path in table[column]):
        return ""
    if (table["folder"] != "").any():
        return "Not recorded by these trials: an older version ran them."
    return "No trial of the first seed is complete yet."


# --- pages -------------------------------------------------------------------------------------------


def sheet(
    table: pd.DataFrame, results: Results, columns: Sequence[str], across: int, below: float = 0.0
) -> tuple[Figure, dict[str, list[Axes]]]:
    """A page with `across` arms per row, each with its images side by side under its name: the figure, arm -> axes.

    `below`: inches that a row needs for words under its images; the last row has room for one line. More arms than
    a page takes are thinned by `labels.spread_arms`.
    """
    table = table[table["arm"].isin(labels.spread_arms(results, list(table["arm"])))]
    across = min(across, len(table))
    rows, side_by_side = -(-len(table) // across), across * len(columns)
    names = {arm: labels.wrapped(labels.plain(arm), round(118 / across)) for arm in table["arm"]}
    title = 0.14 * max(1 + name.count("\n") for name in names.values()) + 0.04
    # A single tall image across the whole page would be a poster.
    height = min(0.96 * style.DOUBLE / side_by_side * aspect(path for column in columns for path in table[column]), 4.5)
    figure = style.figure(style.DOUBLE, rows * (height + title + below) + 0.2)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    panels = figure.subplots(rows, side_by_side, squeeze=False).reshape(rows * across, len(columns))
    for unused in panels[len(table) :].flatten():
        unused.remove()
    looks = style.looks(results.arms)
    for axes_of_arm, (_, row) in zip(panels, table.iterrows(), strict=False):
        for axes, column in zip(axes_of_arm, columns, strict=True):
            show(axes, row[column], "not recorded" if row[column] else "missing")
        axes_of_arm[0].set_title(" " + "\n" * names[row["arm"]].count("\n"), pad=4)  # keeps the lines free
        # In the layout a name as wide as several images would push them apart.
        above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
        label = axes_of_arm[0].annotate(names[row["arm"]], (0, 1), (0, 2), **above)
        label.set(color=looks[row["arm"]].ink, in_layout=False)
    return figure, {arm: list(panels[index]) for index, arm in enumerate(names)}


def strips(table: pd.DataFrame, results: Results, below: str) -> Figure:
    """A page of the column `strip`, one strip per arm, with the words `below` under the last one."""
    figure, panels = sheet(table, results, ["strip"], 1 if len(table) <= ONE_COLUMN else 2)
    list(panels.values())[-1][0].set_xlabel(below)
    return figure


def words(table: pd.DataFrame, results: Results, text: str) -> str:
    """A caption: `text` (with {arms}, their number, and {seed} in it), how many arms are drawn and missing."""
    all_arms = list(table["arm"])
    table = table[table["arm"].isin(labels.spread_arms(results, all_arms))]
    drawn = table[table["folder"] != ""]
    absent = len(table) - len(drawn)
    return (
        text.format(arms=len(drawn), seed=f"training seed {drawn['seed'].iloc[0]}, n = 1 training per arm")
        + labels.spread_words(all_arms)
        + missing(absent)
    )


def missing(arms: int) -> str:
    """` 2 arms are missing.`; empty for none."""
    if not arms:
        return ""
    return " 1 arm is missing." if arms == 1 else f" {arms} arms are missing."


# --- one image ---------------------------------------------------------------------------------------


def show(axes: Axes, path: str, missing: str = "not recorded") -> None:
    """The PNG at `path`, pixel by pixel, without ticks; `missing` in grey where there is none."""
    if path and Path(path).is_file():
        _pixels(axes, _read(path))
    else:
        _pixels(axes, None)
        shared.say_in(axes, missing)


def show_row(axes: Axes, paths: Sequence[str], missing: str) -> list[float]:
    """The PNGs at `paths`, of one size, side by side as one image; returns their centres on the x axis.

    One image because axes cost more than what they show; `missing` in grey where there is none.
    """
    found = [_rgb(imread(path)) if path and Path(path).is_file() else None for path in paths]
    height, width = next((image.shape[:2] for image in found if image is not None), (1, 1))
    gap = max(1, width // 24)
    row = np.ones((height, len(found) * (width + gap) - gap, 3))
    centres = [index * (width + gap) + (width - 1) / 2 for index in range(len(found))]
    for index, (image, centre) in enumerate(zip(found, centres, strict=True)):
        if image is None:
            axes.text(centre, (height - 1) / 2, missing, ha="center", va="center", color=style.GREY)
        else:
            row[:, index * (width + gap) : index * (width + gap) + width] = image
    _pixels(axes, row)
    return centres


def strip_height(paths: Sequence[str]) -> float:
    """Inches of a titled strip across the page, in the proportions of the first of `paths` that exists."""
    for path in paths:
        if path and Path(path).is_file():
            height, width = imread(path).shape[:2]
            return 0.2 + 0.97 * style.DOUBLE * min(float(height / width), 0.3)
    return 0.6


def aspect(paths: Iterable[str]) -> float:
    """Height / width of the first image that exists; 1 without one."""
    for path in paths:
        if path and Path(path).is_file():
            height, width = _read(path).shape[:2]
            return float(height / width)
    return 1.0


def is_cut(paths: Iterable[str]) -> bool:
    """Whether of the first image that exists the beginning alone is shown."""
    for path in paths:
        if path and Path(path).is_file():
            height, width = imread(path).shape[:2]
            return bool(height > TALL * width)
    return False


def _read(path: str) -> NDArray[Any]:
    """The PNG; of a grid of hundreds of images the first eight rows, for the whole of it would be too small to see."""
    image: NDArray[Any] = imread(path)
    height, width = image.shape[:2]
    return image[:width] if height > TALL * width else image


def _rgb(image: NDArray[Any]) -> NDArray[Any]:
    """(height, width, 3) of a grey, colour or transparent image."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image[:, :, :3]


def _pixels(axes: Axes, image: NDArray[Any] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if image is not None:
        axes.imshow(image, interpolation="nearest", aspect="equal", cmap="gray", vmin=0, vmax=1)
