"""Arms that share their trainings are one line: a study of what happens after the training trains once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plotting import axes as shared
from analysis.plotting import labels, style
from analysis.plotting.style import Look
from analysis.results import Results

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
