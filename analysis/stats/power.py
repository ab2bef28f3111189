"""What a design can see, before it is paid for: the smallest difference that its seeds would find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.results import Results
from analysis.stats import intervals
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
    Raises ValueError for a record with a damaged study.
    """
    known = reader.studies(record)
    own = [name for name in known if name == study_id]
    others = [name for name, study in known.items() if name != study_id and study.scale == scale]
    for group in (own, others):
        found = {name: _pooled(Results.open(name, record), metric) for name in group}
        freedom = sum(degrees for _, degrees, _ in found.values())
        if freedom:
            sd = float(np.sqrt(sum(squares for squares, _, _ in found.values()) / freedom))
            names = [name for name, (_, degrees, _) in found.items() if degrees]
            return Spread(sd, sum(pairs for _, _, pairs in found.values()), ", ".join(names))
    return None


def _pooled(results: Results, metric: str) -> tuple[float, int, int]:
    """Sum of squares around each arm's mean difference, its degrees of freedom, and the number of differences."""
    array, squares, freedom, pairs = results.values(metric), 0.0, 0, 0
    for arm, reference in enumerate(results.reference_columns):
        if reference < 0:
            continue
        paired = array[:, arm] - array[:, reference]
        paired = paired[np.isfinite(paired)]
        if len(paired) > 1:
            squares += float(((paired - paired.mean()) ** 2).sum())
            freedom += len(paired) - 1
            pairs += len(paired)
    return squares, freedom, pairs


def detectable(sd: float, seeds: int, comparisons: int) -> float:
    """The true difference that a study of so many seeds and comparisons finds with 80 % power; NaN for one seed."""
    return intervals.detectable_difference(sd, seeds, comparisons=max(1, comparisons))


def sentence(found: Spread | None, metric: str, seeds: int, comparisons: int, more: str) -> str:
    """What `seeds` seeds can detect, and what one more, which costs `more`, would add."""
    if found is None:
        return (
            f"Smallest detectable difference in {metric}: unknown until two seeds of any study of this scale are in "
            "the record; --seeds 2 makes such a pilot."
        )
    next_one = f"{seeds + 1} seeds ({more} more) detect {detectable(found.sd, seeds + 1, comparisons):.3f}"
    basis = f"sd of paired differences {found.sd:.3f} from {found.pairs} pairs of {found.source}"
    if seeds < 2:
        return f"One training per arm cannot establish a difference in {metric}; {next_one} ({basis})."
    return (
        f"Smallest difference in {metric} that {seeds} seeds detect with 80 % power: "
        f"{detectable(found.sd, seeds, comparisons):.3f}; {next_one} ({basis}; .05 over {comparisons} comparisons)."
    )
