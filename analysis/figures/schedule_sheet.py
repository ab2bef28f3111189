"""Schedule sheet.

What each noise schedule does: signal and log SNR against t / T, the signal that is left at T, and a training image
noised at rising t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.needs import Needs
from analysis.plotting import images, labels, style
from analysis.plotting.style import Look
from analysis.results import Results
from runners.process.files import read_json

NEEDS = Needs(fields=("schedule", "timesteps"), files=("schedule.csv",))

COLUMNS = ["arm", "schedule", "timesteps", "t", "u", "sqrt_alpha_bar", "log_snr", "noised"]
DEFINITION = "schedule.txt"  # what a trial says of its schedule; older ones say nothing


@dataclass(frozen=True)
class Sheet:
    """A schedule with its T: the arms that have it share a line. `steps`: the rows of the first of them."""

    label: str
    look: Look
    steps: pd.DataFrame


def table(results: Results) -> pd.DataFrame:
    """One row per arm and t, with COLUMNS; of an arm's trainings the first complete one."""
    first = results.complete.drop_duplicates("arm")
    fields = zip(first["folder"], first["arm"], first["schedule"], first["timesteps"], strict=True)
    parts = [_of_trial(Path(folder), arm, schedule, timesteps) for folder, arm, schedule, timesteps in fields]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _of_trial(folder: Path, arm: str, schedule: str, timesteps: int) -> pd.DataFrame:
    """The schedule that one trial recorded; u = t / T runs to 1 whether the file counts t from 0 or from 1."""
    if not (folder / "schedule.csv").is_file():
        return pd.DataFrame(columns=COLUMNS)
    steps = pd.read_csv(folder / "schedule.csv")
    steps["u"] = (steps["t"] - steps["t"].min() + 1) / len(steps)
    steps = steps.assign(arm=arm, schedule=schedule, timesteps=timesteps, noised=str(folder / "noised.png"))
    return steps[COLUMNS]


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No trial has recorded a schedule yet." if table.empty else ""


def sheets(table: pd.DataFrame, results: Results) -> list[Sheet]:
    """One per schedule and T, of more than a legend can take an even spread: a guidance study has one line, not one
    per arm."""
    frames = dict(iter(table.groupby("arm", sort=False)))
    sharing: dict[tuple[str, int], list[str]] = {}
    for arm, steps in frames.items():
        sharing.setdefault((steps["schedule"].iloc[0], steps["timesteps"].iloc[0]), []).append(str(arm))
    kept = labels.spread_arms(results, [arms[0] for arms in sharing.values()])
    looks = style.looks(results.arms)
    return [
        Sheet(_label(arms, frames[arms[0]], _one_T(table), results), looks[arms[0]], frames[arms[0]])
        for arms in sharing.values()
        if arms[0] in kept
    ]


def _one_T(table: pd.DataFrame) -> bool:
    return table["timesteps"].nunique() == 1


def _label(arms: Sequence[str], steps: pd.DataFrame, one_T: bool, results: Results) -> str:
    """The arm; for arms that share a schedule, and in a study of several T, the schedule and its T."""
    if len(arms) == 1 and one_T:
        return labels.arm_label(results, arms[0])
    shared_by = f" ({len(arms)} arms)" if len(arms) > 1 else ""
    return labels.plain(f"{steps['schedule'].iloc[0]}, T = {steps['timesteps'].iloc[0]}{shared_by}")


def draw(table: pd.DataFrame, results: Results) -> Figure:
    by_arm = _one_T(table) and table["schedule"].nunique() == table["arm"].nunique()
    return _page(sheets(table, results), labels.arm_title(results) if by_arm else "schedule")


def draw_trial(folder: Path) -> Figure:
    """The sheet of one trial, from its folder alone (config.json, schedule.csv, noised.png)."""
    config = read_json(folder / "config.json")
    steps = _of_trial(folder, "", config["schedule"], config["timesteps"])
    with style.look():
        if steps.empty:
            return labels.blank("The trial has recorded no schedule.")
        return _page([Sheet(labels.plain(config["schedule"]), style.looks([""])[""], steps)], "schedule")


def _page(sheets: Sequence[Sheet], title: str) -> Figure:
    strip = images.strip_height([str(sheet.steps["noised"].iloc[0]) for sheet in sheets])
    ends = [rf"{sheet.label}: $\sqrt{{\bar\alpha_T}}$ = {_terminal(sheet):.2g}" for sheet in sheets]
    handles = [sheet.look.handle(end) for sheet, end in zip(sheets, ends, strict=True)]
    top = 2.35 + 0.15 * -(-len(sheets) // 3)
    figure = style.figure(style.DOUBLE, top + strip * len(sheets))
    curves, strips = figure.subfigures(2, 1, squeeze=False, height_ratios=[top, strip * len(sheets)])[:, 0]
    signal, snr = curves.subplots(1, 2)
    for sheet in sheets:
        look = sheet.look.marked(every=0.15)
        signal.plot(sheet.steps["u"], sheet.steps["sqrt_alpha_bar"], **look)
        signal.plot(1, _terminal(sheet), sheet.look.marker, color=sheet.look.colour, markersize=3.5, clip_on=False)
        finite = sheet.steps[np.isfinite(sheet.steps["log_snr"])]
        snr.plot(finite["u"], finite["log_snr"], **look)
    signal.set(xlabel="t / T", ylabel=r"signal $\sqrt{\bar\alpha_t}$", xlim=(0, 1), ylim=(0, 1.02))
    snr.set(xlabel="t / T", ylabel=r"$\log\,\mathrm{SNR}_t$ (nats)", xlim=(0, 1))
    curves.legend(handles=handles, loc="outside upper center", title=title, ncols=min(3, len(sheets)))
    panels = strips.subplots(len(sheets), 1, squeeze=False)[:, 0]
    for axes, sheet in zip(panels, sheets, strict=True):
        images.show(axes, sheet.steps["noised"].iloc[0])
        axes.set_title(sheet.label, loc="left", color=sheet.look.ink, pad=2)
    panels[-1].set_xlabel(r"one training image, noised at rising t $\rightarrow$")
    return figure


def _terminal(sheet: Sheet) -> float:
    """sqrt(alpha_bar_T)."""
    return float(sheet.steps["sqrt_alpha_bar"].iloc[-1])


def caption(table: pd.DataFrame, results: Results) -> str:
    found, one_T = sheets(table, results), _one_T(table)
    ends = "; ".join(
        f"{sheet.label} {_terminal(sheet):.2g}" + (f" (T = {sheet.steps['timesteps'].iloc[0]})" if one_T else "")
        for sheet in found
    )
    names = dict.fromkeys(map(_definition, found))
    return (
        "Left: the share of the image that is left at t; right: log SNR = log(alpha_bar / (1 - alpha_bar)); below: one "
        "training image as the network sees it. Sampling starts from pure noise, so a schedule should leave almost "
        f"nothing at T. Terminal sqrt(alpha_bar_T): {ends}. Schedules: {'; '.join(names)}. The sheet "
        "follows from the setting alone; no training is involved."
    )


def _definition(sheet: Sheet) -> str:
    """`cosine: alpha_bar(u) = ...`: what the trial says of its schedule."""
    schedule = str(sheet.steps["schedule"].iloc[0])
    path = Path(str(sheet.steps["noised"].iloc[0])).with_name(DEFINITION)
    return f"{schedule}: {path.read_text(encoding='utf-8').strip()}" if path.is_file() else schedule
