"""The weight average's decay in each step: from the half-life, and from how its start is ramped.

An average that begins with a long half-life keeps its start, which is noise, for long; a ramp shortens the half-life
while little was trained. A ramp that lasts as long as the training makes the half-life inert, so that settings of it
cannot be compared. `reached` says what half-life a ramp allows at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from runners.config import Call, nearest

STEPS = "steps"  # what diffusers' EMAModel does by itself
STEPS_SHARE = math.log(2) / 9  # (1 + n) / (10 + n) = 1 - 9 / (10 + n): a half-life of ln 2 / 9 of the images so far


@dataclass(frozen=True)
class Ramp:
    """`decay(images, batch)`: of the step that trains on `batch` images after `images`; None: EMAModel's own.

    `reached(total_images)`: the longest half-life that acts at the end of a training, in images.
    """

    decay: Callable[[int, int], float] | None
    reached: Callable[[int], float]


def steps(halflife: int) -> Ramp:
    """diffusers' ramp: after n steps the decay is at most (1 + n) / (10 + n)."""
    return Ramp(None, lambda total: STEPS_SHARE * total)


def edm(halflife: int, ratio: float = 0.05) -> Ramp:
    """The half-life is at most `ratio` of the images so far (Karras et al. 2022 (EDM), ema_rampup_ratio)."""
    if not (type(ratio) is float and 0 < ratio <= 1):
        raise ValueError(f"ratio={ratio!r} must be above 0.0 and at most 1.0: write ratio=0.1, for example.")

    def decay(images: int, batch: int) -> float:
        kept: float = 0.5 ** (batch / min(halflife, images * ratio)) if images else 0.0
        return kept

    return Ramp(decay, lambda total: ratio * total)


def unbiased(halflife: int) -> Ramp:
    """Every step's weights count 2^(-age / half-life), divided by the sum of these: the bias correction of Adam (Kingma
    & Ba 2015, section 3). Nothing of the initial weights is in it, and every half-life acts."""

    def decay(images: int, batch: int) -> float:
        # With d = 2^(-batch / half-life), the n-th step's is d (1 - d^(n - 1)) / (1 - d^n).
        before, after = (-math.expm1(-math.log(2) * count / halflife) for count in (images, images + batch))
        kept: float = 0.5 ** (batch / halflife) * before / after
        return kept

    return Ramp(decay, lambda total: math.inf)


RAMPS: dict[str, Callable[..., Ramp]] = {"steps": steps, "edm": edm, "unbiased": unbiased}


def ramp(name: str, halflife: int) -> Ramp:
    """The ramp of `"edm(ratio=0.1)"`. ValueError for an unknown one or an argument that it does not take."""
    call = Call.parse(name)
    if call.name not in RAMPS:
        raise ValueError(f"Unknown ema_ramp {call.name!r}{nearest(call.name, RAMPS)}")
    function = RAMPS[call.name]
    return function(halflife, **call.bind(function, given=("halflife",)))
