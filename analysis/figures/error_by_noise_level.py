"""Denoising error by noise level.

How far the network's estimate of the clean image is off at each log SNR, in one unit for all schedules, T, targets
and weightings; the noisiest images are on the right. Arms that share their trainings are one line, bands are t
intervals.
"""

from __future__ import annotations

import dataclasses
import re

import pandas as pd
from matplotlib.figure import Figure

from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, trainings
from analysis.results import Results

NEEDS = Needs(columns=("x0_error/snr_*",))

BIN = re.compile(r"x0_error/snr_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)")
COLUMNS = ["arm", "seed", "train_key", "bin low", "bin high", "error", "n", "mean", "low", "high"]


def table(results: Results) -> pd.DataFrame:
    """One row per complete trial and bin of log SNR (nats) with COLUMNS; `mean`, `low`, `high` are of the arm.

    A trial of an older version without such errors has one row without a bin.
    """
    complete = results.complete
    found = [(str(name), BIN.fullmatch(str(name))) for name in results.rows]
    bins = {name: tuple(map(float, match.groups())) for name, match in found if match}
    names = ["arm", "seed", "train_key"]
    if not bins:
        return complete.reindex(columns=names).reindex(columns=COLUMNS)
    parts = []
    for column, (low, high) in bins.items():
        of_arm = pd.DataFrame({"arm": results.arms, **dataclasses.asdict(results.means(column))})
        errors = complete[names].assign(**{"bin low": low, "bin high": high, "error": complete[column]})
        parts.append(errors.merge(of_arm, on="arm")[COLUMNS])
    return (
        pd.concat(parts, ignore_index=True)
        .dropna(subset="error")
        .sort_values(["bin low"], kind="stable", ignore_index=True)
    )


def lacking(table: pd.DataFrame, results: Results) -> str:
    if table.empty:
        return "No trial is complete yet."
    missing = table["error"].isna().all()
    return "Denoising errors are not recorded: an older version ran these trials." if missing else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    sharing = trainings.of(_of_bins(table), results)
    figure, axes = trainings.page(sharing, results)
    marks.lines(axes, (rows[["middle", "mean"]].to_numpy() for rows in sharing.others.values()))
    # Moved sideways by a twentieth of a bin at most; to the right, where x falls.
    table = sharing.table
    moved = table["arm"].map(marks.aside(sharing.named)) * (table["bin high"] - table["bin low"])
    marks.means(axes, table.assign(middle=table["middle"] - 0.1 * moved), "middle", "mean", sharing.looks)
    shared.log_y(axes)
    axes.invert_xaxis()
    axes.set_xlabel("log SNR = log(alpha_bar / (1 - alpha_bar)) in nats; more noise to the right")
    axes.set_ylabel("error of x0 (RMS, pixels of 0 to 1)")
    return figure


def _of_bins(table: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and bin, with the bin's middle; a logarithmic axis has no zero, so intervals end above it."""
    bins = table.drop_duplicates(["arm", "bin low"]).sort_values("bin low")
    middle = bins[["bin low", "bin high"]].mean(axis=1)
    return bins.assign(middle=middle, low=bins["low"].clip(lower=0.2 * bins["mean"]))


def caption(table: pd.DataFrame, results: Results) -> str:
    sharing, means = trainings.of(_of_bins(table), results), []
    for arm, label in sharing.named.items():
        bins = sharing.rows[arm]["mean"]
        means.append(f"{label} {bins.iloc[0]:.3f} to {bins.iloc[-1]:.3f}")
    known = set(table["arm"])
    lacking = [arm for arm in results.arms if arm not in known]
    are = "is" if len(sharing.others) == 1 else "are"
    return (
        "Root mean square distance between held-out images and the network's estimates of them, at one timestep in "
        "each bin of log SNR. Marks are means over training seeds, bands 95 % t intervals "
        f"(n = {table['n'].max()} at most), moved a little sideways so that none hides another. A bin "
        "that a schedule jumps over has no mark. From the noisiest bin to the "
        f"cleanest: {'; '.join(means)}."
        + (f" {len(sharing.others)} more {are} in grey." if sharing.others else "")
        + (f" Not recorded for {', '.join(lacking[: labels.MOST])}." if lacking else "")
    )
