"""Accuracy by cost of sampling.

The metric against the network evaluations per image, and against the seconds that sampling took; one line per family
of samplers, with a band for its t interval.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.results import Results
from analysis.tables import format as formats
from runners.config import Call

NEEDS = Needs(fields=("sampler",), columns=("network_evaluations", "seconds/sample"))

PLACE = "answer"
COLUMNS = ["arm", "family", "evaluations", "seconds", "n", "mean", "low", "high", "chance"]
COSTS = {"evaluations": "network evaluations per image", "seconds": "seconds of sampling"}
CLOSE = 0.02  # below the best mean: what the caption calls as good at fewer evaluations


def applies(results: Results) -> bool:
    return results.varies_alone("sampler")


def title(results: Results) -> str:
    return f"{labels.score(results, True)} by cost of sampling"


def table(results: Results) -> pd.DataFrame:
    """One row per arm with COLUMNS, averaged over its complete trials; an arm without one has no row."""
    mean = results.means(results.selection)
    evaluations, seconds = results.arm_means("network_evaluations"), results.arm_means("seconds/sample")
    others = [name for name in results.study.factors if name != "sampler"]
    fields = results.settings_of(["sampler", *others])
    chance = results.mean_of(f"chance/{results.list_of(results.selection)}")
    found = []
    for index, arm in enumerate(results.arms):
        if mean.n[index]:
            names = [family(fields[arm][0])]
            names += [f"{name}={value}" for name, value in zip(others, fields[arm][1:], strict=True)]
            of_arm = [mean.n[index], mean.mean[index], mean.low[index], mean.high[index], chance]
            found.append([arm, ", ".join(names), evaluations[index], seconds[index], *of_arm])
    return pd.DataFrame(found, columns=COLUMNS)


def family(sampler: str) -> str:
    """`ddim(eta=1.0, steps=50)` -> `ddim(eta=1.0)`: the call without its steps."""
    call = Call.parse(sampler)
    return str(Call(call.name, tuple(pair for pair in call.arguments if pair[0] != "steps")))


def draw(table: pd.DataFrame, results: Results) -> Figure:
    families = list(table["family"].unique())
    kept = labels.spread(families)
    looks = {name: look for name, look in style.looks(families).items() if name in kept}
    handles = [look.handle(labels.plain(name)) for name, look in looks.items()]
    height = shared.legend_height([str(handle.get_label()) for handle in handles])
    figure = style.figure(style.DOUBLE, 2.6 + height)
    panels = figure.subplots(1, 2)
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        known = table[table[cost] > 0].sort_values(cost)
        others = known[~known["family"].isin(kept)]
        marks.lines(axes, (line[[cost, "mean"]].to_numpy() for _, line in others.groupby("family")))
        # Counted costs coincide across families: there each is moved by up to 4 % sideways.
        moved = 1 + 0.08 * known["family"].map(marks.aside(looks)).fillna(0.0) * (cost == "evaluations")
        marks.means(axes, known.assign(cost=known[cost] * moved), "cost", "mean", looks, by="family")
        _cost_axis(axes, known[cost], label)
        shared.chance_line(axes, table["chance"].iloc[0], named=True)
    what = f"{results.list_of(results.selection)} {labels.score(results)}"
    shared.share_y(panels, table, what, results.score.is_share)
    shared.legend(figure, handles, "sampler")
    return figure


def _cost_axis(axes: Axes, known: pd.Series, label: str) -> None:
    axes.set_xlabel(label)
    if known.empty:
        shared.say_in(axes, "not recorded")
        return
    axes.set_xscale("log")
    low, high = known.min(), known.max()
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.set_xticks([tick for tick in shared.ticks_1_2_5(low, high) if low / 1.3 <= tick <= high * 1.3])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def caption(table: pd.DataFrame, results: Results) -> str:
    sign = 1 if results.score.higher_is_better else -1
    tied = table[table["arm"].isin(formats.best(table["arm"], sign * table["mean"]))].sort_values("evaluations")
    best, others = tied.iloc[0], list(tied["arm"].iloc[1:])
    unguided = recorded_task.task_of(results)["kind"] == "none"
    guided = "" if unguided else " A guided step counts as two evaluations."
    also = f", tied with {formats.listed(others)}" if others else ""
    interval = f" [{best['low']:.3f}, {best['high']:.3f}]" if best["n"] > 1 else ""
    text = (
        "Marks are means over training seeds, bands their 95 % t intervals; one line per family of samplers (the call "
        "without its steps). At equal evaluations, marks are moved a little sideways so that none hides another."
        f"{guided} Seconds depend on the machine and on what else it was doing: read "
        f"the left panel first. {'Highest' if sign > 0 else 'Lowest'} mean: {best['arm']} "
        f"{best['mean']:.3f}{interval} (n = {best['n']}{also})"
    )
    if np.isfinite(best["evaluations"]):
        text += f" with {best['evaluations']:.0f} {'evaluation' if best['evaluations'] == 1 else 'evaluations'}"
        if results.score.is_share:  # of another score that distance would mean nothing
            cheap = table[sign * table["mean"] >= sign * best["mean"] - CLOSE].sort_values("evaluations").iloc[0]
            text += f"; fewest evaluations within {CLOSE:g} of it: {cheap['arm']} {cheap['mean']:.3f} with "
            text += f"{cheap['evaluations']:.0f}"
    text += "."
    hidden = table["family"].nunique() - len(labels.spread(list(table["family"].unique())))
    unnamed = "1 family" if hidden == 1 else f"{hidden} families"
    return text + (f" {unnamed} without room in the legend {'is' if hidden == 1 else 'are'} grey." if hidden else "")
