"""Paired differences.

Every arm minus its reference, seed by seed, with its interval and verdict; the study's metric in a large panel, the
other lists beside it. Filled marks are better or worse than the reference; the band is the margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis import verdicts
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.results import Results
from analysis.verdict import Outcome
from runners.experiment import metric_name

PLACE = "answer"
COLUMNS = ["metric", "arm", "against", "n", "planned", "difference", "low", "high", "p Holm", "verdict", "margin"]
MARGIN = "0.93"  # the band's grey
LABEL = 28  # letters of an arm on one line
NAMED = 6  # differences that the caption writes out; all are in the tables
REACH = 2.5  # times the largest difference seen: an interval may leave the panel beyond that, but not squeeze it
INCOMPLETE = (Outcome.INCOMPLETE, Outcome.REFERENCE_INCOMPLETE)


def applies(results: Results) -> bool:
    return bool(results.study.references)


def table(results: Results) -> pd.DataFrame:
    """One row per metric and compared arm with COLUMNS; n are its complete trials, verdict is a `Verdict`."""
    against = results.study.references
    compared = [index for index, arm in enumerate(results.arms) if arm in against]
    parts = []
    kind = results.metric.split("/")[0]  # the panels share an axis, so they share a unit
    for metric in (name for name in results.metrics if name.split("/")[0] == kind):
        paired, said = results.differences(metric), list(verdicts.of_arms(results, metric).values())
        columns = {
            "metric": metric,
            "arm": results.arms,
            "against": [against.get(arm, "") for arm in results.arms],
            "n": results.means(metric).n,
            "planned": len(results.seeds),
            "difference": paired.difference,
            "low": paired.low,
            "high": paired.high,
            "p Holm": paired.p_holm,
            "verdict": said,
            "margin": results.margin(metric),
        }
        parts.append(pd.DataFrame(columns, columns=COLUMNS).iloc[compared])
    return pd.concat(parts, ignore_index=True)


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "The study has nothing to compare."
    if not (table["n"] > 0).any():
        return "No compared arm has a complete trial yet."
    return "No arm is complete together with its reference." if table["difference"].isna().all() else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    metrics = [name for name, part in table.groupby("metric", sort=False) if part["difference"].notna().any()]
    arms = labels.spread_arms(results, list(dict.fromkeys(table["arm"])), labels.ROWS)
    table = table[table["arm"].isin(arms)]
    first = table[table["metric"] == metrics[0]]
    names = [labels.wrapped(_label(row, first, results), LABEL) for row in first.itertuples()]
    height = sum(0.14 + 0.12 * (name.count("\n") + 1) for name in names)
    figure = style.figure(style.DOUBLE, 1.05 + height)
    widths = [1.7, *[1.0] * (len(metrics) - 1)]
    panels = figure.subplots(1, len(metrics), squeeze=False, width_ratios=widths)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _panel(axes, table[table["metric"] == metric], results)
        axes.set_xlim(*_limits(table))
        axes.xaxis.set_major_locator(MaxNLocator(6 if axes is panels[0] else 3))
        axes.set_title(labels.plain(results.list_of(metric) or metric_name(metric)))
    shared.name_rows(panels, names, 0.6)
    panels[0].set_ylabel(labels.arm_title(results))
    words = panels[0].secondary_yaxis("right")
    words.set_yticks(range(len(names)), [verdict.short for verdict in first["verdict"]])
    words.tick_params(length=0)
    # Beside the next panel the words would read as its labels.
    header = f"verdict,\n{labels.plain(results.list_of(metrics[0]) or metric_name(metrics[0]))}"
    panels[0].annotate(header, (1, 1), (4, 2), xycoords="axes fraction", textcoords="offset points", color=style.GREY)
    words.spines["right"].set_visible(False)
    common = first["against"].iloc[0] if first["against"].nunique() == 1 else ""
    reference = labels.plain(common) if common else "its own reference"
    what = labels.plain(metric_name(metrics[0].split("/")[0]))
    figure.supxlabel(f"difference in {what} from {reference}, paired by seed", fontsize=8)
    shared.legend(figure, _legend(table), columns=4)
    return figure


def _label(row: Any, compared: pd.DataFrame, results: Results) -> str:
    """The arm; where references differ with its own."""
    label = labels.arm_label(results, row.arm)
    return label if compared["against"].nunique() == 1 else f"{label} vs {labels.arm_label(results, row.against)}"


def _panel(axes: Axes, compared: pd.DataFrame, results: Results) -> None:
    looks = style.looks(results.arms)
    margin = compared["margin"].iloc[0]
    if np.isfinite(margin):
        axes.axvspan(-margin, margin, color=MARGIN, linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    rows = compared.reset_index(drop=True)
    rows["colour"] = [looks[arm].colour for arm in rows["arm"]]
    rows["marker"] = [looks[arm].marker for arm in rows["arm"]]
    rows["face"] = rows["colour"].where([verdict.separated for verdict in rows["verdict"]], "white")
    marks.intervals(axes, rows["low"], rows["high"], rows.index, list(rows["colour"]))
    # One collection per marker: a line per arm takes seconds when there are many.
    for marker, of_marker in rows[rows["difference"].notna()].groupby("marker"):
        colours = {"facecolor": of_marker["face"], "edgecolor": of_marker["colour"]}
        axes.scatter(of_marker["difference"], of_marker.index, s=20, marker=marker, zorder=3, **colours)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+g}" if abs(x) > 1e-9 else "0"))


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """The margin and every interval, or a few times the largest difference where an interval is wider than that."""
    margin = np.nan_to_num(table["margin"].max())
    reach = REACH * max(table["difference"].abs().max(), margin, 0.01)
    low = max(np.nanmin([-margin, table["low"].min(), table["difference"].min(), 0]), -reach)
    high = min(np.nanmax([margin, table["high"].max(), table["difference"].max(), 0]), reach)
    rim = 0.05 * (high - low)
    return low - rim, high + rim


def _legend(table: pd.DataFrame) -> list[Any]:
    mark: dict[str, Any] = {"marker": "o", "color": style.GREY, "markersize": 4.5}
    intervals_drawn = table["low"].notna().any()
    handles: list[Any] = [Line2D([], [], label="better or worse, 95 % t interval", **mark)] if intervals_drawn else []
    handles += [Line2D([], [], label="neither", markerfacecolor="white", linestyle="", **mark)]
    if np.isfinite(margin := table["margin"].iloc[0]):
        handles.append(Patch(color=MARGIN, label=f"margin (±{margin:g})"))
    return handles


def caption(table: pd.DataFrame, results: Results) -> str:
    first = table[table["metric"] == table["metric"].iloc[0]]
    incomplete = sum(verdict.outcome in INCOMPLETE for verdict in first["verdict"])
    lacking = (
        f" {incomplete} of {len(first)} comparison{'s' * (len(first) != 1)} "
        f"{'is incomplete: it needs' if incomplete == 1 else 'are incomplete: they need'} every seed of both arms."
        if incomplete
        else ""
    )
    planned = int(first["planned"].max())
    if planned == 1:
        return (
            f"One training per arm (n = 1): differences without an interval over seeds and without a verdict.{lacking}"
        )
    listed = [
        f"{row.arm} {row.difference:+z.3f} [{row.low:+z.3f}, {row.high:+z.3f}] {row.verdict.short}"
        for row in first[first["difference"].notna()].itertuples()
    ]
    excluded = np.isfinite(first["margin"].iloc[0])
    equivalent = " Equivalent: a difference as large as the margin is excluded." if excluded else ""
    more = f"; and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return (
        f"Marks are mean differences, paired by seed (n = {planned}), bars their 95 % t intervals, each for one "
        "comparison. Filled marks are better or worse by the paired t test at .05, Holm-corrected over the study's "
        "comparisons on its own metric, so an interval that excludes 0 may still be inconclusive; other lists are "
        f"descriptive.{equivalent} Intervals that leave the panel are cut off. "
        f"{metric_name(table['metric'].iloc[0])}: "
        f"{'; '.join(listed[:NAMED]) or 'no comparison is complete'}{more}.{lacking}"
        + labels.spread_words(list(dict.fromkeys(table["arm"])), labels.ROWS)
    )
