"""Accuracy and diversity by guidance scale.

One panel per list and one of the diversity of samples, which guidance trades for accuracy. One line per setting of the
other factors, with a band for its t interval; rings mark the scale that would be chosen on the validation list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.plotting.style import Look
from analysis.results import Results

NEEDS = Needs(fields=("guidance_scale",))

PLACE = "answer"
COLUMNS = ["list", "arm", "setting", "guidance_scale", "n", "mean", "low", "high", "chance", "chosen"]
DIVERSITY = "diversity"  # stands among the lists; a record of an older version has none
DISTANCE = "RMS distance\n(pixels of 0 to 1)"  # of what `diversity` is
ASIDE = 0.36  # of a step of the scale: the room that the lines take side by side
RING: dict[str, Any] = {
    "marker": "o",
    "linestyle": "",
    "markersize": 9,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.9,
}


def applies(results: Results) -> bool:
    return results.varies_alone("guidance_scale")


def title(results: Results) -> str:
    return f"{labels.score(results, True)} and diversity by guidance scale"


def table(results: Results) -> pd.DataFrame:
    """One row per list (or DIVERSITY) and arm with COLUMNS; an arm without a complete trial has no row."""
    others = [name for name in results.study.factors if name != "guidance_scale"]
    fields = results.settings_of(["guidance_scale", *others])
    setting = {arm: ", ".join(f"{n}={v}" for n, v in zip(others, fields[arm][1:], strict=True)) for arm in fields}
    groups: dict[str, list[str]] = {}
    for arm, name in setting.items():
        groups.setdefault(name, []).append(arm)
    best = set(results.chosen({name: arms for name, arms in groups.items() if len(arms) > 1}).values())
    found = []
    for name in (*results.all_lists, DIVERSITY):
        mean = results.means(name if name == DIVERSITY else results.score.on(name))
        chance = results.mean_of(f"chance/{name}")
        for index, arm in enumerate(results.arms):
            if mean.n[index]:
                of_arm = [mean.n[index], mean.mean[index], mean.low[index], mean.high[index], chance, arm in best]
                found.append([name, arm, setting[arm], fields[arm][0], *of_arm])
    return pd.DataFrame(found, columns=COLUMNS)


def draw(table: pd.DataFrame, results: Results) -> Figure:
    names, settings = list(table["list"].unique()), list(table["setting"].unique())
    kept = labels.spread(settings)
    looks = {name: look for name, look in style.looks(settings).items() if name in kept}
    handles = [look.handle(labels.plain(name)) for name, look in looks.items() if name]
    handles += [shared.chance_handle()] if table["chance"].notna().any() else []
    if table["chosen"].any():
        handles.append(Line2D([], [], label=f"best on {results.list_of(results.selection)}", **RING))
    height = shared.legend_height([str(handle.get_label()) for handle in handles])
    figure = style.figure(style.DOUBLE, 2.4 + height)
    panels = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for name, axes in panels.items():
        _panel(axes, table[table["list"] == name], looks)
        axes.set_title(name)
    of_lists = [axes for name, axes in panels.items() if name != DIVERSITY]
    if of_lists:
        scored = table[table["list"] != DIVERSITY]
        shared.share_y(of_lists, scored, labels.score(results), results.score.is_share)
    if DIVERSITY in panels:
        panels[DIVERSITY].set_ylabel(DISTANCE)
    figure.supxlabel("guidance_scale s in eps_u + s (eps_c - eps_u); s = 1 is unguided", fontsize=8)
    shared.legend(figure, handles)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    others = points[~points["setting"].isin(looks)].sort_values("guidance_scale")
    marks.lines(axes, (line[["guidance_scale", "mean"]].to_numpy() for _, line in others.groupby("setting")))
    scales = np.sort(points["guidance_scale"].unique())
    step = np.diff(scales).min() if len(scales) > 1 else 1.0
    moved = points["setting"].map(marks.aside(looks)).fillna(0.0)
    shown = points.assign(scale=points["guidance_scale"] + ASIDE * step * moved)
    marks.means(axes, shown, "scale", "mean", looks, by="setting")
    best = shown[shown["chosen"] & shown["setting"].isin(looks)]
    if len(best):  # a line without points would stand at (0, 0) in the layout
        axes.plot(best["scale"], best["mean"], clip_on=False, **RING)
    shared.chance_line(axes, points["chance"].iloc[0])
    axes.set_xlim(scales[0] - 0.4 * step, scales[-1] + 0.4 * step)
    axes.set_xticks(scales if len(scales) <= 7 else scales[:: -(-len(scales) // 7)])
    axes.xaxis.set_major_formatter("{x:g}")


def caption(table: pd.DataFrame, results: Results) -> str:
    chosen_on = results.list_of(results.selection)
    text = (
        f"Marks are means over training seeds, bands their own 95 % t intervals (n = {table['n'].max()} at most); "
        "lines are moved a little sideways so that none hides another. "
    )
    if (table["list"] == DIVERSITY).any():
        picture = recorded_task.picture(recorded_task.task_of(results))
        text += f"Diversity is the mean RMS distance between {picture}s of one condition, pixels from 0 to 1. "
    best = table[table["chosen"] & (table["list"] == chosen_on)]
    if best.empty:
        return text + "No best scale is marked: in every setting a scale is incomplete."
    scales = [f"s = {scale:g} ({mean:.3f})" for scale, mean in zip(best["guidance_scale"], best["mean"], strict=True)]
    named = [f"{name}: {scale}" if name else scale for name, scale in zip(best["setting"], scales, strict=True)]
    direction = "highest" if results.score.higher_is_better else "lowest"
    return text + (
        f"Rings mark, in every panel, the scale with the {direction} mean on {chosen_on}: "
        f"{'; '.join(named[: labels.MOST])}. The mean on {chosen_on} itself is optimistically biased by selection; "
        "the other panels show whether the choice holds."
    )
