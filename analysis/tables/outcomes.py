"""Outcomes of single objects: what the evaluator found in the pictures of a trial, and what one training can say.

A trial keeps outcomes.npz, `<list>` -> bool (K sampling seeds, N conditions, L labels): the labels that the evaluator
saw among its top k, k being the number asked for (`<list>_evaluator_1` and so on: what further ones saw); and
conditions.json, list -> [[label, ...], ...].
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import recorded_task
from analysis.recorded_task import Task
from analysis.results import Results
from analysis.stats import proportions
from runners.process.files import read_json

P_OF_PICTURES = "p sign-flip over pictures"
COLUMNS = ("objects low", "objects high", P_OF_PICTURES)


@dataclass(frozen=True)
class Hits:
    """hit_KO: bool (K sampling seeds, objects); keys: (position of the condition, label) of each object."""

    hit_KO: NDArray[np.bool_]
    keys: tuple[tuple[int, str], ...]

    @property
    def conditions(self) -> NDArray[np.int64]:
        """The condition of each object: objects with the same one are in one picture."""
        return np.array([condition for condition, _ in self.keys], dtype=np.int64)

    @property
    def label_sets(self) -> NDArray[np.int64]:
        """A number per object, the same for objects of one label set, which a list may ask for more than once."""
        labels_of: dict[int, set[str]] = {}
        for condition, label in self.keys:
            labels_of.setdefault(condition, set()).add(label)
        first = {frozenset(labels): condition for condition, labels in reversed(labels_of.items())}
        return np.array([first[frozenset(labels_of[condition])] for condition, _ in self.keys], dtype=np.int64)


def hits(folder: Path, name: str) -> Hits:
    """Whether each object that list `name` asks for was found, in the order of the list.

    Raises ValueError for outcomes that are missing, damaged, or do not belong to the conditions.
    """
    labels, conditions, seen_KNL = _read(folder, name)
    place = {label: position for position, label in enumerate(labels)}
    keys = tuple((position, label) for position, labels in enumerate(conditions) for label in labels)
    return Hits(seen_KNL[:, [position for position, _ in keys], [place[label] for _, label in keys]], keys)


def scored(folder: Path) -> list[str]:
    """The lists of a trial that have conditions (`unseen` may be empty); [] without conditions.json."""
    path = Path(folder) / "conditions.json"
    return [name for name, conditions in read_json(path).items() if conditions] if path.is_file() else []


def seen(folder: Path, name: str) -> tuple[list[list[str]], NDArray[np.bool_]]:
    """The conditions of list `name`, and the labels named in each picture: bool (K sampling seeds, N, L). Where several
    evaluators have scored it, all passes of the first come first, then those of the next.

    Raises ValueError for outcomes that are missing, damaged, or do not belong to the conditions.
    """
    _, conditions, seen_KNL = _read(folder, name)
    return conditions, seen_KNL


def _read(folder: Path, name: str) -> tuple[list[str], list[list[str]], NDArray[np.bool_]]:
    """The labels of the task, and what `seen` returns."""
    folder = Path(folder)
    try:
        labels: list[str] = recorded_task.of_folder(folder)["labels"]
        conditions: list[list[str]] = read_json(folder / "conditions.json")[name]
        with np.load(folder / "outcomes.npz") as arrays:  # plain arrays only: numpy refuses pickles
            others = [array for array in arrays.files if re.fullmatch(rf"{re.escape(name)}_evaluator_\d+", array)]
            seen_KNL = np.concatenate([arrays[array] for array in (name, *others)])
        unknown = {label for condition in conditions for label in condition} - set(labels)
        if unknown:
            raise ValueError(f"unknown labels {sorted(unknown)}")
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"The outcomes of {name!r} in {folder.name} cannot be read ({error}).") from error
    if seen_KNL.dtype != bool or seen_KNL.ndim != 3 or seen_KNL.shape[1:] != (len(conditions), len(labels)):
        raise ValueError(
            f"The outcomes of {name!r} in {folder.name} are {seen_KNL.dtype} {seen_KNL.shape}: "
            f"not bool (sampling seeds, {len(conditions)}, {len(labels)})."
        )
    return labels, conditions, seen_KNL


# --- confusions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One way to look at confusions. `word`: what rows and columns are; `names`: those of the R rows; `alike_LL`: for
    which pairs of labels one is a namesake of the other; `member_RL`: which labels a row is of, None for one each."""

    word: str
    names: list[str]
    alike_LL: NDArray[np.bool_]
    member_RL: NDArray[np.float64] | None = None

    def rows(self, counts_LM: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the labels of each row, along the first axis."""
        return counts_LM if self.member_RL is None else self.member_RL @ counts_LM


def kinds(task: Task) -> list[Kind]:
    """Of labels with two facets: each facet, where labels that share the other one are namesakes. Else the labels
    themselves, all of which are namesakes."""
    labels, facets = task["labels"], task["facets"]
    if recorded_task.two_facets(task) is None:
        return [Kind(recorded_task.label_word(task), list(labels), ~np.eye(len(labels), dtype=bool))]
    found = []
    for facet, other in zip(facets, reversed(facets), strict=True):
        own_L, other_L, names = np.array(facets[facet]), np.array(facets[other]), recorded_task.values(task, facet)
        alike_LL = (other_L[:, None] == other_L) & (own_L[:, None] != own_L)
        found.append(Kind(facet, names, alike_LL, (np.array(names)[:, None] == own_L).astype(np.float64)))
    return found


def confusion(folder: Path, names: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
    """How often a label was named as another, over all lists (of `names`) and passes of a trial: the word of each of
    `kinds` -> counts (R, R + 1), row what was asked for, column what was named, in the order of the kind's names.

    On the diagonal: named exactly. Off it: missed, and a namesake was named although nobody asked for it; where there
    are several, each gets an equal part. Last column: missed, and no namesake was named unasked.

    With the facets colour and shape, off-diagonal cells of "colour" sum to what the score sheet calls shape_only (times
    the objects asked), those of "shape" to colour_only: an object with both kinds of namesake is in both. Of one class
    each, every picture is in the cell of its class and the class that was named. Raises ValueError as `hits` does.
    """
    found, lists = {}, [_read(folder, name) for name in scored(folder) if names is None or name in names]
    for kind in kinds(recorded_task.of_folder(folder)):
        found[kind.word] = np.zeros((len(kind.names), len(kind.names) + 1))
        for labels, conditions, seen_KNL in lists:
            counts_LL, alone_L = _named_instead(_hot(conditions, labels), seen_KNL, kind.alike_LL)
            square_RR = kind.rows(kind.rows(counts_LL).T).T
            found[kind.word] += np.column_stack([square_RR, kind.rows(alone_L)])
    return found


def _named_instead(
    asked_NL: NDArray[np.bool_], seen_KNL: NDArray[np.bool_], alike_LL: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of every label asked for, what was named: counts (L, L), and how often a miss had no namesake (L,)."""
    counts_LL = np.diag((asked_NL & seen_KNL).sum((0, 1)).astype(np.float64))
    # Of every miss: which unasked labels that were named are its namesakes, in equal parts.
    passes_M, pictures_M, labels_M = np.nonzero(asked_NL & ~seen_KNL)
    alike_ML = (seen_KNL & ~asked_NL)[passes_M, pictures_M] & alike_LL[labels_M]
    namesakes_M = alike_ML.sum(1)
    np.add.at(counts_LL, labels_M, alike_ML / np.maximum(namesakes_M, 1)[:, None])
    return counts_LL, np.bincount(labels_M[namesakes_M == 0], minlength=len(counts_LL)).astype(np.float64)


def _hot(conditions: Sequence[Sequence[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Conditions as bool (N, L)."""
    place = {label: position for position, label in enumerate(labels)}
    hot_NL = np.zeros((len(conditions), len(labels)), dtype=bool)
    for row, condition in enumerate(conditions):
        hot_NL[row, [place[label] for label in condition]] = True
    return hot_NL


# --- arms --------------------------------------------------------------------------------------------


def pair(results: Results, best: bool) -> list[str]:
    """Two arms to look into: the baseline, and of the others the best (or the worst) mean in the column of choice.

    Arms without a complete trial are no candidates, so that fewer than two may be left. Where choices are made on
    other images than those of the study's metric, the candidates are the arms that are compared with the baseline.
    """
    column = results.selection
    sign = -1 if results.smaller_is_better(column) == best else 1
    means = pd.Series(sign * results.arm_means(column), index=results.arms).dropna()
    baseline = [arm for arm in means.index if arm == results.study.baseline_arm]
    others = means.drop(baseline)
    if results.chooses_elsewhere:
        compared = [arm for arm in others.index if results.references.get(str(arm)) == results.study.baseline_arm]
        others = others[compared] if compared else others
    return baseline + ([str(others.idxmax())] if len(others) else [])


def compared(results: Results, metric: str) -> pd.DataFrame:
    """One row per arm of a study of one training per arm, indexed by it, with COLUMNS; NaN where outcomes are lacking.

    The interval is of the difference from the reference, bootstrapped over conditions; p is of the sign-flip test over
    them. Not of objects: those of one picture fail together, and one that repeats a label of another takes its place
    among the top k. Nor of single pictures: those of one condition, be they of several passes or of a list that repeats
    it, share what a network can or cannot draw.
    """
    table = pd.DataFrame(np.nan, index=pd.Index(results.arms, name="arm"), columns=list(COLUMNS))
    name = results.list_of(metric)  # the metric is the share of hits; other scores are no mean of outcomes
    if not name or "folder" not in results.complete:
        return table
    folders = results.complete.set_index("arm")["folder"].to_dict()
    known: dict[str, Hits] = {}
    for arm in {*results.references, *results.references.values()} & set(folders):
        try:
            known[arm] = hits(Path(folders[arm]), name)
        except ValueError:  # a record of an older version has none: the comparison stays without an interval
            continue
    for arm, reference in results.references.items():
        if arm in known and reference in known and known[arm].keys == known[reference].keys:
            own, other = known[arm], known[reference]
            low, high = proportions.bootstrap_difference(own.hit_KO, other.hit_KO, own.label_sets)
            p = proportions.sign_flip(own.hit_KO, other.hit_KO, own.label_sets)
            table.loc[arm, list(COLUMNS)] = [low, high, p]
    return table


def note(results: Results) -> str:
    """What the tables of a study of one training per arm rest on."""
    task = recorded_task.task_of(results)
    picture, nouns = recorded_task.picture(task), recorded_task.nouns(task)
    parts = (
        f"the {nouns} of a condition, all its {picture}s" if nouns != f"{picture}s" else f"all {nouns} of a condition"
    )
    return (
        "One training per arm: the table compares one training with another. The interval of a difference is a "
        f"bootstrap of the same two trainings over other conditions (95 %, {proportions.RESAMPLES:,} draws). "
        f"p sign-flip over {picture}s: the exact test over all sign changes of the differences, one per condition "
        f"(Fisher 1935). In both {parts} and all its passes stay together, because they fail together. Neither covers "
        "what another training seed would give."
    )
