"""Schedule sheet.

What each noise schedule does: signal and SNR against t / T, the signal that is left at T, and a training image
noised at rising t. `draw_trial` draws it for the folder of one trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting import style
from runners.config import Call
from runners.ddpm import schedules as known
from runners.process.files import read_json
from study.record import reader

COLUMNS = ["arm", "schedule", "timesteps", "t", "u", "sqrt_alpha_bar", "log_snr", "noised"]


def table(study_id: str, record: Path) -> pd.DataFrame:
    """One row an arm and t, with COLUMNS; of an arm's trainings the first complete one."""
    rows = reader.load(study_id, record)
    complete = rows[rows["state"] == "complete"].drop_duplicates("arm")
    parts = [
        _of_trial(Path(row["folder"]), row["arm"], row["schedule"], row["timesteps"]) for _, row in complete.iterrows()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _of_trial(folder: Path, arm: str, schedule: str, timesteps: int) -> pd.DataFrame:
    """The schedule that one trial recorded; u = t / T runs to 1 whether the file counts t from 0 or from 1."""
    if not (folder / "schedule.csv").is_file():
        return pd.DataFrame(columns=COLUMNS)
    steps = pd.read_csv(folder / "schedule.csv")
    steps["u"] = (steps["t"] - steps["t"].min() + 1) / len(steps)
    steps = steps.assign(arm=arm, schedule=schedule, timesteps=timesteps, noised=str(folder / "noised.png"))
    return steps[COLUMNS]


def draw_trial(folder: Path) -> Figure:
    """The sheet of one trial, from its folder alone (config.json, schedule.csv, noised.png)."""
    config = read_json(folder / "config.json")
    arm = f"schedule={config['schedule']}"
    study = {"arms": [arm], "factors": {"schedule": [config["schedule"]]}}
    return draw(_of_trial(folder, arm, config["schedule"], config["timesteps"]), study)


def draw(table: pd.DataFrame, study: Mapping[str, Any]) -> Figure:
    if table.empty:
        return style.blank("no trial has recorded a schedule yet")
    sheets = schedules(table)
    strip = style.strip_height([str(steps["noised"].iloc[0]) for steps in sheets.values()])
    top, one_T = 2.35 + 0.15 * -(-len(sheets) // 3), table["timesteps"].nunique() == 1
    figure = style.figure(style.DOUBLE, top + strip * len(sheets))
    curves, strips = figure.subfigures(2, 1, squeeze=False, height_ratios=[top, strip * len(sheets)])[:, 0]
    signal, snr = curves.subplots(1, 2)
    for arms, steps in sheets.items():
        look, label = style.line_style(study, arms[0]), _label(arms, table, study)
        end = steps["sqrt_alpha_bar"].iloc[-1]
        signal.plot(steps["u"], steps["sqrt_alpha_bar"], label=rf"{label}: $\sqrt{{\bar\alpha_T}}$ = {end:.2g}", **look)
        signal.plot(1, end, "o", color=look["color"], markersize=3.5, clip_on=False)
        finite = steps[np.isfinite(steps["log_snr"])]
        snr.plot(finite["u"], finite["log_snr"], **look)
    signal.set(xlabel="t / T", ylabel=r"signal $\sqrt{\bar\alpha_t}$", xlim=(0, 1), ylim=(0, 1.02))
    snr.set(xlabel="t / T", ylabel=r"$\log\,\mathrm{SNR}_t$ (nats)", xlim=(0, 1))
    curves.legend(
        loc="outside upper center",
        title=style.arm_title(study) if one_T and len(sheets) == table["arm"].nunique() else "schedule",
        ncols=min(3, len(sheets)),
    )
    panels = strips.subplots(len(sheets), 1, squeeze=False)[:, 0]
    for axes, (arms, steps) in zip(panels, sheets.items(), strict=True):
        style.show_image(axes, steps["noised"].iloc[0])
        axes.set_title(_label(arms, table, study), loc="left", color=style.arm_style(study)[arms[0]]["color"], pad=2)
    panels[-1].set_xlabel(r"one training image, noised at rising t $\rightarrow$")
    return figure


def schedules(table: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    """Arms with one schedule and one T -> its steps: a guidance study has one line, not one an arm."""
    sharing: dict[tuple[str, int], list[str]] = {}
    for arm, steps in table.groupby("arm", sort=False):
        sharing.setdefault((steps["schedule"].iloc[0], steps["timesteps"].iloc[0]), []).append(str(arm))
    return {tuple(arms): table[table["arm"] == arms[0]] for arms in sharing.values()}


def _label(arms: tuple[str, ...], table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """The arm; for arms that share a schedule, and in a study of several T, the schedule and its T."""
    if len(arms) == 1 and table["timesteps"].nunique() == 1:
        return style.arm_label(study, arms[0])
    first = table[table["arm"] == arms[0]].iloc[0]
    shared = f" ({len(arms)} arms)" if len(arms) > 1 else ""
    return style.plain(f"{first['schedule']}, T = {first['timesteps']}{shared}")


def caption(table: pd.DataFrame, study: Mapping[str, Any]) -> str:
    if table.empty:
        return "No trial has recorded a schedule yet."
    one_T = table["timesteps"].nunique() == 1
    ends = "; ".join(
        f"{_label(arms, table, study)} {steps['sqrt_alpha_bar'].iloc[-1]:.2g}"
        + (f" (T = {steps['timesteps'].iloc[0]})" if one_T else "")
        for arms, steps in schedules(table).items()
    )
    defined = "; ".join(_definition(str(name)) for name in table["schedule"].unique())
    return (
        "Left: the share of the image that is left at t; right: log SNR = log(alpha_bar / (1 - alpha_bar)); below: one "
        "training image as the network sees it. Sampling starts from pure noise, so a schedule should leave almost "
        f"nothing at T. Terminal sqrt(alpha_bar_T): {ends}. Schedules: {defined}. No training is "
        "involved: the setting alone decides."
    )


def _definition(schedule: str) -> str:
    """`cosine: alpha_bar(u) = ...`: the first paragraph of what defines the schedule."""
    name = Call.parse(schedule).name
    words = (getattr(known, name, None).__doc__ or "not defined here").strip().split("\n\n")[0]
    return f"{schedule}: {' '.join(words.split()).rstrip('.')}"
