"""i-CLEVR's labels, 8 colours x 3 shapes, and conditions, which are sets of them. Neither torch nor Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
SHAPES = ("cube", "sphere", "cylinder")
LABELS: tuple[str, ...] = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)  # i-CLEVR's order

COLOUR_L = np.array([label.split()[0] for label in LABELS])
SHAPE_L = np.array([label.split()[1] for label in LABELS])
SAME_COLOUR_LL = (COLOUR_L[:, None] == COLOUR_L) & ~np.eye(len(LABELS), dtype=bool)
SAME_SHAPE_LL = (SHAPE_L[:, None] == SHAPE_L) & ~np.eye(len(LABELS), dtype=bool)

STRIP_CONDITION = ("red sphere", "cyan cylinder", "cyan cube")  # the denoising strip of two of the reports
Condition = tuple[str, ...]


def multi_hot(conditions: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Labels as bool (N, 24)."""
    index = {label: position for position, label in enumerate(LABELS)}
    hot_NK = np.zeros((len(conditions), len(LABELS)), dtype=bool)
    for row, condition in enumerate(conditions):
        hot_NK[row, [index[label] for label in condition]] = True
    return hot_NK
