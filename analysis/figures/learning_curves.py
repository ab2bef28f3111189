"""Learning curves.

Training loss, learning rate and validation accuracy against images seen, and validation accuracy against the clock.
Arms that share their trainings (a guidance or sampler study) are one curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analysis.plotting import style
from study.record import reader

ACCURACY = "accuracy/validation"
COLUMNS = ["arm", "seed", "train_key", "images", "seconds", "loss", "lr", ACCURACY, "chance"]
# Factors that change what the loss measures, so that arms cannot be compared by its height.
RESCALES = {"schedule", "timesteps", "prediction", "weighting"}
THIN = 10  # trainings of an arm that have a line of their own; its mean and band are of all
MIN_REPORTS = 2  # of a curve; fewer are drawn as points


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row a report of a training, with COLUMNS."""
    rows, curves = reader.load(study_id, record), reader.curves(study_id, record)
    if curves.empty:
        return pd.DataFrame(columns=COLUMNS)
    known = rows[["trial_key", "train_key"]].assign(chance=rows.get("chance/validation", np.nan))
    found = curves.merge(known, on="trial_key").reindex(columns=COLUMNS)
    # A last report of a few steps is an accident of the total, not of the training: its mean is mostly luck.
    window = found[found["loss"].notna()].groupby(["arm", "seed"])["images"].diff()
    return found.assign(
        loss=found["loss"].where(~(window < window.median() / 2).reindex(found.index, fill_value=False))
    )


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no training has reported yet")
    sharing = trainings(table, study)
    named = style.spread(study, [arms[0] for arms in sharing])
    labels = [label(arms, study) for arms in sharing if arms[0] in named]
    labels += ["other arms"] if len(named) < len(sharing) else []
    columns = style.legend_columns(labels)
    figure = style.figure(style.DOUBLE, 2.75 + 0.15 * -(-len(labels) // columns))
    grid = figure.add_gridspec(2, 3, height_ratios=[3, 1])
    loss, images, clock = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[:, 1]), figure.add_subplot(grid[:, 2])
    rate = figure.add_subplot(grid[1, 0], sharex=loss)
    others = {arms: curves for arms, curves in sharing.items() if arms[0] not in named}
    for index, curves in enumerate(others.values()):
        _faint(loss, curves, "images", "loss", "other arms" if index == len(others) - 1 else None)
        _faint(images, curves, "images", ACCURACY)
        _faint(clock, curves.assign(minutes=curves["seconds"] / 60), "minutes", ACCURACY)
    for arms, curves in sharing.items():
        if arms in others:
            continue
        look = style.line_style(study, arms[0])
        _band(loss, curves, "images", "loss", look, label(arms, study))
        _band(images, curves, "images", ACCURACY, look)
        _band(clock, curves.assign(minutes=curves["seconds"] / 60), "minutes", ACCURACY, look)
    _learning_rate(rate, sharing, others, study)
    _axes(loss, "", "training loss (MSE)")
    _axes(rate, "training images seen", "learning rate")
    loss.tick_params(labelbottom=False)
    if (table["loss"] > 0).any():
        style.log_y(loss)
    if RESCALES & set(study.get("factors") or {}):
        loss.set_title("not on one scale across arms", color=style.GREY, fontsize=7)
    _axes(images, "training images seen", "validation accuracy")
    _axes(clock, "training time (minutes)", "")
    clock.sharey(images)
    for axes in (loss, images, clock):
        axes.set_xlim(left=0)
    for axes in (loss, images):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in (images, clock):
        _chance(axes, table)
    handles = dict(zip(*reversed(loss.get_legend_handles_labels()), strict=True))
    lines = [handles[label] for label in labels]
    figure.legend(
        lines, labels, title=style.arm_title(study), loc="outside upper center", ncols=style.legend_columns(labels)
    )
    return figure


def _learning_rate(
    axes: Axes,
    sharing: Mapping[tuple[str, ...], pd.DataFrame],
    others: Mapping[tuple[str, ...], pd.DataFrame],
    study: Mapping[str, Any],
) -> None:
    """The learning rate of each training's first seed (it is set, not measured); one black line where all agree."""
    firsts = {arms: _first(curves, "images", "lr") for arms, curves in sharing.items()}
    if len({tuple(zip(line["images"], line["lr"], strict=True)) for line in firsts.values()}) == 1 < len(firsts):
        line = next(iter(firsts.values()))
        axes.plot(line["images"], line["lr"], color="black", linewidth=1)
        axes.set_title("the same in every arm", color=style.GREY, fontsize=7)
    else:
        for arms, line in firsts.items():
            faint = {"color": "0.75", "linewidth": 0.6, "zorder": 1}
            axes.plot(line["images"], line["lr"], **(faint if arms in others else style.line_style(study, arms[0])))
    if all(line.empty for line in firsts.values()):
        axes.text(0.5, 0.5, "not recorded", ha="center", va="center", color=style.GREY, transform=axes.transAxes)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(6.5)


def trainings(table: pd.DataFrame, study: Mapping[str, Any]) -> dict[tuple[str, ...], pd.DataFrame]:
    """Arms that share their trainings -> the curves of those trainings, in the study's order."""
    sharing: dict[frozenset[str], list[str]] = {}
    for arm in study["arms"]:
        keys = frozenset(table.loc[table["arm"] == arm, "train_key"])
        if keys:
            sharing.setdefault(keys, []).append(arm)
    return {tuple(arms): table[table["arm"] == arms[0]] for arms in sharing.values()}


def label(arms: tuple[str, ...], study: Mapping[str, Any]) -> str:
    """The arm; for arms that share a training what their names share, or the first and how many more."""
    first = style.arm_label(study, arms[0])
    if len(arms) == 1:
        return first
    shared = [word for word in arms[0].split() if all(word in arm.split() for arm in arms)]
    if shared:
        return style.plain(f"{' '.join(shared)} ({len(arms)} arms)")
    return f"{first} and {len(arms) - 1} more (one training)"


def page(
    table: pd.DataFrame, study: Mapping[str, Any]
) -> tuple[Figure, Axes, dict[tuple[str, ...], pd.DataFrame], dict[tuple[str, ...], str]]:
    """A figure with one panel and room for its legend above: figure, axes, trainings, labels of those to be named."""
    sharing = trainings(table, study)
    kept = style.spread(study, [arms[0] for arms in sharing])
    labels = {arms: label(arms, study) for arms in sharing if arms[0] in kept}
    columns = style.legend_columns(list(labels.values()))
    figure = style.figure(style.DOUBLE, 2.7 + 0.15 * -(-len(labels) // columns))
    return figure, figure.subplots(), sharing, labels


def legend(figure: Figure, axes: Axes, study: Mapping[str, Any]) -> None:
    """The legend of a `page`."""
    lines, named = axes.get_legend_handles_labels()
    columns = style.legend_columns([str(name) for name in named])
    figure.legend(lines, named, title=style.arm_title(study), loc="outside upper center", ncols=columns)


def _axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _chance(axes: Axes, table: pd.DataFrame) -> None:
    level = table["chance"].mean()
    if np.isfinite(level):
        axes.axhline(level, color=style.GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.text(1, level, "chance", ha="right", va="bottom", color=style.GREY, transform=axes.get_yaxis_transform())


def _band(axes: Axes, curves: pd.DataFrame, x: str, y: str, look: dict[str, Any], label: str | None = None) -> None:
    """Thin lines per seed, their mean, and min to max over the range that every seed covers."""
    seeds = [part.dropna(subset=[x, y]).sort_values(x) for _, part in curves.groupby("seed")]
    seeds = [part for part in seeds if len(part)]
    if not seeds:
        axes.plot([], [], label=label, **look)
        return
    for part in seeds[:THIN]:
        mark = {"marker": "."} if len(part) < MIN_REPORTS else {}
        axes.plot(part[x], part[y], **(look | {"linewidth": 0.5, "alpha": 0.6} | mark))
    start, end = max(part[x].iloc[0] for part in seeds), min(part[x].iloc[-1] for part in seeds)
    grid = np.unique(np.concatenate([part[x].to_numpy() for part in seeds]))
    grid = grid[(grid >= start) & (grid <= end)]
    lines = np.array([np.interp(grid, part[x], part[y]) for part in seeds])
    axes.plot(grid, lines.mean(axis=0), label=label, **look)
    axes.fill_between(grid, lines.min(axis=0), lines.max(axis=0), color=look["color"], alpha=0.18, linewidth=0)


def _faint(axes: Axes, curves: pd.DataFrame, x: str, y: str, label: str | None = None) -> None:
    """A training that the legend has no room for: its first seed, in grey."""
    first = _first(curves, x, y)
    axes.plot(first[x], first[y], color="0.75", linewidth=0.6, zorder=1, label=label)


def _first(curves: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    return curves[curves["seed"] == curves["seed"].min()].dropna(subset=[x, y]).sort_values(x)


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No training has reported yet."
    ends = []
    sharing = trainings(table, study)
    named = style.spread(study, [arms[0] for arms in sharing])
    for arms, curves in sharing.items():
        if arms[0] not in named:
            continue
        last = curves.sort_values("images").groupby("seed").last()
        end = f"{label(arms, study)}: loss {last['loss'].mean():.4f}"
        if last[ACCURACY].notna().any():
            end += f", validation accuracy {last[ACCURACY].mean():.3f}"
        ends.append(f"{end} (n = {len(last)})")
    return (
        f"Thin lines are trainings (one a seed, {THIN} an arm at most), thick lines their means, bands run from the "
        "smallest to the largest seed, as far as all seeds go (their seconds differ). Left: losses of different "
        "schedules, T, targets or weightings are not on one scale; compare the shape, not the height; under it the "
        "learning rate. Middle and right: accuracy in training is measured with few-step "
        f"DDIM on the validation list, and is no final score. At the last report, {'; '.join(ends)}."
        + (f" {len(sharing) - len(named)} more are in grey, one seed each." if len(named) < len(sharing) else "")
    )
