"""Which images of a domain are trained on, which validate and which test. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TEST, VALIDATION = 0.15, 0.1  # of the images that the user's own split does not hold out; the second of what is left


class Parts(NamedTuple):
    """Positions of images."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split(units: Sequence[str], held_out: Sequence[bool] | None) -> Parts:
    """Positions of the images to train on, to validate on and to test on; images of one unit stay together.

    The test images are those that the user's own split holds out, else TEST of the units; of the other units
    VALIDATION validate. No label has a say: the target's are unknown to a method that adapts.
    """
    if held_out is not None:
        test = {unit for unit, held in zip(units, held_out, strict=True) if held}
        tested = [bool(held) for held in held_out]
    else:
        test = _drawn(list(dict.fromkeys(units)), TEST)
        tested = [unit in test for unit in units]
    rest = list(dict.fromkeys(unit for unit, held in zip(units, tested, strict=True) if not held))
    validation = _drawn(rest, VALIDATION)
    parts = Parts([], [], [])
    for position, (unit, held) in enumerate(zip(units, tested, strict=True)):
        parts[2 if held else 1 if unit in validation else 0].append(position)
    return parts


def check(where: str, units: Sequence[str], held_out: Sequence[bool] | None) -> None:
    """ValueError for a domain of which a part would be empty: its groups are too few, or copies of one picture.

    Args:
        where: names the domain in the sentence: "domain usps of --data digits".
        units: what each image belongs to that is split whole.
        held_out: per image whether the user's own split holds it out; None without one.
    """
    if all(split(units, held_out)):
        return
    if held_out is None:
        raise ValueError(
            f"The {where} has {len(set(units))} groups, copies of one picture being one, and a domain is split into "
            "three parts: make 3 groups or more, or hold test images out yourself (val.csv, x_test, or a folder test/)."
        )
    raise ValueError(
        f"The training images of the {where} are of one group or copies of one picture, which leaves none to "
        "train on beside those that validate: make 2 groups or more."
    )


def _drawn(units: Sequence[str], share: float) -> set[str]:
    count = max(1, round(share * len(units)))
    return {units[i] for i in np.random.default_rng(0).permutation(len(units))[:count]}
