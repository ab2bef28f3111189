"""Ranges of a search, as plain data: what a field may be."""

from __future__ import annotations

from dataclasses import dataclass

from runners.config import Scalar


@dataclass(frozen=True)
class Choice:
    """One of `values`, in no order."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ValueError(f"A choice needs two or more values that differ, not {self.values}.")

    def corners(self) -> tuple[Scalar, ...]:
        """Values that must be valid for the whole range to be."""
        return self.values

    @property
    def words(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Range:
    """A float from `low` to `high`; `log` searches its logarithm, `step` keeps to a raster."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"A range needs low < high, and low > 0 for a logarithm, not {self.low} to {self.high}.")

    def corners(self) -> tuple[Scalar, ...]:
        return self.low, self.high

    @property
    def words(self) -> str:
        step = f", in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{', log scale' if self.log else ''}{step}"


Dimension = Choice | Range
