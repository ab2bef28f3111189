"""Learning curves.

Training loss and learning rate against images seen; the metric during training against images seen and against the
clock. Thin lines are trainings, thick lines their means, bands run from the smallest to the largest seed. Arms that
share their trainings are one curve.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.plotting import trainings as training_lines
from analysis.plotting.trainings import THIN, Trainings
from analysis.results import Results

NEEDS = Needs(curves=("images",))


def table(results: Results) -> pd.DataFrame:
    """One row per report of a training: arm, seed, train_key, images, seconds, loss, lr, the metric on the list of
    choice, chance."""
    name = results.list_of(results.selection)
    columns = ["arm", "seed", "train_key", "images", "seconds", "loss", "lr", results.selection, "chance"]
    rows, curves = results.rows, results.curves
    if curves.empty:
        return pd.DataFrame(columns=columns)
    known = rows[["trial_key", "train_key"]].assign(chance=rows.get(f"chance/{name}", np.nan))
    found = curves.merge(known, on="trial_key").reindex(columns=columns)
    # A last report of a few steps is an accident of the total, not of the training: its mean is mostly luck.
    window = found[found["loss"].notna()].groupby(["arm", "seed"])["images"].diff()
    short = (window < window.median() / 2).reindex(found.index, fill_value=False)
    return found.assign(loss=found["loss"].where(~short))


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No training has reported yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    metric = results.selection
    sharing = training_lines.of(table.assign(minutes=table["seconds"] / 60), results)
    handles = sharing.handles()
    figure = style.figure(style.DOUBLE, 2.75 + shared.legend_height([str(handle.get_label()) for handle in handles]))
    has_rate, has_clock = _has_rate(table, results), table["seconds"].notna().any()
    grid = figure.add_gridspec(2, 2 + has_clock, height_ratios=[3, 1])
    loss, images = figure.add_subplot(grid[0 if has_rate else slice(None), 0]), figure.add_subplot(grid[:, 1])
    panels = [(loss, "images", "loss"), (images, "images", metric)]
    if has_clock:
        clock = figure.add_subplot(grid[:, 2])
        panels.append((clock, "minutes", metric))
    for axes, x, y in panels:
        training_lines.draw(axes, sharing, x, y)
        axes.set_xlim(left=0)
    loss.set_ylabel(f"training loss{' (MSE)' if _denoises(results) else ''}")
    if (table["loss"] > 0).any():
        shared.log_y(loss)
    training_lines.note_rescaled(loss, results)
    if has_rate:
        rate = figure.add_subplot(grid[1, 0], sharex=loss)
        _learning_rate(rate, sharing)
        loss.tick_params(labelbottom=False)
        rate.set(xlabel="training images seen", ylabel="learning rate")
    else:
        loss.set_xlabel("training images seen")
    images.set(xlabel="training images seen", ylabel=f"{results.list_of(metric)} {labels.score(results)}")
    for axes in (loss, images):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if has_clock:
        clock.set_xlabel("training time (minutes)")
        clock.sharey(images)
    for axes, _, _ in panels[1:]:
        shared.chance_line(axes, table["chance"].mean(), named=True)
    shared.legend(figure, handles)
    return figure


def _learning_rate(axes: Axes, sharing: Trainings) -> None:
    """The learning rate of each training's first seed (it is set, not measured); one black line where all agree."""
    firsts = {arm: training_lines.first(curves, "images", "lr").to_numpy() for arm, curves in sharing.rows.items()}
    if len({line.tobytes() for line in firsts.values()}) == 1 < len(firsts):
        axes.plot(*next(iter(firsts.values())).T, color="black", linewidth=1)
        axes.set_title("the same in every arm", color=style.GREY, fontsize=7)
    else:
        marks.lines(axes, (firsts[arm] for arm in sharing.others))
        for arm in sharing.named:
            axes.plot(*firsts[arm].T, **sharing.looks[arm].marked(every=0.2))
    if not any(len(line) for line in firsts.values()):
        shared.say_in(axes, "not recorded")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(6.5)


def _has_rate(table: pd.DataFrame, results: Results) -> bool:
    """Whether trainings report their learning rate, or would: those of older versions did not, and that is said."""
    return bool(table["lr"].notna().any()) or "lr_schedule" in results.rows


def _denoises(results: Results) -> bool:
    """Whether trials sample images: then the loss is of noise, and scores during the training are of a fast sampler."""
    return "sampler" in results.rows


def _height(results: Results) -> str:
    """Which losses do not compare by their height."""
    if not (names := sorted(results.study.config_type.rescaling())):
        return ""
    known = "different schedules, T, targets or weightings"
    what = known if _denoises(results) else f"arms that differ in {' or '.join(names)}"
    return f" Losses of {what} are not on one scale: compare their shape, not their height."


def caption(table: pd.DataFrame, results: Results) -> str:
    sharing, metric, ends = training_lines.of(table, results), results.selection, []
    what = f"{results.list_of(metric)} {labels.score(results)}"
    for arm, label in sharing.named.items():
        last = sharing.rows[arm].sort_values("images").groupby("seed").last()
        end = f"{label}: loss {last['loss'].mean():.4f}"
        if last[metric].notna().any():
            end += f", {what} {last[metric].mean():.3f}"
        ends.append(f"{end} (n = {len(last)})")
    are = "is" if len(sharing.others) == 1 else "are"
    few_steps = "measured with few-step DDIM and is no final score" if _denoises(results) else "no final score"
    rate = ", with the learning rate under it" if _has_rate(table, results) else ""
    places = "Middle and right" if table["seconds"].notna().any() else "Right"
    more = f" {len(sharing.others)} more {are} in grey, one seed each." if sharing.others else ""
    return (
        f"Thin lines are trainings (one per seed, at most {THIN} per arm), thick lines their means; bands run from the "
        "smallest to the largest seed and end where the first seed ends. Left: training loss"
        f"{rate}.{_height(results)} {places}: {labels.score(results)} during training is {few_steps}. At the last "
        f"report, {'; '.join(ends)}.{more}"
    )
