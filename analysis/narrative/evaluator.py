"""What the evaluator is worth on real images that it was not trained on, and whether that is more than chance."""

from __future__ import annotations

import re

import numpy as np

from analysis import recorded_task
from analysis.results import Results
from analysis.tables.sensitivity import ABOVE_CHANCE

ACCURACY = re.compile(r"evaluator(_\d+)?_held_out_accuracy")  # of the first evaluator, and of further ones
SURROGATE = "stand-in"  # what a result calls an evaluator that the record trained itself
TURNS = 4  # of a picture without labels, of which the evaluator learned to name one


def held_out(results: Results) -> float:
    """How many images its accuracy is of; NaN where it is not recorded."""
    counted = recorded_task.task_of(results).get("images", {}).get("held_out")
    return float(counted) if counted else results.mean_of("real_images")


def of_images(results: Results) -> str:
    """`15 held-out images`, or without their number where it is not recorded."""
    count = held_out(results)
    return "held-out images" if np.isnan(count) else f"{count:,.0f} held-out image{'s' * (count != 1)}"


def chance(results: Results) -> float:
    """What guessing would recognise of them; of sets, what it would of the lists, whose numbers of labels may be
    others. NaN where that is not recorded."""
    task = recorded_task.task_of(results)
    if task["kind"] == "none":
        return 1 / TURNS
    if task["kind"] == "class":
        return 1 / len(task["labels"]) if task["labels"] else np.nan
    known = [value for value in (results.mean_of(f"chance/{name}") for name in results.lists) if np.isfinite(value)]
    return float(np.mean(known)) if known else np.nan


def at_chance(results: Results) -> list[str]:
    """One sentence where an evaluator is not shown to recognise more than chance: then its scores tell nothing of the
    trainings. One-sided at .05, in standard errors of a share; the turns of one image count as one."""
    columns = sorted(filter(ACCURACY.fullmatch, map(str, results.complete)))
    known = {column: results.complete[column].dropna() for column in columns}
    accuracies = [float(found.min()) for found in known.values() if len(found)]
    guessed, count = chance(results), held_out(results)
    if not accuracies or not np.isfinite(guessed) or not np.isfinite(count):
        return []
    limit = guessed + ABOVE_CHANCE * np.sqrt(guessed * (1 - guessed) / count)
    low = [accuracy for accuracy in accuracies if accuracy < limit]
    if not low:
        return []
    kind = "surrogate " if (results.complete.get("evaluator_kind") == SURROGATE).any() else ""  # type: ignore[union-attr]
    who = f"The {kind}evaluator" if len(accuracies) == 1 else f"{len(low)} of {len(accuracies)} {kind}evaluators"
    no_more = min(low) <= guessed
    does = "recognises" if len(low) == 1 else "recognise"
    does = f"{does} no more" if no_more else f"{'is' if len(low) == 1 else 'are'} not shown to recognise more"
    numbers = f"accuracy {min(low):.3f} on {of_images(results)}, chance {guessed:.3f}"
    mean = "mean" if no_more else "may mean"
    return [
        f"{who} {does} of the held-out images than chance ({numbers}): scores {mean} nothing, whatever the trainings "
        "learned. Give more images or a larger scale, or an evaluator of your own with --evaluator."
    ]
