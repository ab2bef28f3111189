"""Arms that share their trainings are one line: a study of what happens after the training trains once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.plotting.style import Look
from analysis.results import Results

MIN_REPORTS = 2  # of a curve; fewer are drawn as points
THIN = 10  # trainings of an arm that have a line of their own; its mean and interval are of all


@dataclass(frozen=True)
class Trainings:
    """`rows`: first arm of those that share their trainings -> its rows; `named`: those that a legend has room for,
    with their labels; `looks`: their looks, those of the first arm."""

    rows: dict[str, pd.DataFrame]
    named: dict[str, str]
    looks: dict[str, Look]

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the named ones."""
        return pd.concat([self.rows[arm] for arm in self.named], ignore_index=True)

    @property
    def others(self) -> dict[str, pd.DataFrame]:
        """Those without room in the legend."""
        return {arm: rows for arm, rows in self.rows.items() if arm not in self.named}

    def handles(self) -> list[Line2D]:
        """The legend."""
        found = [self.looks[arm].handle(label) for arm, label in self.named.items()]
        return found + ([Line2D([], [], color=style.FAINT, linewidth=0.6, label="other arms")] if self.others else [])


def of(table: pd.DataFrame, results: Results) -> Trainings:
    """Of a table with the columns arm and train_key, in the study's order."""
    frames = dict(iter(table.groupby("arm", sort=False)))
    sharing: dict[frozenset[str], list[str]] = {}
    for arm in results.arms:
        if arm in frames:
            sharing.setdefault(frozenset(frames[arm]["train_key"]), []).append(arm)
    looks = style.looks(results.arms)
    kept = labels.spread_arms(results, [arms[0] for arms in sharing.values()])
    named = {arms[0]: _label(arms, results) for arms in sharing.values() if arms[0] in kept}
    rows = {arms[0]: frames[arms[0]] for arms in sharing.values()}
    return Trainings(rows, named, {arm: looks[arm] for arm in named})


def _label(arms: Sequence[str], results: Results) -> str:
    """The arm; for arms that share a training the settings that their names share, or the first and how many more."""
    if len(arms) == 1:
        return labels.plain(arms[0])
    if len(arms) == len(results.arms):
        return f"all {len(arms)} arms (one training)"
    shared_words = set(arms[0].split()).intersection(*(arm.split() for arm in arms))
    # A word without its field, such as the number of steps of two samplers, would be no name.
    words = [word for word in arms[0].split() if word in shared_words and "=" in word]
    if words:
        return labels.plain(f"{' '.join(words)} ({len(arms)} arms)")
    return labels.plain(f"{arms[0]} and {len(arms) - 1} more (one training)")


def draw(axes: Axes, sharing: Trainings, x: str, y: str) -> None:
    """Thin lines per seed, their mean, and smallest to largest seed as far as all seeds go."""
    marks.lines(axes, (first(curves, x, y).to_numpy() for curves in sharing.others.values()))
    parts = []
    for arm, curves in sharing.rows.items():
        if arm not in sharing.named:
            continue
        look = sharing.looks[arm]
        seeds = [part for part in _of_seeds(curves, x, y) if len(part)]
        marks.lines(axes, seeds[:THIN], look.colour, linewidths=0.5, alpha=0.6)
        single = [part[0] for part in seeds[:THIN] if len(part) < MIN_REPORTS]
        if single:
            axes.scatter(*np.transpose(single), s=8, color=look.colour, alpha=0.6, linewidth=0)
        if seeds:
            parts.append(_average(seeds, x, y).assign(arm=arm))
    if parts:
        averages = pd.concat(parts, ignore_index=True)
        marks.means(axes, averages, x, y, sharing.looks, markevery=0.2, linewidth=1.4)


def _of_seeds(curves: pd.DataFrame, x: str, y: str) -> Iterator[NDArray[np.float64]]:
    """The known points (x, y) of each seed by rising x, shape (reports, 2)."""
    known = curves.dropna(subset=[x, y]).sort_values(x)
    for _, part in known.groupby("seed"):
        yield part[[x, y]].to_numpy(dtype=np.float64)


def _average(seeds: list[NDArray[np.float64]], x: str, y: str) -> pd.DataFrame:
    """Mean, smallest and largest of the seeds where all of them are, at every x that one of them reports."""
    start, end = max(part[0, 0] for part in seeds), min(part[-1, 0] for part in seeds)
    grid = np.unique(np.concatenate([part[:, 0] for part in seeds]))
    grid = grid[(grid >= start) & (grid <= end)]
    lines = np.array([np.interp(grid, part[:, 0], part[:, 1]) for part in seeds])
    return pd.DataFrame({x: grid, y: lines.mean(axis=0), "low": lines.min(axis=0), "high": lines.max(axis=0)})


def first(curves: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The known points of the first seed."""
    return curves[curves["seed"] == curves["seed"].min()].dropna(subset=[x, y]).sort_values(x)[[x, y]]


def page(sharing: Trainings, results: Results) -> tuple[Figure, Axes]:
    """A figure with one panel under its legend."""
    handles = sharing.handles()
    figure = style.figure(style.DOUBLE, 2.7 + shared.legend_height([str(handle.get_label()) for handle in handles]))
    shared.legend(figure, handles)
    return figure, figure.subplots()


def note_rescaled(axes: Axes, results: Results) -> None:
    """Says over a panel of losses that the arms' losses are not on one scale, where a factor makes them so."""
    if results.study.config_type.rescaling() & set(results.study.factors):
        axes.set_title("not on one scale across arms", color=style.GREY, fontsize=7)
