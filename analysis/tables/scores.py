"""The score sheet: every score of every list, one row per arm, mean over seeds with its t interval; never a verdict."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pandas as pd

from analysis import recorded_task
from analysis.recorded_task import Task
from analysis.results import Results, once
from analysis.stats import intervals
from analysis.tables.format import decimal, of_planned, with_interval
from runners.experiment import metric_name

# Scores of a list, `<score>/<list>`, after the metric. <facet>_only, as of colours, and <metric>_1_objects and the like
# follow; real images are last.
SCORES = ("accuracy_macro", "accuracy_top5", "exact", "spurious", "missing", "kid_standard_error")
REAL, IMAGES = "real_accuracy", "real_images"
RENAMED = {REAL: "ceiling", IMAGES: "ceiling_images"}  # the names of older records for the same numbers
# And x0_error/<bin>. memorised and nearest/held_out, of older records, mix all numbers of objects.
TRIAL_SCORES = (
    "kid",
    "fid",
    "improved_precision",
    "improved_recall",
    "density",
    "coverage",
    "nearest/generated",
    "nearest/held_out_matched",
    "nearest/held_out",
    "memorised_matched",
    "memorised",
    "diversity",
    "diversity_features",
    "diversity_ratio",
    "evaluator_ece",
    "evaluator_ece_if_calibrated",
)
FEWEST = 19  # runners.evaluation.copies.FEWEST: this module imports no torch
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
    columns, metric, task = list(map(str, results.rows)), results.score.name, recorded_task.task_of(results)
    if not name:
        errors = sorted((column for column in columns if column.startswith(ERROR)), key=_bin)
        return [*(score for score in TRIAL_SCORES if score in columns), *errors]
    of_list = [column.removesuffix(f"/{name}") for column in columns if column.endswith(f"/{name}")]
    counted = re.compile(rf"{re.escape(metric)}_(\d+)_objects$")
    by_count = sorted(score for score in of_list if counted.match(score) and task["kind"] == "set")
    return [
        *(score for score in (metric, *SCORES, *_only(task)) if score in of_list),
        *by_count,
        *([REAL] if {REAL, RENAMED[REAL]} & set(of_list) else []),
    ]


def _only(task: Task) -> list[str]:
    """Scores of misses in which one facet was right: "colour_only", ..."""
    return [f"{facet}_only" for facet in task["facets"]]


def _bin(column: str) -> tuple[float, str]:
    """The bins of log-SNR by their lower end: "x0_error/snr_-4_-2" -> -4; one without a number is last."""
    for part in column.removeprefix(ERROR).split("_"):
        with contextlib.suppress(ValueError):
            return float(part), column
    return np.inf, column


def readable(table: pd.DataFrame, results: Results | None = None) -> list[pd.DataFrame]:
    """The sheets as short strings, one row per arm: that of the lists, and that of the whole trial if it has scores."""
    if table.empty:
        return []
    nouns = "objects" if results is None else recorded_task.nouns(recorded_task.task_of(results))
    sheets = [_sheet(table[table["list"] != ""], nouns), _sheet(table[table["list"] == ""], nouns)]
    return [sheet for sheet in sheets if len(sheet)]


def _sheet(table: pd.DataFrame, nouns: str) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row, shown in zip(table.to_dict("records"), with_interval(table, "mean", "ci low", "ci high"), strict=True):
        line = lines.setdefault((row["list"], row["arm"]), {"list": row["list"]} if row["list"] else {})
        line.setdefault("arm", row["arm"])
        line.setdefault("n", of_planned(row["n"], row["planned"]))
        measured = row["score"] != REAL  # a property of the evaluator, no mean over trainings
        line[_shown_as(row["score"], nouns)] = shown if measured else decimal(row["mean"])
    return pd.DataFrame(list(lines.values())).fillna("-")


def _shown_as(score: str, nouns: str) -> str:
    """The head of a column."""
    if counted := re.fullmatch(r"(.+)_(\d+)_objects", score):
        of_one = nouns.removesuffix("s") if counted[2] == "1" else nouns
        return f"{metric_name(counted[1]).replace('_', ' ')} {counted[2]} {of_one}"
    return SHOWN_AS.get(score, metric_name(score).replace("_", " "))


def notes(results: Results) -> list[str]:
    """What the columns mean; only of those that are shown."""
    own = lists(results)
    columns = {score for name in own for score in scores(results, name)} | set(scores(results, ""))
    explained = _explained(recorded_task.task_of(results), results, own, columns)
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


def _of_accuracy(task: Task, columns: set[str], judged: bool) -> str:
    """What the accuracies mean that are shown; `judged`: an evaluator decides, not the trial's own network."""
    picture, nouns, label = recorded_task.picture(task), recorded_task.nouns(task), recorded_task.label_word(task)
    if task["kind"] == "set":
        parts = {
            "accuracy": f"accuracy: share of the {nouns} asked for that are among the evaluator's top k (micro)",
            "accuracy_macro": f"accuracy macro: the mean over {picture}s",
            "exact": f"exact: share of {picture}s with every {task['noun']}",
        }
    else:
        asked = f"of which the evaluator's first {label} is the one that was asked for"
        parts = {
            "accuracy": f"accuracy: share of the {nouns} {asked if judged else f'whose {label} is named correctly'}",
            "accuracy_macro": f"accuracy macro: the mean over {recorded_task.label_words(task)}",
            "accuracy_top5": "accuracy top5: it is among the first five",
        }
    return f"{'; '.join(text for column, text in parts.items() if column in columns)}."


def _explained(task: Task, results: Results, own: list[str], columns: set[str]) -> dict[str, str]:
    """Column -> what it and those beside it mean, in the words of the task; `own`: the lists that were scored;
    `columns`: those that are shown."""
    real_images, counted = _real_images(results, own), _counted(results)
    picture, nouns = recorded_task.picture(task), recorded_task.nouns(task)
    sets = task["kind"] == "set"  # pictures differ in how much they show
    of_list, of_pictures = f" in the list's mix of numbers of {nouns}", f" in the {picture}s' mix of numbers of {nouns}"
    unlabelled = task["kind"] == "none"
    of_one, of_same = ("", "") if unlabelled else (" of one condition", " of the same conditions")
    drawn_anew = " KID standard error: of drawing both anew." if "kid_standard_error" in columns else ""
    things = nouns if sets else recorded_task.label_words(task)
    return {
        "accuracy": _of_accuracy(task, columns, recorded_task.judged_by_others(results)),
        "spurious": f"spurious, missing: {things} per {picture} that are seen and were not asked for, and that were "
        "asked for and are not seen. A threshold decides what is seen, whatever number was asked for; smaller is "
        "better.",
        **_of_facets(task),
        REAL: f"real images: the evaluator's own accuracy on held-out real images{of_list if sets else ''}"
        f"{real_images}. A reference and no bound: samples can be more typical than real images, and then score "
        "higher.",
        "memorised_matched": f"memorised matched: share of generated {picture}s nearer to a training image than 95 % "
        f"of the held-out real images{f' with as many {nouns}' if sets else ''} are, so .05 is what real images have, "
        f"whatever they show. {picture.capitalize()}s of which fewer than {FEWEST} such images exist are left out"
        f"{counted}.",
        "kid": f"KID: kernel distance between generated and real {picture}s (Binkowski et al. 2018), without bias, in "
        "the features of the first evaluator; smaller is better, below 0 by chance where both have one distribution"
        f"{_compared(results)}. It compares within one evaluator only.{drawn_anew}",
        "fid": "FID: Frechet distance (Heusel et al. 2017) in the features of the evaluator that was given, biased by "
        "the number of images; smaller is better.",
        "improved_precision": f"improved precision, recall: share of generated {picture}s in the manifold of the real "
        "ones, and of real ones in that of the generated ones (Kynkaanniemi et al. 2019). density, coverage: the same "
        "idea with balls around real images alone (Naeem et al. 2020). All depend on the numbers of images.",
        "diversity": f"diversity: mean distance in pixels of four draws{of_one}; noise raises it.",
        "diversity_features": "diversity features: the same in the evaluator's features, in two views that share no "
        "pixel, so that noise does not raise it; diversity ratio: divided by that of real images"
        f"{of_same}.",
        "evaluator_ece": "evaluator ECE: expected calibration error of the first evaluator on held-out images (Guo et "
        "al. 2017), beside what one that means what it says has by chance.",
        "nearest/generated": f"nearest: mean distance to the nearest training image, of generated {picture}s.",
        "nearest/held_out_matched": "nearest/held out matched: the same of held-out real images"
        f"{of_pictures if sets else ''}.",
        "nearest/held_out": "nearest/held out: of trials of an earlier version, real images in another mix.",
        "memorised": "memorised, one limit: of trials of an earlier version, which had one limit for all pictures. "
        "With it real images of one object count as copies in .11 and others never (images of scale laptop), so it is "
        "not comparable with memorised matched.",
    }


def _of_facets(task: Task) -> dict[str, str]:
    """What "colour only" and "shape only" mean; nothing without two facets."""
    facets = recorded_task.two_facets(task)
    if facets is None:
        return {}
    one, other = facets
    return {
        f"{one}_only": f"{one} only, {other} only: share of the {recorded_task.nouns(task)} that were missed while one "
        f"of their {one} in another {other}, or of their {other} in another {one}, was named instead; smaller is "
        "better."
    }


def _real_images(results: Results, names: list[str]) -> str:
    """` (validation: 120 images, test: 98 images)`, or one number for all lists, where it is recorded."""
    rows = results.rows
    known: dict[str, None] = {}
    for images in (IMAGES, RENAMED[IMAGES]):
        columns = {f"{name}: ": f"{images}/{name}" for name in names} | {"": images}
        counts = {label: rows[column].max() for label, column in columns.items() if column in rows}
        known |= {f"{label}{count:,.0f} images": None for label, count in counts.items() if np.isfinite(count)}
    return f" ({', '.join(known)})" if known else ""


def _compared(results: Results) -> str:
    """` (264 against 2,048 images)`, where it is recorded."""
    generated, real = results.mean_of("quality_images"), results.mean_of("reference_images")
    return f" ({generated:,.0f} against {real:,.0f} images)" if generated == generated else ""


def _counted(results: Results) -> str:
    """` (264 counted)`, or the fewest and the most."""
    rows = results.rows
    counts: list[float] = list(rows["memorised_images"].dropna()) if "memorised_images" in rows else []
    ends = list(dict.fromkeys(f"{count:,.0f}" for count in (min(counts), max(counts)))) if len(counts) else []
    return f" ({' to '.join(ends)} counted)" if ends else ""
