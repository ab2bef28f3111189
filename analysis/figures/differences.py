"""Paired differences.

Every arm minus its reference, seed by seed, with its interval and verdict; the study's metric large, the other lists
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

PLACE = "answer"
COLUMNS = ["metric", "arm", "against", "n", "planned", "difference", "low", "high", "p Holm", "verdict", "margin"]
SEPARATED = ("better", "worse")
WORDS = {"open": "not separated", "no error": "no error known", "hole": "hole", "one": "one training"}
UNKNOWN = {"color": style.GREY, "marker": "o"}  # an arm that the study does not list
LABEL = 28  # letters of an arm on one line
NAMED = 6  # differences that the caption writes out; all are in the tables
REACH = 2.5  # times the largest difference seen: an interval may leave the panel beyond that, but not squeeze it


def applies(study: Mapping[str, Any]) -> bool:
    return bool(tables.references(study))


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a metric and compared arm with COLUMNS; n are its complete trials.

    `verdict` is one of `intervals.verdicts`, "hole" where the arm or its reference lacks a seed, "one" for one seed.
    """
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    against, arms, planned = tables.references(study), list(study["arms"]), len(study["seeds"])
    columns = [arms.index(against[arm]) if arm in against else -1 for arm in arms]
    found = []
    kind = study["metric"].split("/")[0]  # the panels share an axis, so they share a unit
    for metric in (name for name in tables.metrics(rows, study) if name.split("/")[0] == kind):
        array, margin = tables.values(rows, study, metric), tables.margin(study, metric)
        paired = intervals.differences(array, columns)
        judged = intervals.verdicts(paired, margin, metric.startswith(tables.SMALLER_IS_BETTER))
        for index, arm in enumerate(arms):
            if arm in against:
                n, verdict = int(np.isfinite(array[:, index]).sum()), judged[index] or "hole"
                verdict = "one" if planned == 1 and verdict != "hole" else verdict
                numbers = [paired.difference[index], paired.low[index], paired.high[index], paired.p_holm[index]]
                found.append([metric, arm, against[arm], n, planned, *numbers, verdict, margin])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("the study has nothing to compare")
    if table["difference"].isna().all():
        return style.blank("no arm and its reference are complete yet")
    metrics = [name for name, part in table.groupby("metric", sort=False) if part["difference"].notna().any()]
    arms = style.spread(study, list(dict.fromkeys(table["arm"])), style.ROWS)
    table = table[table["arm"].isin(arms)]
    compared = table[table["metric"] == metrics[0]]
    labels = [style.wrapped(_label(row, compared, study), LABEL) for row in compared.itertuples()]
    height = sum(0.14 + 0.12 * (label.count("\n") + 1) for label in labels)
    figure = style.figure(style.DOUBLE, 1.05 + height)
    widths = [1.7, *[1.0] * (len(metrics) - 1)]
    panels = figure.subplots(1, len(metrics), squeeze=False, width_ratios=widths)[0]
    for axes, name in zip(panels, metrics, strict=True):
        _panel(axes, table[table["metric"] == name], study)
        axes.set_xlim(_limits(table))
        axes.xaxis.set_major_locator(MaxNLocator(6 if axes is panels[0] else 3))
        axes.set_title(style.plain(name.removeprefix("accuracy/")))
    style.name_rows(panels, labels, 0.6)
    words = panels[0].secondary_yaxis("right")
    words.set_yticks(range(len(labels)), [_word(row) for row in compared.itertuples()])
    words.tick_params(length=0)
    # Beside the next panel the words would read as its labels.
    header = f"verdict,\n{style.plain(metrics[0].removeprefix('accuracy/'))}"
    panels[0].annotate(header, (1, 1), (4, 2), xycoords="axes fraction", textcoords="offset points", color=style.GREY)
    words.spines["right"].set_visible(False)
    common = compared["against"].iloc[0] if compared["against"].nunique() == 1 else ""
    reference = style.arm_label(study, common) if common else "its own reference"
    what = style.plain(metrics[0].split("/")[0])
    figure.supxlabel(f"difference in {what} from {reference}, paired by seed", fontsize=8)
    figure.legend(handles=_legend(table), loc="outside upper center", ncols=4)
    return figure


def _label(row: Any, compared: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """The arm; where references differ with its own."""
    label = style.arm_label(study, row.arm)
    return label if compared["against"].nunique() == 1 else f"{label} vs {style.arm_label(study, row.against)}"


def _word(row: Any) -> str:
    if row.verdict == "equivalent":
        return f"within ±{row.margin:g}"
    return WORDS.get(row.verdict, row.verdict)


def _panel(axes: Axes, compared: pd.DataFrame, study: Mapping[str, Any]) -> None:
    looks = style.arm_style(study)
    margin = compared["margin"].iloc[0]
    if np.isfinite(margin):
        axes.axvspan(-margin, margin, color="0.93", linewidth=0, zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    rows = pd.DataFrame([looks.get(arm, UNKNOWN) for arm in compared["arm"]])
    rows = rows.join(compared.reset_index(drop=True))
    rows["face"] = rows["color"].where(rows["verdict"].isin(SEPARATED), "white")
    whole = rows[rows["low"].notna()]
    axes.hlines(whole.index, whole["low"], whole["high"], colors=whole["color"], linewidth=1.2)
    # One collection a marker: a line an arm takes seconds when there are many.
    for marker, marks in rows[rows["difference"].notna()].groupby("marker"):
        colours = {"facecolor": marks["face"], "edgecolor": marks["color"]}
        axes.scatter(marks["difference"], marks.index, s=20, marker=marker, zorder=3, **colours)
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
    handles: list[Any] = [Line2D([], [], label="mean, 95 % t interval", **mark)] if intervals_drawn else []
    handles += [Line2D([], [], label="not separated", markerfacecolor="white", linestyle="", **mark)]
    if np.isfinite(margin := table["margin"].iloc[0]):
        handles.append(Patch(color="0.93", label=f"counts as no difference (±{margin:g})"))
    return handles


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "The study has nothing to compare."
    if not (table["n"] > 0).any() and table["difference"].isna().all():
        return "No compared arm has a complete trial yet."
    first = table[table["metric"] == table["metric"].iloc[0]]
    holes = int((first["verdict"] == "hole").sum())
    lacking = f" {holes} of {len(first)} comparisons have a hole: all seeds of both arms are needed." if holes else ""
    planned = int(first["planned"].max())
    if planned == 1:
        return f"One training each (n = 1): differences without an interval over seeds, so without a verdict.{lacking}"
    listed = [
        f"{row.arm} {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] {_word(row)}"
        for row in first[first["difference"].notna()].itertuples()
    ]
    more = f"; and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return (
        f"Marks are means of the differences seed by seed (n = {planned}), bars their 95 % t intervals, each for one "
        "comparison; filled marks are better or worse by the paired t test at .05 after Holm over the arms of a list. "
        "An interval that leaves 0 out may therefore be not separated; one that leaves the panel is cut off. "
        f"{table['metric'].iloc[0]}: {'; '.join(listed[:NAMED]) or 'no comparison is complete'}{more}.{lacking}"
        + style.spread_words(study, list(dict.fromkeys(table["arm"])), style.ROWS)
    )
