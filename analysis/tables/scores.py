"""The score sheet: every score of every list, one row an arm, mean over seeds with its t interval; never a verdict."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.tables import comparison as tables

Study = Mapping[str, Any]

# Scores of a list, `<score>/<list>`; accuracy_1_objects and the like follow.
SCORES = ("accuracy", "accuracy_macro", "exact", "spurious", "missing", "colour_only", "shape_only", "ceiling")
TRIAL_SCORES = ("nearest/generated", "nearest/held_out", "memorised", "diversity")  # and x0_error/<bin>
COUNTED = re.compile(r"accuracy_(\d+)_objects$")
ERROR = "x0_error/"
IMAGES = "ceiling_images"


def table(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """One row a list, arm and score that was recorded: n complete trials, mean and its interval.

    The list of the study's metric comes first; scores of the whole trial have no list.
    """
    found = []
    for name in [*lists(rows, study), ""]:
        for score in scores(rows, name):
            mean = intervals.means(tables.values(rows, study, f"{score}/{name}" if name else score))
            columns = {"n": mean.n, "mean": mean.mean, "ci low": mean.low, "ci high": mean.high}
            found.append(pd.DataFrame({"list": name, "arm": list(study["arms"]), "score": score, **columns}))
    known = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    if len(known):
        known.insert(4, "planned", len(study["seeds"]))
    return known


def lists(rows: pd.DataFrame, study: Study) -> list[str]:
    """The lists that were scored, that of the study's metric first."""
    own = str(study["metric"]).split("/")[-1]
    return sorted((name for name in tables.LISTS if f"accuracy/{name}" in rows), key=lambda name: name != own)


def scores(rows: pd.DataFrame, name: str) -> list[str]:
    """What was recorded of a list, or with "" of the whole trial."""
    if not name:
        errors = sorted((str(column) for column in rows if str(column).startswith(ERROR)), key=_bin)
        return [*(score for score in TRIAL_SCORES if score in rows), *errors]
    of_list = [str(column).removesuffix(f"/{name}") for column in rows if str(column).endswith(f"/{name}")]
    counted = sorted(score for score in of_list if COUNTED.match(score))
    return [*(score for score in SCORES if score in of_list and score != "ceiling"), *counted] + (
        ["ceiling"] if "ceiling" in of_list else []
    )


def _bin(column: str) -> tuple[float, str]:
    """The bins of log-SNR by their lower end: "x0_error/snr_-4_-2" -> -4; one without a number is last."""
    for part in column.removeprefix(ERROR).split("_"):
        with contextlib.suppress(ValueError):
            return float(part), column
    return np.inf, column


def readable(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The sheets as short strings, one row an arm: that of the lists, and that of the whole trial if it has scores."""
    if table.empty:
        return []
    sheets = [_sheet(table[table["list"] != ""]), _sheet(table[table["list"] == ""])]
    return [sheet for sheet in sheets if len(sheet)]


def _sheet(table: pd.DataFrame) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    intervals_of = tables.with_interval(table, "mean", "ci low", "ci high", "")
    for row, shown in zip(table.to_dict("records"), intervals_of, strict=True):
        line = lines.setdefault((row["list"], row["arm"]), {"list": row["list"]} if row["list"] else {})
        line.setdefault("arm", row["arm"])
        line.setdefault("n", str(row["n"]) if row["n"] == row["planned"] else f"{row['n']}/{row['planned']}")
        measured = row["score"] != "ceiling"  # a property of the evaluator, no mean over trainings
        line[row["score"].replace("_", " ")] = shown if measured else tables.decimal(row["mean"])
    return pd.DataFrame(list(lines.values())).fillna("-")


def notes(rows: pd.DataFrame, study: Study) -> list[str]:
    """What the columns mean; only of those that are shown."""
    own = lists(rows, study)
    columns = {score for name in own for score in scores(rows, name)} | set(scores(rows, ""))
    explained = {
        "accuracy": "accuracy: share of the objects asked for that are among the evaluator's top k (micro); "
        "accuracy macro: the mean over pictures; exact: share of pictures with every object.",
        "spurious": "spurious, missing: objects a picture that are seen and were not asked for, that were asked for "
        "and are not seen, by a threshold and so without knowing how many were asked for; smaller is better.",
        "colour_only": "colour only, shape only: share of the objects missed where one of their colour in another "
        "shape, of their shape in another colour, was named instead; smaller is better.",
        "ceiling": "ceiling: the evaluator's own accuracy on real images with the list's label sets"
        f"{_ceiling_images(rows, own)}; no model can be expected above it.",
        "memorised": "memorised: share of generated pictures nearer to a training image than 95 % of the held-out real "
        "images are, so .05 is what real images have; nearest: mean distance to the nearest training image.",
    }
    lines = [text for column, text in explained.items() if column in columns]
    if any(column.startswith(ERROR) for column in columns):
        lines.append(
            "x0 error: error of the denoised image by the log-SNR of its input, in units that all schedules and "
            "targets share; smaller is better."
        )
    return [
        *lines,
        "Means over seeds with 95 % t intervals, which few seeds may carry beyond 0 or 1; no test is made of these "
        "columns.",
    ]


def _ceiling_images(rows: pd.DataFrame, names: list[str]) -> str:
    """` (validation: 120 images, test: 98 images)`, or one number for all lists, where it is recorded."""
    columns = {f"{name}: ": f"{IMAGES}/{name}" for name in names} | {"": IMAGES}
    counts = {label: rows[column].max() for label, column in columns.items() if column in rows}
    known = [f"{label}{count:,.0f} images" for label, count in counts.items() if np.isfinite(count)]
    return f" ({', '.join(known)})" if known else ""
