"""Accuracy against diversity.

What guidance trades: one line per setting of the other factors, its points in the order of guidance_scale, each with
a cross of both t intervals.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.figures import accuracy_by_guidance
from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.plotting.style import Look
from analysis.results import Results

NEEDS = Needs(fields=("guidance_scale",), columns=("diversity",))

PLACE = "answer"
MOST_LABELLED = 4  # settings whose every point has room for its s; of more the ends of each line have it


def applies(results: Results) -> bool:
    return accuracy_by_guidance.applies(results)


def title(results: Results) -> str:
    return f"{labels.score(results, True)} against diversity"


def table(results: Results) -> pd.DataFrame:
    """One row per arm with a complete trial: setting, guidance_scale, n; the metric on the list of choice (under the
    metric's name) and diversity with their t intervals.

    Diversity is NaN where a record of an older version has none.
    """
    found = accuracy_by_guidance.table(results)
    spans = {"mean": "diversity", "low": "diversity low", "high": "diversity high"}
    diversity = found[found["list"] == accuracy_by_guidance.DIVERSITY].set_index("arm")[list(spans)]
    scored = found[found["list"] == results.list_of(results.selection)].rename(columns={"mean": results.score.name})
    return scored.drop(columns="list").join(diversity.rename(columns=spans), on="arm")


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "No trial is complete yet."
    missing = table["diversity"].isna().all()
    return "Diversity is not recorded: an older version ran these trials." if missing else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    settings, score = list(table["setting"].unique()), results.score.name
    kept = labels.spread(settings)
    looks = {name: look for name, look in style.looks(settings).items() if name in kept}
    handles = [look.handle(labels.plain(name)) for name, look in looks.items() if name]
    height = shared.legend_height([str(handle.get_label()) for handle in handles]) if handles else 0
    figure = style.figure(style.DOUBLE, 3.2 + height)
    axes = figure.subplots()
    table = table.sort_values("guidance_scale")
    others = table[~table["setting"].isin(kept)]
    marks.lines(axes, (line[["diversity", score]].to_numpy() for _, line in others.groupby("setting")))
    _lines(axes, table[table["setting"].isin(kept)], score, looks)
    axes.set_xlabel(
        f"diversity: {accuracy_by_guidance.DISTANCE.replace(chr(10), ' ')} between samples of one condition"
    )
    axes.set_ylabel(f"{results.list_of(results.selection)} {labels.score(results)}")
    axes.margins(0.08)
    shared.legend(figure, handles)
    return figure


def _lines(axes: Axes, table: pd.DataFrame, score: str, looks: Mapping[str, Look]) -> None:
    """Means joined in the order of s, a thin cross of t intervals on each, and s beside it."""
    for name, points in table.groupby("setting", sort=False):
        look, x, y = looks[str(name)], points["diversity"], points[score]
        across = np.nan_to_num(np.stack([x - points["diversity low"], points["diversity high"] - x]))
        along = np.nan_to_num(np.stack([y - points["low"], points["high"] - y]))
        axes.errorbar(x, y, xerr=across, yerr=along, fmt="none", ecolor=look.colour, elinewidth=0.5, alpha=0.7)
        for place, row in enumerate(points.to_dict("records")):
            if len(looks) <= MOST_LABELLED or place in (0, len(points) - 1):
                text = f"s = {row['guidance_scale']:g}" if place == 0 else f"{row['guidance_scale']:g}"
                beside = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 6.5}
                axes.annotate(text, (row["diversity"], row[score]), color=look.ink, **beside)
    sns.lineplot(
        table,
        x="diversity",
        y=score,
        hue="setting",
        style="setting",
        palette={name: look.colour for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        dashes={name: look.dashes or "" for name, look in looks.items()},
        sort=False,  # by s, as the table is
        estimator=None,
        errorbar=None,
        legend=False,
        linewidth=1,
        markersize=4.5,
        markeredgewidth=0.3,
        ax=axes,
    )


def caption(table: pd.DataFrame, results: Results) -> str:
    score, picture = results.score.name, recorded_task.picture(recorded_task.task_of(results))
    name = labels.score(results)
    order = table[score] if results.score.higher_is_better else -table[score]
    most, best = table.loc[table["diversity"].idxmax()], table.loc[order.idxmax()]
    hidden = table["setting"].nunique() - len(labels.spread(list(table["setting"].unique())))
    unnamed = "1 setting" if hidden == 1 else f"{hidden} settings"
    return (
        "Marks are means over training seeds, thin crosses the 95 % t intervals of both "
        f"(n = {table['n'].max()} at most); the points of a line are in the order of guidance_scale s. "
        f"{'Up' if results.score.higher_is_better else 'Down'} and to the right is better. Diversity is the mean RMS "
        f"distance between {picture}s of one condition; {picture}s that are bad in different ways are diverse too. "
        f"Best {name}: {_named(best, score, name)}. Most diverse: {_named(most, score, name)}."
        + (f" {unnamed} without room in the legend {'is' if hidden == 1 else 'are'} grey." if hidden else "")
    )


def _named(row: pd.Series, score: str, name: str) -> str:
    setting = f"{row['setting']}, " if row["setting"] else ""
    return f"{setting}s = {row['guidance_scale']:g} ({name} {row[score]:.3f}, diversity {row['diversity']:.3f})"
