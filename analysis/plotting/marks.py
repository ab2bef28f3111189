"""The marks that several figures share: trainings as points, means as lines with their intervals as bands.

seaborn draws them; the intervals are the tables' own t intervals, never a bootstrap of a plotting library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from analysis.plotting import style
from analysis.plotting.style import Look

FAN = 0.24  # of a row: how far the seeds of one arm lie apart
BAND = 0.15  # opacity of an interval


def points(
    axes: Axes, table: pd.DataFrame, value: str, looks: Mapping[str, Look], below: float = 0.0, **more: Any
) -> None:
    """A point per training: `table` has the columns arm and `value`, sorted by seed; a row per name of `looks`.

    The seeds of an arm are fanned out in their order, around `below` under the middle of its row.
    """
    arms = list(looks)
    first = len(axes.collections)
    sns.stripplot(
        table.assign(row=table["arm"].map({arm: row for row, arm in enumerate(arms)})),
        x=value,
        y="row",
        order=range(len(arms)),
        hue="row",
        palette={row: looks[arm].colour for row, arm in enumerate(arms)},
        orient="h",
        jitter=False,  # it is random: the same seed would stand elsewhere in each panel
        legend=False,
        ax=axes,
        **{"size": 3, "alpha": 0.6, "linewidth": 0, **more},
    )
    axes.set(xlabel="", ylabel="")
    for marks in axes.collections[first:]:
        places = np.array(marks.get_offsets())
        aside = FAN * (np.arange(len(places)) / max(len(places) - 1, 1) - 0.5) if len(places) > 1 else 0.0
        places[:, 1] += below + aside
        marks.set_offsets(places)


def means(
    axes: Axes, table: pd.DataFrame, x: str, y: str, looks: Mapping[str, Look], by: str = "arm", **more: Any
) -> None:
    """A line with markers per name of `looks`, through the rows of `table` whose column `by` has it, by rising x.

    The columns low and high are its interval, a band; NaN where there is none.
    """
    shown = table[table[by].isin(looks)]
    if shown.empty:
        return
    for name, line in shown.sort_values(x).groupby(by, sort=False):
        axes.fill_between(line[x], line["low"], line["high"], color=looks[name].colour, alpha=BAND, linewidth=0)
    sns.lineplot(
        shown,
        x=x,
        y=y,
        hue=by,
        style=by,
        hue_order=list(looks),
        style_order=list(looks),
        palette={name: look.colour for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        dashes={name: look.dashes or "" for name, look in looks.items()},
        estimator=None,
        errorbar=None,
        legend=False,
        ax=axes,
        **{"markersize": 4, "linewidth": 1.2, "markeredgecolor": "white", "markeredgewidth": 0.3, **more},
    )
    axes.set(xlabel="", ylabel="")


def aside(names: Iterable[str]) -> dict[str, float]:
    """name -> how far it is moved sideways, from -.5 to .5 of the room there is: equal means do not hide each other."""
    places = list(names)
    return {name: (place - (len(places) - 1) / 2) / max(len(places) - 1, 1) for place, name in enumerate(places)}


def intervals(
    axes: Axes, low: Sequence[float], high: Sequence[float], at: Sequence[float], colours: Sequence[str], **more: Any
) -> None:
    """Horizontal intervals at the heights `at`, in one collection; those of NaN are left out."""
    ends = np.stack([low, high, at], axis=1).astype(np.float64)
    known = np.isfinite(ends).all(axis=1)
    lines = [[(start, height), (end, height)] for start, end, height in ends[known]]
    kept = [colour for colour, whole in zip(colours, known, strict=True) if whole]
    axes.add_collection(LineCollection(lines, colors=kept, **{"linewidths": 1.2, **more}))
    axes.autoscale_view()


def lines(axes: Axes, xy: Iterable[NDArray[Any]], colour: str = style.FAINT, **more: Any) -> None:
    """Thin lines, arrays of shape (points, 2), as one collection: what is many and has no name of its own."""
    drawn = LineCollection(
        [part for part in xy if len(part)], colors=colour, **{"linewidths": 0.6, "zorder": 1, **more}
    )
    axes.add_collection(drawn)
    axes.autoscale_view()
