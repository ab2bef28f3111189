"""Accuracy by cost of sampling.

Validation accuracy against the network evaluations that an image takes, and against the seconds that sampling took;
one line a family of samplers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from runners.config import Call
from study.record import reader

PLACE = "answer"
METRIC = "accuracy/validation"
COLUMNS = ["arm", "family", "evaluations", "seconds", "n", "mean", "low", "high", "chance"]
COSTS = {"evaluations": "network evaluations an image", "seconds": "seconds of sampling"}


def applies(study: Mapping[str, Any]) -> bool:
    return tables.varies_alone(study, "sampler")


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm with COLUMNS, averaged over its complete trials; an arm without one has no row."""
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    mean = intervals.means(tables.values(rows, study, METRIC))
    cost = tables.summary(rows, study, METRIC).set_index("arm")
    others = [name for name in study.get("factors") or {} if name != "sampler"]
    fields = tables.fields_of(rows, study, ["sampler", *others])
    chance = rows["chance/validation"].mean() if "chance/validation" in rows else np.nan
    found = []
    for index, arm in enumerate(study["arms"]):
        if mean.n[index]:
            names = [family(fields[arm][0])]
            names += [f"{name}={value}" for name, value in zip(others, fields[arm][1:], strict=True)]
            spent = [cost.loc[arm, "evaluations an image"], cost.loc[arm, "sampling s"]]
            of_arm = [mean.n[index], mean.mean[index], mean.low[index], mean.high[index], chance]
            found.append([arm, ", ".join(names), *spent, *of_arm])
    return pd.DataFrame(found, columns=COLUMNS)


def family(sampler: str) -> str:
    """`ddim(eta=1.0, steps=50)` -> `ddim(eta=1.0)`: the call without its steps."""
    call = Call.parse(sampler)
    return str(Call(call.name, tuple(pair for pair in call.arguments if pair[0] != "steps")))


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial is complete yet")
    families = list(table["family"].unique())
    kept = style.spread({}, families)
    columns = style.legend_columns(kept)
    figure = style.figure(style.DOUBLE, 2.6 + 0.15 * -(-len(kept) // columns))
    panels = figure.subplots(1, 2, sharey=True)
    looks = style.arm_style({"arms": families})
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        for index, name in enumerate(families):
            place = (index - (len(families) - 1) / 2) / max(len(families) - 1, 1)
            _line(axes, table[table["family"] == name], cost, looks[name], place, name if name in kept else None)
        _axes(axes, table, cost, label)
    panels[0].set_ylabel("validation accuracy")
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, title="sampler", loc="outside upper center", ncols=columns)
    return figure


def _line(axes: Axes, points: pd.DataFrame, cost: str, look: dict[str, Any], place: float, label: str | None) -> None:
    """A family's means; counted costs coincide across families, so there each is moved by up to 4 % sideways."""
    points = points[points[cost] > 0].sort_values(cost)
    x = points[cost] * (1 + 0.08 * place if cost == "evaluations" else 1)
    if not label:
        axes.plot(x, points["mean"], color="0.75", linewidth=0.6, zorder=1)
        return
    ends = np.nan_to_num(np.stack([points["mean"] - points["low"], points["high"] - points["mean"]]))
    named = look | {"label": style.plain(label)}
    axes.errorbar(x, points["mean"], yerr=ends, markersize=4, linewidth=1, elinewidth=0.7, **named)


def _axes(axes: Axes, table: pd.DataFrame, cost: str, label: str) -> None:
    axes.set_xlabel(label)
    known = table.loc[table[cost] > 0, cost]
    if known.empty:
        axes.text(0.5, 0.5, "not recorded", ha="center", va="center", color=style.GREY, transform=axes.transAxes)
    else:
        axes.set_xscale("log")
        low, high = known.min(), known.max()
        axes.set_xlim(low / 1.3, high * 1.3)
        axes.set_xticks([tick for tick in style.ticks_1_2_5(low, high) if low / 1.3 <= tick <= high * 1.3])
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    shown = table[["low", "high", "mean", "chance"]].to_numpy(dtype=float)
    axes.set_ylim(max(np.nanmin(shown) - 0.03, -0.03), min(np.nanmax(shown) + 0.03, 1.03))
    level = table["chance"].iloc[0]
    if np.isfinite(level):
        axes.axhline(level, color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.text(1, level, "chance", ha="right", va="bottom", color=style.GREY, transform=axes.get_yaxis_transform())


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial is complete yet."
    best = table.loc[table["mean"].idxmax()]
    interval = f" [{best['low']:.3f}, {best['high']:.3f}]" if best["n"] > 1 else ""
    cheap = table[table["mean"] >= best["mean"] - 0.02].sort_values("evaluations").iloc[0]
    text = (
        "Marks are means over training seeds with 95 % t intervals, one line a family of samplers (the call without "
        "its steps); at equal evaluations the families are moved a little sideways so that no interval hides another. "
        "A guided step counts as two evaluations. Seconds were measured on whatever else the machine did: read the "
        f"left panel first. Highest mean: {best['arm']} {best['mean']:.3f}{interval} (n = {best['n']})"
    )
    if np.isfinite(best["evaluations"]):
        text += f" with {best['evaluations']:.0f} evaluations"
        text += (
            f"; within .02 of it with the fewest evaluations: {cheap['arm']} {cheap['mean']:.3f} with "
            f"{cheap['evaluations']:.0f}."
        )
    else:
        text += "."
    hidden = table["family"].nunique() - len(style.spread({}, list(table["family"].unique())))
    return text + (f" {hidden} families without room in the legend are grey." if hidden else "")
