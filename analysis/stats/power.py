"""What a design can see, before it is paid for: the smallest difference that its seeds and passes would find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.results import Results
from analysis.stats import planning
from analysis.stats.variance import Split
from runners.experiment import metric_name
from study.record import reader

PASSES = (1, 2, 4, 8, 16)  # sampling passes that a plan chooses among


@dataclass(frozen=True)
class Spread:
    """Standard deviation of paired per-seed differences between arms, from `pairs` of them, of the study `source`.

    `df`: its degrees of freedom; `split`: how much of it is sampling, where the record has several passes.
    """

    sd: float
    pairs: int
    source: str
    df: float = np.inf
    split: Split | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the standard deviation."""
        return planning.sd_interval(self.sd, self.df)

    def with_passes(self, passes: int) -> float:
        """The standard deviation that so many passes would give; the same where the record cannot tell."""
        return self.split.sd(passes) if self.split else self.sd


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
        found = {name: one for name, one in found.items() if one.freedom}
        if freedom := sum(one.freedom for one in found.values()):
            sd = float(np.sqrt(sum(one.squares for one in found.values()) / freedom))
            largest = max(found, key=lambda name: found[name].freedom)
            split = _split(Results.open(largest, record), metric)
            pairs, df = sum(one.pairs for one in found.values()), sum(one.df for one in found.values())
            return Spread(sd, pairs, ", ".join(found), df, split)
    return None


@dataclass(frozen=True)
class _Pooled:
    """Sum of squares around each arm's mean difference, its degrees of freedom (as many as they are worth: `df`), and
    the number of differences."""

    squares: float
    freedom: int
    df: float
    pairs: int


def _pooled(results: Results, metric: str) -> _Pooled:
    array, squares, freedom, pairs, arms = results.values(metric), 0.0, 0, 0, 0
    for arm, reference in enumerate(results.reference_columns):
        if reference < 0:
            continue
        paired = array[:, arm] - array[:, reference]
        paired = paired[np.isfinite(paired)]
        if len(paired) > 1:
            squares += float(((paired - paired.mean()) ** 2).sum())
            freedom += len(paired) - 1
            pairs += len(paired)
            arms += 1
    df = freedom / (1 + (arms - 1) * planning.SHARED) if arms else 0.0
    return _Pooled(squares, freedom, df, pairs)


def _split(results: Results, metric: str) -> Split | None:
    from analysis.tables import passes

    name = results.list_of(metric)
    return passes.of_differences(results, name) if name else None


def detectable(found: Spread, seeds: int, comparisons: int) -> float:
    """The true difference that a study of so many seeds and comparisons finds with 80 % power, on average over what the
    true spread may be; NaN for one seed."""
    return planning.detectable_difference(found.sd, seeds, comparisons=max(1, comparisons), df=found.df)


# --- seeds against passes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """So many seeds and passes for a budget, and the difference that they detect."""

    seeds: int
    passes: int
    seconds: float
    detectable: float


def options(
    found: Spread | None, seconds: Callable[[int, int], float], budget: float, comparisons: int
) -> list[Option]:
    """For each number of passes the most seeds that `budget` seconds buy, two or more; none where the record cannot
    tell sampling from training. `seconds(seeds, passes)` is what they take."""
    made = []
    for passes in PASSES if found is not None and found.split is not None else ():
        seeds = int(budget / seconds(1, passes) + 1e-6)
        if seeds >= 2 and found is not None:
            sd = found.with_passes(passes)
            size = planning.detectable_difference(sd, seeds, comparisons=max(1, comparisons), df=found.df)
            made.append(Option(seeds, passes, seconds(seeds, passes), size))
    return made


# --- words -------------------------------------------------------------------------------------------------


def sentence(found: Spread | None, metric: str, seeds: int, comparisons: int, more: str) -> str:
    """What `seeds` seeds can detect, and what one more, which costs `more`, would add."""
    if found is None:
        return (
            f"Smallest detectable difference in {metric_name(metric)}: unknown until two seeds of any study of this "
            "scale are in "
            "the record; --seeds 2 makes such a pilot (a pilot is a look: it cannot become a claim)."
        )
    low, high = found.interval
    next_one = f"{seeds + 1} seeds ({more} more) detect {detectable(found, seeds + 1, comparisons):.3f}"
    known = f", 95 % CI {low:.3f} to {high:.3f}" if np.isfinite(high) else ""
    basis = f"sd of paired differences {found.sd:.3f}{known}, from {found.pairs} pairs of {found.source}"
    if seeds < 2:
        return f"One training per arm cannot establish a difference in {metric_name(metric)}; {next_one} ({basis})."
    worst = planning.detectable_difference(high, seeds, comparisons=max(1, comparisons))
    at_worst = f", and {worst:.3f} if the spread is at the upper end of its interval" if np.isfinite(worst) else ""
    return (
        f"Smallest difference in {metric_name(metric)} that {seeds} seeds detect with 80 % power: "
        f"{detectable(found, seeds, comparisons):.3f}{at_worst}; {next_one} ({basis}; .05 over {comparisons} "
        f"comparison{'s' * (comparisons != 1)})."
    )


def no_budget_line(found: Spread | None, budget: str) -> str:
    """Why `budget_lines` has nothing to say."""
    if found is None or found.split is None:
        return (
            "No table of seeds against passes: it takes two seeds and two sampling passes of a study of this scale in "
            "the record."
        )
    return f"No table of seeds against passes: {budget} buy fewer than two seeds."


def budget_lines(found: Spread | None, made: Sequence[Option], metric: str, budget: str, passes: int) -> list[str]:
    """What `budget` buys: seeds against passes, the pair that sees the smallest difference marked."""
    if found is None or not made:
        return []
    best = min(made, key=lambda option: option.detectable)
    assert found.split is not None
    spread = f"{found.split.training:.3f} between trainings, {found.split.sampling:.3f} between passes"
    lines = [
        f"Seeds against sampling passes for {budget}, by the smallest difference in {metric_name(metric)} that is "
        "detected "
        f"(standard deviation of a difference: {spread}):"
    ]
    for one in made:
        notes = [*(["this plan's passes"] if one.passes == passes else []), *(["smallest"] if one is best else [])]
        marked = f"  <- {', '.join(notes)}" if notes else ""
        unit = "pass  " if one.passes == 1 else "passes"
        lines.append(f"  {one.passes:>2} {unit} x {one.seeds:>3} seeds: {one.detectable:.3f}{marked}")
    return lines
