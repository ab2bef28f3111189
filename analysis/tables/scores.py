"""The score sheet: every score of every list, one row per arm, mean over seeds with its t interval; never a verdict."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pandas as pd

from analysis.results import Results, once
from analysis.stats import intervals
from analysis.tables.format import decimal, of_planned, with_interval

# Scores of a list, `<score>/<list>`, after the metric; <metric>_1_objects and the like follow, real images are last.
SCORES = ("accuracy_macro", "exact", "spurious", "missing", "colour_only", "shape_only")
REAL, IMAGES = "real_accuracy", "real_images"
RENAMED = {REAL: "ceiling", IMAGES: "ceiling_images"}  # the names of older records for the same numbers
# And x0_error/<bin>. memorised and nearest/held_out, of older records, mix all numbers of objects.
TRIAL_SCORES = (
    "nearest/generated",
    "nearest/held_out_matched",
    "nearest/held_out",
    "memorised_matched",
    "memorised",
    "diversity",
)
FEWEST = 19  # runners.evaluation.quality.FEWEST: this module imports no torch
ERROR = "x0_error/"
SHOWN_AS = {REAL: "real images", "memorised": "memorised, one limit"}


@once
def table(results: Results) -> pd.DataFrame:
    """One row per list, arm and score that was recorded: n complete trials, mean and its interval.

    The list of the study's metric comes first; scores of the whole trial have no list.
    """
    found = []
    for name in [*lists(results), ""]:
        for score in scores(results, name):
            mean = _means(results, f"{score}/{name}" if name else score)
            columns = {"n": mean.n, "mean": mean.mean, "ci low": mean.low, "ci high": mean.high}
            found.append(pd.DataFrame({"list": name, "arm": results.arms, "score": score, **columns}))
    known = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    if len(known):
        known.insert(4, "planned", len(results.seeds))
    return known


def _means(results: Results, column: str) -> intervals.Means:
    """Of a column, with what older records say of it under its older name."""
    score, _, name = column.partition("/")
    if score not in RENAMED:
        return results.means(column)
    newer, older = results.values(column), results.values(f"{RENAMED[score]}/{name}")
    return intervals.means(np.where(np.isfinite(newer), newer, older))


def lists(results: Results) -> list[str]:
    """The lists that were scored, that of the study's metric first."""
    own = results.metric.split("/")[-1]
    return sorted(results.lists, key=lambda name: name != own)


def scores(results: Results, name: str) -> list[str]:
    """What was recorded of a list, or with "" of the whole trial."""
    columns, metric = list(map(str, results.rows)), results.score.name
    if not name:
        errors = sorted((column for column in columns if column.startswith(ERROR)), key=_bin)
        return [*(score for score in TRIAL_SCORES if score in columns), *errors]
    of_list = [column.removesuffix(f"/{name}") for column in columns if column.endswith(f"/{name}")]
    counted = re.compile(rf"{re.escape(metric)}_(\d+)_objects$")
    by_count = sorted(score for score in of_list if counted.match(score))
    return [
        *(score for score in (metric, *SCORES) if score in of_list),
        *by_count,
        *([REAL] if {REAL, RENAMED[REAL]} & set(of_list) else []),
    ]


def _bin(column: str) -> tuple[float, str]:
    """The bins of log-SNR by their lower end: "x0_error/snr_-4_-2" -> -4; one without a number is last."""
    for part in column.removeprefix(ERROR).split("_"):
        with contextlib.suppress(ValueError):
            return float(part), column
    return np.inf, column


def readable(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The sheets as short strings, one row per arm: that of the lists, and that of the whole trial if it has scores."""
    if table.empty:
        return []
    sheets = [_sheet(table[table["list"] != ""]), _sheet(table[table["list"] == ""])]
    return [sheet for sheet in sheets if len(sheet)]


def _sheet(table: pd.DataFrame) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row, shown in zip(table.to_dict("records"), with_interval(table, "mean", "ci low", "ci high"), strict=True):
        line = lines.setdefault((row["list"], row["arm"]), {"list": row["list"]} if row["list"] else {})
        line.setdefault("arm", row["arm"])
        line.setdefault("n", of_planned(row["n"], row["planned"]))
        measured = row["score"] != REAL  # a property of the evaluator, no mean over trainings
        line[SHOWN_AS.get(row["score"], row["score"].replace("_", " "))] = shown if measured else decimal(row["mean"])
    return pd.DataFrame(list(lines.values())).fillna("-")


def notes(results: Results) -> list[str]:
    """What the columns mean; only of those that are shown."""
    own = lists(results)
    columns = {score for name in own for score in scores(results, name)} | set(scores(results, ""))
    explained = {
        "accuracy": "accuracy: share of the objects asked for that are among the evaluator's top k (micro); "
        "accuracy macro: the mean over pictures; exact: share of pictures with every object.",
        "spurious": "spurious, missing: objects per picture that are seen and were not asked for, and that were asked "
        "for and are not seen. A threshold decides what is seen, whatever number was asked for; smaller is better.",
        "colour_only": "colour only, shape only: share of the objects that were missed while one of their colour in "
        "another shape, or of their shape in another colour, was named instead; smaller is better.",
        REAL: "real images: the evaluator's own accuracy on held-out real images in the list's mix of numbers of "
        f"objects{_real_images(results, own)}. A reference and no bound: samples can be more typical than real images, "
        "and then score higher.",
        "memorised_matched": "memorised matched: share of generated pictures nearer to a training image than 95 % of "
        "the held-out real images with as many objects are, so .05 is what real images have, whatever they show. "
        f"Pictures of which fewer than {FEWEST} such images exist are left out{_counted(results)}.",
        "nearest/generated": "nearest: mean distance to the nearest training image, of generated pictures.",
        "nearest/held_out_matched": "nearest/held out matched: the same of held-out real images in the pictures' mix "
        "of numbers of objects.",
        "nearest/held_out": "nearest/held out: of trials of an earlier version, real images in another mix.",
        "memorised": "memorised, one limit: of trials of an earlier version, which had one limit for all pictures. "
        "With it real images of one object count as copies in .11 and others never (images of scale laptop), so it is "
        "not comparable with memorised matched.",
    }
    lines = [text for column, text in explained.items() if column in columns]
    if any(column.startswith(ERROR) for column in columns):
        lines.append(
            "x0 error: error of the denoised image by the log-SNR of its input, in units that all schedules and "
            "targets share; smaller is better."
        )
    return [
        *lines,
        "Means over seeds with 95 % t intervals, which with few seeds may extend beyond 0 or 1. These columns are not "
        "tested.",
    ]


def _real_images(results: Results, names: list[str]) -> str:
    """` (validation: 120 images, test: 98 images)`, or one number for all lists, where it is recorded."""
    rows = results.rows
    known: dict[str, None] = {}
    for images in (IMAGES, RENAMED[IMAGES]):
        columns = {f"{name}: ": f"{images}/{name}" for name in names} | {"": images}
        counts = {label: rows[column].max() for label, column in columns.items() if column in rows}
        known |= {f"{label}{count:,.0f} images": None for label, count in counts.items() if np.isfinite(count)}
    return f" ({', '.join(known)})" if known else ""


def _counted(results: Results) -> str:
    """` (264 counted)`, or the fewest and the most."""
    rows = results.rows
    counts: list[float] = list(rows["memorised_images"].dropna()) if "memorised_images" in rows else []
    ends = list(dict.fromkeys(f"{count:,.0f}" for count in (min(counts), max(counts)))) if len(counts) else []
    return f" ({' to '.join(ends)} counted)" if ends else ""
