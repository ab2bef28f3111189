"""What may be said of an arm against its reference: a value, worded here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Outcome(Enum):
    """What the numbers of an arm allow to say."""

    BASELINE = "baseline"
    REFERENCE = "reference"  # other arms are compared with it
    NOT_COMPARED = "not compared"
    INCOMPLETE = "incomplete"  # a seed of the arm is lacking
    REFERENCE_INCOMPLETE = "reference incomplete"
    FEWER_CANDIDATES = "fewer candidates"  # the best of fewer nuisance values than other settings chose from
    ONE_TRAINING = "one training"  # one seed per arm: nothing is known of other seeds
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"  # a difference as large as the margin is excluded
    INCONCLUSIVE = "inconclusive"
    ZERO_VARIANCE = "zero variance"  # the same difference in every seed: no error can be estimated
    DESCRIPTIVE = "descriptive"  # outside of the family that the study's verdicts are about


@dataclass(frozen=True)
class Verdict:
    """An outcome, and the numbers that its wording needs.

    `n` of `planned` `units` are complete. `margin`: the largest difference that would not matter; NaN where none is
    known. `seeds`: those that a verdict at the margin would take, at the spread that was seen and at the upper end of
    its interval, None beyond what is planned for. `within`: the difference is shown to be smaller than the margin.
    `lacking`: what became of the seeds that an incomplete arm lacks. `reference`: the arm that an arm with
    REFERENCE_INCOMPLETE could not be compared with; `n` is then that arm's. `p`: of the sign-flip test over the
    pictures of one training; `picture`: what one is called.
    """

    outcome: Outcome
    n: int = 0
    planned: int = 0
    units: str = "seeds"
    margin: float = np.nan
    seeds: tuple[int | None, int | None] = (None, None)
    within: bool = False
    lacking: str = ""
    reference: str = ""
    p: float = np.nan
    picture: str = "picture"

    @property
    def separated(self) -> bool:
        return self.outcome in (Outcome.BETTER, Outcome.WORSE)

    @property
    def decided(self) -> bool:
        """Whether the difference is shown to matter, or not to matter."""
        return self.separated or self.outcome is Outcome.EQUIVALENT

    @property
    def short(self) -> str:
        """A word or two, for a figure."""
        if self.outcome is Outcome.EQUIVALENT:
            return f"equivalent (±{self.margin:g})"
        if self.outcome is Outcome.ZERO_VARIANCE:
            return "inconclusive"
        if self.outcome is Outcome.REFERENCE_INCOMPLETE:
            return "incomplete"
        if self.outcome is Outcome.FEWER_CANDIDATES:
            return "not compared"
        return str(self.outcome.value)

    def __str__(self) -> str:
        """The cell of a table."""
        match self.outcome:
            case Outcome.INCOMPLETE:
                lacking = f" ({self.lacking})" if self.lacking else ""
                return f"incomplete {self.n}/{self.planned} {self.units}{lacking}"
            case Outcome.REFERENCE_INCOMPLETE:
                return f"not compared: {self.reference} is incomplete ({self.n}/{self.planned} {self.units})"
            case Outcome.FEWER_CANDIDATES:
                candidates = "1 candidate" if self.n == 1 else f"{self.n} candidates"
                return f"not compared: chosen from {candidates}, other settings from {self.planned}"
            case Outcome.ONE_TRAINING:
                tested = "" if np.isnan(self.p) else f", p {probability(self.p)} over its {self.picture}s (sign-flip)"
                return f"one training per arm: no interval over seeds{tested}"
            case Outcome.EQUIVALENT:
                return f"equivalent (within ±{self.margin:g})"
            case Outcome.BETTER | Outcome.WORSE if self.within:
                return f"{self.outcome.value}, by less than the margin (±{self.margin:g})"
            case Outcome.ZERO_VARIANCE:
                return "inconclusive (zero variance)"
            case Outcome.INCONCLUSIVE if np.isfinite(self.margin):
                return f"inconclusive (a verdict at ±{self.margin:g} takes {_seeds(*self.seeds)})"
            case _:
                return str(self.outcome.value)


def _seeds(likely: int | None, most: int | None) -> str:
    """`about 9 to 21 seeds`."""
    if likely is None:
        return "more than 1,000 seeds"
    if most is None:
        return f"{likely} to more than 1,000 seeds"
    return f"about {likely} seeds" if likely == most else f"about {likely} to {most} seeds"


def probability(p: float) -> str:
    """A p with three decimals, never 0: `<0.001`; a dash for NaN."""
    if not np.isfinite(p):
        return "-"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"
