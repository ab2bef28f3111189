"""Adaptation during training.

Losses of the label and of the domain classifier, how often the domain classifier is right, and lambda_p, against images
seen. Thin lines are trainings, thick lines their means, bands run from the smallest to the largest seed.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import style
from analysis.plotting import trainings as training_lines
from analysis.results import Results

NEEDS = Needs(curves=("loss/domain", "domain_accuracy/train", "lambda"))

CHANCE = 0.5  # of two domains with as many images each
PANELS = {
    "loss/label": "loss of the label classifier",
    "loss/domain": "loss of the domain classifier",
    "domain_accuracy/train": "domains named right",
    "lambda": r"$\lambda_p$",
}


def table(results: Results) -> pd.DataFrame:
    """One row per report of a training that adapts: arm, seed, train_key, images, both losses, the share of the images
    whose domain was named right, lambda_p."""
    columns = ["arm", "seed", "train_key", "images", *PANELS]
    if results.curves.empty:
        return pd.DataFrame(columns=columns)
    found = results.curves.merge(results.rows[["trial_key", "train_key"]], on="trial_key").reindex(columns=columns)
    return found[found["loss/domain"].notna()].reset_index(drop=True)


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No training that adapts has reported yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    sharing = training_lines.of(table, results)
    handles = sharing.handles()
    figure = style.figure(style.DOUBLE, 4.2 + shared.legend_height([str(handle.get_label()) for handle in handles]))
    for axes, (column, label) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS.items(), strict=True):
        training_lines.draw(axes, sharing, "images", column)
        axes.set_ylabel(label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        if column == "loss/label":
            shared.log_y(axes)
        if column == "domain_accuracy/train":
            shared.chance_line(axes, CHANCE, named=True)
    for axes in figure.axes[2:]:
        axes.set_xlabel("labelled training images seen")
    shared.legend(figure, handles)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    sharing, ends = training_lines.of(table, results), []
    for arm, label in sharing.named.items():
        last = sharing.rows[arm].sort_values("images").groupby("seed").last()
        ends.append(
            f"{label}: label loss {last['loss/label'].mean():.3f}, domain loss {last['loss/domain'].mean():.3f}, "
            f"domains named right {last['domain_accuracy/train'].mean():.3f} (n = {len(last)})"
        )
    return (
        "Each line is of training batches, half of each batch from each domain. Features that hide their domain "
        "leave the domain classifier at chance, .5, and at a loss of log 2 = .693; its gradient reaches the features "
        f"multiplied by -lambda_p. At the last report: {'; '.join(ends)}."
        + (f" {len(sharing.others)} more arms are in grey, one seed each." if sharing.others else "")
    )
