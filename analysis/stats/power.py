"""What a design can see, before it is paid for: the smallest difference that its seeds would find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.record import reader


@dataclass(frozen=True)
class Spread:
    """Standard deviation of paired per-seed differences between arms, from `pairs` of them, of the study `source`."""

    sd: float
    pairs: int
    source: str


def spread(study_id: str, scale: str, metric: str, record: Path) -> Spread | None:
    """The spread of this study's complete trials, else of the other studies of its scale (a pilot); None without any.

    Pooled over arms: each contributes the variance of its differences from the arm that it is compared with.
    """
    known = reader.studies(record)
    own = [study for study in known.values() if study["study_id"] == study_id]
    others = [study for study in known.values() if study["study_id"] != study_id and study.get("scale") == scale]
    for group in (own, others):
        found = [_pooled(study, metric, record) for study in group]
        freedom = sum(degrees for _, degrees, _ in found)
        if freedom:
            sd = float(np.sqrt(sum(squares for squares, _, _ in found) / freedom))
            names = [study["study_id"] for study, (_, degrees, _) in zip(group, found, strict=True) if degrees]
            return Spread(sd, sum(pairs for _, _, pairs in found), ", ".join(names))
    return None


def _pooled(study: Mapping[str, Any], metric: str, record: Path) -> tuple[float, int, int]:
    """Sum of squares around each arm's mean difference, its degrees of freedom, and the number of differences."""
    from analysis.tables import comparison as tables

    array, arms = tables.values(reader.load(study["study_id"], record), study, metric), list(study["arms"])
    squares, freedom, pairs = 0.0, 0, 0
    for arm, other in tables.references(study).items():
        paired = array[:, arms.index(arm)] - array[:, arms.index(other)]
        paired = paired[np.isfinite(paired)]
        if len(paired) > 1:
            squares += float(((paired - paired.mean()) ** 2).sum())
            freedom += len(paired) - 1
            pairs += len(paired)
    return squares, freedom, pairs


def detectable(sd: float, seeds: int, comparisons: int) -> float:
    """The true difference that a study of so many seeds and comparisons finds in 8 of 10 cases; NaN for one seed."""
    from analysis.stats import intervals

    return intervals.detectable_difference(sd, seeds, comparisons=max(1, comparisons))


def sentence(found: Spread | None, metric: str, seeds: int, comparisons: int, more: str) -> str:
    """What `seeds` seeds can see, and what one more, which costs `more`, would add."""
    if found is None:
        return (
            f"Smallest detectable difference in {metric}: unknown until two seeds of any study of this scale are in "
            "the record; --seeds 2 makes such a pilot."
        )
    next_one = f"{seeds + 1} seeds ({more} more) would see {detectable(found.sd, seeds + 1, comparisons):.3f}"
    basis = f"sd of paired differences {found.sd:.3f} from {found.pairs} pairs of {found.source}"
    if seeds < 2:
        return f"One training an arm sees no difference in {metric} with any certainty; {next_one} ({basis})."
    return (
        f"Smallest difference in {metric} that {seeds} seeds find in 8 of 10 studies: "
        f"{detectable(found.sd, seeds, comparisons):.3f}; {next_one} ({basis}; .05 over {comparisons} comparisons)."
    )
