"""Cells with numbers, coloured by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from numpy.typing import NDArray

from analysis.plotting import style

BLUES = matplotlib.colormaps["Blues"]
SHARES = Normalize(0, 1)


def cells(
    axes: Axes,
    values: NDArray[np.float64],
    words: NDArray[Any],
    colours: Colormap = BLUES,
    scale: Normalize = SHARES,
    **more: Any,
) -> None:
    """`values`, shape (rows, columns), as coloured cells with `words` of the same shape on them; NaN is no cell.

    The first row is on top; cell (row, column) has its middle at (column + .5, row + .5). There are no ticks yet.
    """
    looks = {"linewidths": 0.5, "linecolor": "white", "xticklabels": False, "yticklabels": False, "cbar": False}
    written = {"annot": words, "fmt": "", "annot_kws": {"fontsize": 6, **more}}
    sns.heatmap(values, cmap=colours, vmin=scale.vmin, vmax=scale.vmax, ax=axes, **looks, **written)
    # seaborn's white letters begin where black ones are still twice as clear.
    shown = values[np.isfinite(values)]
    for text, colour in zip(axes.texts, colours(scale(shown)), strict=True):
        text.set_color(style.ink_on(tuple(colour)))
    axes.grid(False)
    axes.tick_params(length=0, pad=2)
    axes.set(xlabel="", ylabel="")


def name(axes: Axes, rows: Sequence[str], columns: Sequence[str], **more: Any) -> None:
    """Labels at the middle of each row and column."""
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0, **more)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=0, **more)


def shares(axes: Axes, values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Shares in [0, 1] with two decimals (.45); NaN is an empty cell."""
    cells(axes, values, np.vectorize(short_share, otypes=[object])(values))
    name(axes, rows, columns, fontsize=6)


def short_share(share: float) -> str:
    """`.45`, `1`; empty for NaN."""
    if not np.isfinite(share):
        return ""
    return f"{share:.2f}".removeprefix("0") if 0 <= share < 0.995 else f"{share:.2f}".removesuffix(".00")
