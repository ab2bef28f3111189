"""Training loss by timestep.

The network's own mean squared error in ten equal parts of [0, T), over the last quarter of the training: where in the
noise the loss comes from. Thin lines are trainings, bands t intervals; arms that share their trainings are one line.
"""

from __future__ import annotations

import dataclasses
from itertools import islice

import pandas as pd
from matplotlib.figure import Figure

from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import marks, trainings
from analysis.plotting.trainings import THIN
from analysis.results import Results
from analysis.stats import intervals

NEEDS = Needs(curves=("loss/t_*",))

DECILES = 10
LAST = 0.75  # of the training's images: reports from there on count
COLUMNS = ["arm", "seed", "train_key", "t / T", "loss", "n", "mean", "low", "high"]


def table(results: Results) -> pd.DataFrame:
    """One row per training and decile of t with COLUMNS: the mean over its last reports; `mean` to `high` of the arm.

    A training of an older version, which did not report them, has one row without a decile.
    """
    rows, curves = results.rows, results.curves
    if curves.empty:
        return pd.DataFrame(columns=COLUMNS)
    names = {f"loss/t_{decile}": (decile + 0.5) / DECILES for decile in range(DECILES)}
    keys = ["arm", "seed", "trial_key"]
    last = curves[curves["images"] > LAST * curves.groupby("trial_key")["images"].transform("max")]
    if not (recorded := [name for name in names if name in curves and last[name].notna().any()]):
        found = last[keys].drop_duplicates().merge(rows[["trial_key", "train_key"]].drop_duplicates(), on="trial_key")
        return found.reindex(columns=COLUMNS)
    means = last.groupby(keys, sort=False)[recorded].mean().reset_index()
    long = means.melt(keys, recorded, "t / T", "loss").dropna(subset="loss")
    long["t / T"] = long["t / T"].map(names).astype(float)
    found = long.merge(rows[["arm", "seed", "train_key"]], on=["arm", "seed"])
    parts = []
    for _, part in found.groupby("t / T"):
        seeds = part.pivot(index="seed", columns="arm", values="loss")
        of_arm = pd.DataFrame({"arm": seeds.columns, **dataclasses.asdict(intervals.means(seeds.to_numpy()))})
        parts.append(part.merge(of_arm, on="arm"))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "No training has reported yet."
    missing = table["loss"].isna().all()
    return "Losses by timestep are not recorded: an older version ran these trainings." if missing else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    sharing = trainings.of(table.sort_values("t / T", kind="stable"), results)
    figure, axes = trainings.page(sharing, results)
    marks.lines(axes, (_means(rows)[["t / T", "mean"]].to_numpy() for rows in sharing.others.values()))
    for arm, look in sharing.looks.items():
        seeds = (seed[["t / T", "loss"]].to_numpy() for _, seed in sharing.rows[arm].groupby("seed"))
        marks.lines(axes, islice(seeds, THIN), look.colour, linewidths=0.4, alpha=0.6)
    marks.means(axes, _means(sharing.table), "t / T", "mean", sharing.looks)
    if (table["loss"] > 0).all():
        shared.log_y(axes)
    axes.set_xlim(0, 1)
    axes.set_xticks([decile / DECILES for decile in range(0, DECILES + 1, 2)])
    axes.set_xlabel("timestep t / T, in tenths; more noise to the right")
    axes.set_ylabel("unweighted loss (MSE of the target)")
    trainings.note_rescaled(axes, results)
    return figure


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and decile; a logarithmic axis has no zero, so intervals end above it."""
    means = rows.drop_duplicates(["arm", "t / T"])
    return means.assign(low=means["low"].clip(lower=0.2 * means["mean"]))


def caption(table: pd.DataFrame, results: Results) -> str:
    sharing = trainings.of(table, results)
    are = "is" if len(sharing.others) == 1 else "are"
    return (
        "Mean squared error of what the network predicts, before any weighting, of the samples whose t lies in each "
        "tenth of [0, T). Thin lines are trainings, averaged over the reports of their last quarter; marks are means "
        f"over seeds, bands 95 % t intervals (n = {table['n'].max()} at most). Another target, schedule or T changes "
        "the scale: compare heights only between arms that share all three. The figure of the denoising error shows "
        "the error at one noise level in one unit."
        + (f" {len(sharing.others)} more {are} in grey." if sharing.others else "")
    )
