"""Outcomes of single objects: what the evaluator found in the pictures of a trial, and what one training can say.

A trial keeps outcomes.npz, `<list>` -> bool (K sampling seeds, N conditions, L labels): the labels that the evaluator
saw among its top k, k being the number asked for (`<list>_evaluator_1` and so on: what further ones saw); and
conditions.json, list -> [[label, ...], ...].
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import Results
from analysis.stats import proportions
from runners.process.files import read_json
from runners.tasks.iclevr.labels import COLOUR_L, LABELS, SAME_COLOUR_LL, SAME_SHAPE_LL, SHAPE_L, multi_hot

P_OF_PICTURES = "p sign-flip over pictures"
COLUMNS = ("objects low", "objects high", P_OF_PICTURES)
PLACE = {label: position for position, label in enumerate(LABELS)}


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
    conditions, seen_KNL = seen(folder, name)
    keys = tuple((position, label) for position, labels in enumerate(conditions) for label in labels)
    return Hits(seen_KNL[:, [position for position, _ in keys], [PLACE[label] for _, label in keys]], keys)


def scored(folder: Path) -> list[str]:
    """The lists of a trial that have conditions (`unseen` may be empty); [] without conditions.json."""
    path = Path(folder) / "conditions.json"
    return [name for name, conditions in read_json(path).items() if conditions] if path.is_file() else []


def seen(folder: Path, name: str) -> tuple[list[list[str]], NDArray[np.bool_]]:
    """The conditions of list `name`, and the labels named in each picture: bool (K sampling seeds, N, L). Where several
    evaluators have scored it, all passes of the first come first, then those of the next.

    Raises ValueError for outcomes that are missing, damaged, or do not belong to the conditions.
    """
    folder = Path(folder)
    try:
        conditions = read_json(folder / "conditions.json")[name]
        with np.load(folder / "outcomes.npz") as arrays:  # plain arrays only: numpy refuses pickles
            others = [array for array in arrays.files if re.fullmatch(rf"{re.escape(name)}_evaluator_\d+", array)]
            seen_KNL = np.concatenate([arrays[array] for array in (name, *others)])
        unknown = {label for labels in conditions for label in labels} - set(PLACE)
        if unknown:
            raise ValueError(f"unknown labels {sorted(unknown)}")
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"The outcomes of {name!r} in {folder.name} cannot be read ({error}).") from error
    if seen_KNL.dtype != bool or seen_KNL.ndim != 3 or seen_KNL.shape[1:] != (len(conditions), len(LABELS)):
        raise ValueError(
            f"The outcomes of {name!r} in {folder.name} are {seen_KNL.dtype} {seen_KNL.shape}: "
            f"not bool (sampling seeds, {len(conditions)}, {len(LABELS)})."
        )
    return conditions, seen_KNL


def confusion(folder: Path) -> dict[str, NDArray[np.float64]]:
    """How often an object was named as another, over all lists and passes of a trial.

    "colour", (C, C + 1): row the colour asked for, column the colour named, in the order of LABELS. On the diagonal:
    the object was named exactly. Off it: it was missed, and an object of its shape in that other colour was named
    although nobody asked for it; where there are several such colours, each gets an equal part. Last column: missed,
    and no object of its shape was named unasked. "shape", (S, S + 1): the same for another shape of its colour.

    Off-diagonal cells of "colour" sum to what the score sheet calls shape_only (times the objects asked), those of
    "shape" to colour_only: an object with both kinds of namesake is in both. Raises ValueError as `hits` does.
    """
    found = {}
    lists = [seen(folder, name) for name in scored(folder)]
    for kind, alike_LL, of_L in (("colour", SAME_SHAPE_LL, COLOUR_L), ("shape", SAME_COLOUR_LL, SHAPE_L)):
        names = list(dict.fromkeys(of_L))
        member = np.array([[label == value for label in of_L] for value in names], dtype=np.float64)
        found[kind] = np.zeros((len(names), len(names) + 1))
        for conditions, seen_KNL in lists:
            asked_NL = multi_hot(conditions)
            missed_KNL, wrong_KNL = asked_NL & ~seen_KNL, seen_KNL & ~asked_NL
            hits_L = (asked_NL & seen_KNL).sum((0, 1)).astype(np.float64)
            # Of every object missed: which unasked objects that were named are its namesakes, in equal parts.
            alike_KNLL = missed_KNL[..., None] & wrong_KNL[..., None, :] & alike_LL
            parts = np.maximum(alike_KNLL.sum(-1, keepdims=True), 1)
            counts_LL = (alike_KNLL / parts).sum((0, 1)) + np.diag(hits_L)
            alone_L = (missed_KNL & ~alike_KNLL.any(-1)).sum((0, 1))
            found[kind] += np.column_stack([member @ counts_LL @ member.T, member @ alone_L])
    return found


def pair(results: Results, best: bool) -> list[str]:
    """Two arms to look into: the baseline, and of the others the best (or the worst) mean in the column of choice.

    Arms without a complete trial are no candidates, so that fewer than two may be left.
    """
    column = results.selection
    sign = -1 if results.smaller_is_better(column) == best else 1
    means = pd.Series(sign * results.arm_means(column), index=results.arms).dropna()
    baseline = [arm for arm in means.index if arm == results.study.baseline_arm]
    others = means.drop(baseline)
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


NOTE = (
    "One training per arm: the table compares one training with another. The interval of a difference is a bootstrap "
    f"of the same two trainings over other conditions (95 %, {proportions.RESAMPLES:,} draws). p sign-flip over "
    "pictures: the exact test over all sign changes of the differences, one per condition (Fisher 1935). In both the "
    "objects of a condition, all its pictures and all its passes stay together, because they fail together. Neither "
    "covers what another training seed would give."
)
