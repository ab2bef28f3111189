"""What a record says of its task: kind, labels, facets, palette, and the words that its things are called by.

A trial keeps task.json: {"name": "digits", "kind": "class", "labels": ["0", ...], "noun": "image",
"facets": {"colour": [one value per label], ...}, "palette": {"gray": "#575757", ...}, "lists": [...],
"metric": {...}, "shown": {"strip": [label, ...], "interpolation": [[label], ...]}, "images": {...}}. kind: "set" (a
picture has one label or more), "class" (exactly one) or "none". Records without the file are i-CLEVR's, whose task
iclevr.json is.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

from analysis.results import Results, once
from runners.process.files import read_json

Task = dict[str, Any]
FILE = "task.json"
ICLEVR = Path(__file__).with_name("iclevr.json")
# Of a study whose images are not i-CLEVR's, before a trial has said what they are.
UNKNOWN: Task = {"name": "", "kind": "none", "labels": [], "noun": "image", "facets": {}, "palette": {}, "shown": {}}


@functools.cache
def iclevr() -> Task:
    """The task of records without a task.json."""
    found: Task = read_json(ICLEVR)
    return found


def of_folder(folder: Path) -> Task:
    """The task of a trial. Raises ValueError or OSError where its task.json cannot be read."""
    path = Path(folder) / FILE
    found: Task = read_json(path) if path.is_file() else iclevr()
    return found


@once
def task_of(results: Results) -> Task:
    """The task of a study, as the first of its complete trials says it whose task.json can be read."""
    task = results.study.of_task()
    for folder in results.complete.get("folder", ()):
        with contextlib.suppress(OSError, ValueError):
            if task.name == "iclevr" or (Path(folder) / FILE).is_file():
                return of_folder(folder)
    return iclevr() if task.name == "iclevr" else UNKNOWN | {"name": task.name, "kind": task.kind}


def judged_by_others(results: Results) -> bool:
    """Whether an evaluator scores what a trial made: not where its own network is scored."""
    return "evaluator" in results.rows or "evaluator_kind" in results.rows


def scorer(results: Results) -> str:
    """Who names labels: "the evaluator", or "the network" that was trained."""
    return "the evaluator" if judged_by_others(results) else "the network"


# --- labels --------------------------------------------------------------------------------------------


def values(task: Task, facet: str) -> list[str]:
    """The values of a facet, in the order in which the labels have them."""
    return list(dict.fromkeys(task["facets"][facet]))


def two_facets(task: Task) -> tuple[str, str] | None:
    """The two facets that a label is made of, such as colour and shape, where there are two."""
    facets = list(task["facets"])
    return (facets[0], facets[1]) if len(facets) == 2 else None


# --- words ---------------------------------------------------------------------------------------------


def nouns(task: Task) -> str:
    """What is asked for, in the plural: "objects", or "images" where each has one label."""
    return f"{task['noun']}s"


def label_word(task: Task) -> str:
    """What a label is called: "class" or "label"."""
    return "class" if task["kind"] == "class" else "label"


def label_words(task: Task) -> str:
    """Its plural."""
    return "classes" if task["kind"] == "class" else "labels"


def picture(task: Task) -> str:
    """What a whole sample is called: "picture", or "image" where that is what is asked for."""
    return "image" if task["noun"] == "image" else "picture"


def one(task: Task) -> str:
    """What is asked for, with its article: "an object"."""
    return f"{'an' if task['noun'][:1] in 'aeiou' else 'a'} {task['noun']}"


def columns(task: Task) -> dict[str, str]:
    """Columns of tables -> their names in a CSV, in the words of the page; i-CLEVR's are what they always were."""
    if task["noun"] == "object":
        return {}
    whole = picture(task)
    return {
        "label": label_word(task),
        "objects": nouns(task),
        "objects low": f"{whole}s low",
        "objects high": f"{whole}s high",
        "p sign-flip over pictures": f"p sign-flip over {whole}s",
    }
