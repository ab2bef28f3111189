"""Denoising error by noise level.

How far the network's estimate of the clean image is off at each log SNR, in one unit for all schedules, T, targets
and weightings; the noisiest images are on the right. Arms that share their trainings are one line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import learning_curves
from analysis.plotting import style
from analysis.stats import intervals
from analysis.tables import comparison as tables
from study.record import reader

BIN = re.compile(r"x0_error/snr_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)")
COLUMNS = ["arm", "seed", "train_key", "bin low", "bin high", "error", "n", "mean", "low", "high"]


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a complete trial and bin of log SNR (nats) with COLUMNS; `mean`, `low`, `high` are of the arm.

    A trial of an older version without such errors has one row without a bin.
    """
    rows, study = reader.load(study_id, record), reader.load_study(study_id, record)
    complete = rows[rows["state"] == "complete"]
    bins = {str(name): tuple(map(float, found.groups())) for name in rows if (found := BIN.fullmatch(str(name)))}
    names = ["arm", "seed", "train_key"]
    if not bins:
        return complete[names].reindex(columns=COLUMNS)
    parts = []
    for column, (low, high) in bins.items():
        mean = intervals.means(tables.values(rows, study, column))
        of_arm = pd.DataFrame({"arm": study["arms"], **dataclasses.asdict(mean)})
        errors = complete[names].assign(**{"bin low": low, "bin high": high, "error": complete[column]})
        parts.append(errors.merge(of_arm, on="arm")[COLUMNS])
    found = pd.concat(parts, ignore_index=True).dropna(subset="error")
    return found.sort_values(["bin low"], kind="stable", ignore_index=True)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial is complete yet")
    if table["error"].isna().all():
        return style.blank("denoising errors: not recorded")
    figure, axes, sharing, labels = learning_curves.page(table, study)
    for arms, errors in sharing.items():
        bins = errors.drop_duplicates("bin low").sort_values("bin low")
        if arms in labels:
            place = (list(labels).index(arms) - (len(labels) - 1) / 2) / max(len(labels) - 1, 1)
            _line(axes, bins, style.arm_style(study)[arms[0]], labels[arms], place)
        else:
            axes.plot(bins[["bin low", "bin high"]].mean(axis=1), bins["mean"], color="0.75", linewidth=0.6, zorder=1)
    style.log_y(axes)
    axes.invert_xaxis()
    axes.set_xlabel("log SNR = log(alpha_bar / (1 - alpha_bar)) in nats; more noise to the right")
    axes.set_ylabel("error of x0 (RMS, pixels of 0 to 1)")
    learning_curves.legend(figure, axes, study)
    return figure


def _line(axes: Axes, bins: pd.DataFrame, look: dict[str, Any], label: str, place: float) -> None:
    """Means at the middle of each bin, moved sideways by a twentieth of it at most: intervals stay apart."""
    x = bins[["bin low", "bin high"]].mean(axis=1) - 0.1 * place * (bins["bin high"] - bins["bin low"])
    low = bins["low"].clip(lower=0.2 * bins["mean"])  # a logarithmic axis has no zero
    ends = np.nan_to_num(np.stack([bins["mean"] - low, bins["high"] - bins["mean"]]))
    axes.errorbar(x, bins["mean"], yerr=ends, markersize=3.5, linewidth=1, elinewidth=0.7, label=label, **look)


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial is complete yet."
    if table["error"].isna().all():
        return "Denoising errors are not recorded: the trials are of an older version."
    sharing = learning_curves.trainings(table, study)
    kept = style.spread(study, [arms[0] for arms in sharing])
    means = []
    for arms, errors in sharing.items():
        if arms[0] in kept:
            bins = errors.drop_duplicates("bin low").sort_values("bin low")
            first, last = bins["mean"].iloc[0], bins["mean"].iloc[-1]
            means.append(f"{learning_curves.label(arms, study)} {first:.3f} to {last:.3f}")
    hidden, lacking = len(sharing) - len(kept), [arm for arm in study["arms"] if arm not in set(table["arm"])]
    return (
        "Root mean square distance between held-out images and the network's estimates of them, at one timestep in "
        "each bin of log SNR; marks are means over training seeds, thin bars 95 % t intervals "
        f"(n = {table['n'].max()} at most), moved a little sideways so that none hides another. A bin that a schedule "
        f"jumps over has no mark. From the noisiest bin to the cleanest: {'; '.join(means)}."
        + (f" {hidden} more are in grey." if hidden else "")
        + (f" Not recorded for {', '.join(lacking[: style.MOST])}." if lacking else "")
    )
