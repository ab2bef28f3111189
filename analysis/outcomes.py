"""Outcomes of single objects: what the evaluator found in the pictures of a trial, and what one training can say.

A trial keeps outcomes.npz, `<list>` -> bool (K sampling seeds, N conditions, 24 labels): the labels that the evaluator
saw among its top k, k being the number asked for; and conditions.json, list -> [[label, ...], ...].
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import intervals
from runners.files import read_json
from runners.scenes import LABELS

Study = Mapping[str, Any]
METRIC = "accuracy/"  # share of the objects that were hit; other scores are no mean of outcomes
COLUMNS = ("objects low", "objects high", "p McNemar")


@dataclass(frozen=True)
class Hits:
    """hit_KO: bool (K sampling seeds, objects); keys: (position of the condition, label) of each object."""

    hit_KO: NDArray[np.bool_]
    keys: tuple[tuple[int, str], ...]

    @property
    def conditions(self) -> NDArray[np.int64]:
        """The condition of each object: objects with the same one are in one picture."""
        return np.array([condition for condition, _ in self.keys], dtype=np.int64)


def hits(folder: Path, name: str) -> Hits:
    """Whether each object that list `name` asks for was found, in the order of the list.

    Raises ValueError for outcomes that are missing, damaged, or do not belong to the conditions.
    """
    folder = Path(folder)
    try:
        conditions = read_json(folder / "conditions.json")[name]
        with np.load(folder / "outcomes.npz") as arrays:  # plain arrays only: numpy refuses pickles
            seen_KNL = arrays[name]
        keys = tuple((position, label) for position, labels in enumerate(conditions) for label in labels)
        columns = [LABELS.index(label) for _, label in keys]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"The outcomes of {name!r} in {folder.name} cannot be read ({error}).") from error
    if seen_KNL.dtype != bool or seen_KNL.ndim != 3 or seen_KNL.shape[1:] != (len(conditions), len(LABELS)):
        raise ValueError(
            f"The outcomes of {name!r} in {folder.name} are {seen_KNL.dtype} {seen_KNL.shape}: "
            f"not bool (sampling seeds, {len(conditions)}, {len(LABELS)})."
        )
    return Hits(seen_KNL[:, [position for position, _ in keys], columns], keys)


def compared(rows: pd.DataFrame, against: Mapping[str, str], metric: str) -> pd.DataFrame:
    """One row an arm of a study with one training each, indexed by it, with COLUMNS; NaN where outcomes are lacking.

    The interval is of the difference from the reference, bootstrapped over pictures; p is McNemar's, of the first
    pass. Pictures and not objects: the objects of one picture fail together, and one that repeats a label of another
    takes its place among the top k.
    """
    arms = list(dict.fromkeys(rows["arm"])) if len(rows) else []
    table = pd.DataFrame(np.nan, index=pd.Index(arms, name="arm"), columns=list(COLUMNS))
    if not metric.startswith(METRIC) or "folder" not in rows:
        return table
    folders = rows[rows["state"] == "complete"].set_index("arm")["folder"]
    known: dict[str, Hits] = {}
    for arm in {*against, *against.values()} & set(folders.index):
        try:
            known[arm] = hits(Path(folders[arm]), metric.removeprefix(METRIC))
        except ValueError:  # a record of an older version has none: the comparison stays without an interval
            continue
    for arm, reference in against.items():
        if arm in known and reference in known and known[arm].keys == known[reference].keys:
            own, other = known[arm], known[reference]
            low, high = intervals.bootstrap_difference(own.hit_KO, other.hit_KO, own.conditions)
            table.loc[arm, list(COLUMNS)] = [low, high, intervals.mcnemar(own.hit_KO[0], other.hit_KO[0])]
    return table


NOTE = (
    "One training an arm: the table compares one training with another. Its interval of a difference is a bootstrap of "
    f"the same two trainings over other pictures (95 %, {intervals.RESAMPLES:,} draws; the objects of a picture and "
    "all its passes stay together), p McNemar is the exact test of the objects of the first pass (McNemar 1947). What "
    "another training seed would give is in neither."
)
