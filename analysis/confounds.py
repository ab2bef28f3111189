"""What else may explain a difference between arms: results that are shown beside the scores where trials recorded them
and arms differ in them."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.results import Results


@dataclass(frozen=True)
class Confound:
    """`column`: what a table calls it; above `limit` it is marked, and where no arm is above it it is not shown."""

    column: str
    limit: float


# Result -> what it is. sqrt(alpha_bar_T): a confound of every study of schedules or T; its limit is that of the
# runner's warning (`runners.ddpm.schedules.TERMINAL`).
CONFOUNDS = {"terminal_sqrt_alpha_bar": Confound("signal at T", 0.05)}


def recorded(results: Results) -> dict[str, Confound]:
    """Those that the trials recorded."""
    return {field: one for field, one in CONFOUNDS.items() if field in results.rows}
