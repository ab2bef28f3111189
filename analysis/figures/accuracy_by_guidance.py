"""Accuracy and diversity by guidance scale.

One panel a list and one of the diversity of samples, which guidance trades for accuracy; one line a setting of the
other factors; the scale that validation would choose is marked.
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

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

PLACE = "answer"
COLUMNS = ["list", "arm", "setting", "guidance_scale", "n", "mean", "low", "high", "chance", "chosen"]
DIVERSITY = "diversity"  # stands among the lists; a record of an older version has none
DISTANCE = "RMS distance (pixels of 0 to 1)"  # of what `diversity` is
RING: dict[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "markersize": 9,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.9,
}


def applies(study: Mapping[str, Any]) -> bool:
    return tables.varies_alone(study, "guidance_scale")


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a list (or DIVERSITY) and arm with COLUMNS; an arm without a complete trial has no row."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    others = [name for name in study.get("factors") or {} if name != "guidance_scale"]
    fields = tables.fields_of(rows, study, ["guidance_scale", *others])
    setting = {arm: ", ".join(f"{n}={v}" for n, v in zip(others, fields[arm][1:], strict=True)) for arm in fields}
    groups: dict[str, list[str]] = {}
    for arm, name in setting.items():
        groups.setdefault(name, []).append(arm)
    best = set(tables.chosen(rows, study, {name: arms for name, arms in groups.items() if len(arms) > 1}).values())
    found = []
    for name in (*tables.LISTS, DIVERSITY):
        mean = intervals.means(tables.values(rows, study, name if name == DIVERSITY else f"accuracy/{name}"))
        chance = rows[f"chance/{name}"].mean() if f"chance/{name}" in rows else np.nan
        for index, arm in enumerate(study["arms"]):
            if mean.n[index]:
                of_arm = [mean.n[index], mean.mean[index], mean.low[index], mean.high[index], chance, arm in best]
                found.append([name, arm, setting[arm], fields[arm][0], *of_arm])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial is complete yet")
    names, settings = list(table["list"].unique()), list(table["setting"].unique())
    kept = style.spread({}, settings)
    marks = [
        Line2D([], [], color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)), label="chance"),
        Line2D([], [], label="best on validation", **RING),
    ]
    looks = style.arm_style({"arms": settings})
    lines = [Line2D([], [], markersize=3.5, label=style.plain(s), **looks[s]) for s in kept if s]
    handles = lines + marks[: 1 + bool(table["chosen"].any())]
    columns = style.legend_columns([str(line.get_label()) for line in handles])
    figure = style.figure(style.DOUBLE, 2.4 + 0.16 * -(-len(handles) // columns))
    panels = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for name, axes in panels.items():
        _panel(axes, table[table["list"] == name], settings, kept, looks)
        axes.set_title(name)
    _share_accuracy([axes for name, axes in panels.items() if name != DIVERSITY], table[table["list"] != DIVERSITY])
    if DIVERSITY in panels:
        panels[DIVERSITY].set_ylabel(DISTANCE)
    figure.supxlabel("guidance_scale s in eps_u + s (eps_c - eps_u); s = 1 is unguided", fontsize=8)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def _share_accuracy(panels: list[Axes], table: pd.DataFrame) -> None:
    """The lists are read against each other: one axis, named once."""
    shown = table[["low", "high", "mean", "chance"]].to_numpy(dtype=float)
    for axes in panels[1:]:
        axes.sharey(panels[0])
        axes.tick_params(labelleft=False)
    panels[0].set_ylim(max(np.nanmin(shown) - 0.03, -0.03), min(np.nanmax(shown) + 0.03, 1.03))
    panels[0].set_ylabel("accuracy")


def _panel(
    axes: Axes, points: pd.DataFrame, settings: list[str], kept: list[str], looks: dict[str, dict[str, Any]]
) -> None:
    scales = np.sort(points["guidance_scale"].unique())
    step = np.diff(scales).min() if len(scales) > 1 else 1.0
    for index, setting in enumerate(settings):
        line = points[points["setting"] == setting].sort_values("guidance_scale")
        if setting not in kept:
            axes.plot(line["guidance_scale"], line["mean"], color="0.75", linewidth=0.6, zorder=1)
            continue
        aside = 0.36 * step * (index - (len(settings) - 1) / 2) / max(len(settings) - 1, 1)
        x = line["guidance_scale"] + aside
        ends = np.nan_to_num(np.stack([line["mean"] - line["low"], line["high"] - line["mean"]]))
        axes.errorbar(x, line["mean"], yerr=ends, markersize=3.5, linewidth=1, elinewidth=0.6, **looks[setting])
        axes.plot(x[line["chosen"]], line.loc[line["chosen"], "mean"], **RING)
    axes.axhline(points["chance"].iloc[0], color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xticks(scales if len(scales) <= 7 else scales[:: -(-len(scales) // 7)])
    axes.xaxis.set_major_formatter("{x:g}")


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial is complete yet."
    text = (
        "Marks are means over training seeds, thin bars their own 95 % t intervals (n = "
        f"{table['n'].max()} at most); lines are moved a little sideways so that no bar hides another. "
    )
    if (table["list"] == DIVERSITY).any():
        text += "Diversity is the mean RMS distance between pictures of one condition, pixels from 0 to 1. "
    best = table[table["chosen"] & (table["list"] == tables.SELECTION.removeprefix("accuracy/"))]
    if best.empty:
        return text + "No best scale is marked: a scale of every setting has holes."
    scales = [f"s = {scale:g} ({mean:.3f})" for scale, mean in zip(best["guidance_scale"], best["mean"], strict=True)]
    named = [f"{name}: {scale}" if name else scale for name, scale in zip(best["setting"], scales, strict=True)]
    listed = "; ".join(named[: style.MOST])
    return text + (
        f"Rings are the scale with the highest mean on validation, in every panel: {listed}. The choice "
        "flatters validation itself; whether it holds is read from the other panels."
    )
