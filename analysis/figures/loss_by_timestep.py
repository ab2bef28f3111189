"""Training loss by timestep.

The network's own mean squared error in ten equal parts of [0, T), over the last quarter of the training: where in the
noise the loss comes from. Arms that share their trainings are one line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import learning_curves
from analysis.plotting import style
from analysis.stats import intervals
from study.record import reader

DECILES = 10
LAST = 0.75  # of the training's images: reports from there on count
COLUMNS = ["arm", "seed", "train_key", "t / T", "loss", "n", "mean", "low", "high"]


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a training and decile of t with COLUMNS: the mean over its last reports; `mean` to `high` of the arm.

    A training of an older version, which did not report them, has one row without a decile.
    """
    rows, curves = reader.load(study_id, record), reader.curves(study_id, record)
    if curves.empty:
        return pd.DataFrame(columns=COLUMNS)
    names = {f"loss/t_{decile}": (decile + 0.5) / DECILES for decile in range(DECILES)}
    keys = ["arm", "seed", "trial_key"]
    last = curves[curves["images"] > LAST * curves.groupby("trial_key")["images"].transform("max")]
    if not (recorded := [name for name in names if name in curves and last[name].notna().any()]):
        found = last[keys].drop_duplicates().merge(rows[["trial_key", "train_key"]].drop_duplicates(), on="trial_key")
        return found.reindex(columns=COLUMNS)
    means = last.groupby(keys, sort=False)[recorded].mean().reset_index()
    long = means.melt(keys, recorded, "t / T", "loss").replace({"t / T": names}).dropna(subset="loss")
    long["t / T"] = long["t / T"].astype(float)
    found = long.merge(rows[["arm", "seed", "train_key"]], on=["arm", "seed"])
    parts = []
    for _, part in found.groupby("t / T"):
        seeds = part.pivot(index="seed", columns="arm", values="loss")
        of_arm = pd.DataFrame({"arm": seeds.columns, **dataclasses.asdict(intervals.means(seeds.to_numpy()))})
        parts.append(part.merge(of_arm, on="arm"))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no training has reported yet")
    if table["loss"].isna().all():
        return style.blank("loss by timestep: not recorded")
    figure, axes, sharing, labels = learning_curves.page(table, study)
    for arms, losses in sharing.items():
        if arms in labels:
            _line(axes, losses, style.arm_style(study)[arms[0]], labels[arms])
        else:
            line = losses.drop_duplicates("t / T").sort_values("t / T")
            axes.plot(line["t / T"], line["mean"], color="0.75", linewidth=0.6, zorder=1)
    if (table["loss"] > 0).all():
        style.log_y(axes)
    axes.set_xlim(0, 1)
    axes.set_xticks([decile / DECILES for decile in range(0, DECILES + 1, 2)])
    axes.set_xlabel("timestep t / T, in tenths; more noise to the right")
    axes.set_ylabel("unweighted loss (MSE of the target)")
    if learning_curves.RESCALES & set(study.get("factors") or {}):
        axes.set_title("not on one scale across arms", color=style.GREY, fontsize=7)
    learning_curves.legend(figure, axes, study)
    return figure


def _line(axes: Axes, losses: pd.DataFrame, look: dict[str, Any], label: str) -> None:
    """A thin line a seed, the mean, and its t interval as a band."""
    for _, seed in islice(losses.groupby("seed"), learning_curves.THIN):
        line = seed.sort_values("t / T")
        axes.plot(line["t / T"], line["loss"], color=look["color"], linewidth=0.4, alpha=0.6)
    mean = losses.drop_duplicates("t / T").sort_values("t / T")
    axes.plot(mean["t / T"], mean["mean"], label=label, markersize=3.5, linewidth=1.2, **look)
    low = mean["low"].clip(lower=0.2 * mean["mean"])  # a logarithmic axis has no zero
    axes.fill_between(mean["t / T"], low, mean["high"], color=look["color"], alpha=0.15, linewidth=0)


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No training has reported yet."
    if table["loss"].isna().all():
        return "Losses by timestep are not recorded: the trainings are of an older version."
    sharing = learning_curves.trainings(table, study)
    hidden = len(sharing) - len(style.spread(study, [arms[0] for arms in sharing]))
    return (
        "Mean squared error of what the network predicts, before any weighting, of the samples whose t lies in each "
        "tenth of [0, T): thin lines are trainings, averaged over the reports of their last quarter, marks the means "
        f"over seeds, bands 95 % t intervals (n = {table['n'].max()} at most). Another target, schedule or T changes "
        "the scale: compare heights only between arms that share all three. The error at one noise level in one unit "
        "is in the figure of the denoising error." + (f" {hidden} more are in grey." if hidden else "")
    )
