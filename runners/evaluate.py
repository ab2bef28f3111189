"""The score sheet of a list of conditions, from what the evaluator saw in the generated images.

Shapes: K sampling seeds, N conditions, L = 24 labels; booleans.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def score_sheet(name: str, predicted_KNL: Bools, asked_NL: Bools) -> dict[str, float]:
    """Scores of list `name`; `predicted` holds, per image, as many labels as were asked.

    accuracy (micro, the official one): hits / objects over the whole list; accuracy_macro: mean over images of
    hits / objects; exact: share of images whose labels are all hit; by the number of objects asked: the same micro
    accuracy; chance: expected micro accuracy of a random choice of k labels; objects: objects of one pass.
    """
    hits_KN = (predicted_KNL & asked_NL).sum(-1)
    objects_N = asked_NL.sum(-1)
    sheet = {
        f"accuracy/{name}": hits_KN.sum() / (objects_N.sum() * len(predicted_KNL)),
        f"accuracy_macro/{name}": (hits_KN / objects_N).mean(),
        f"exact/{name}": (hits_KN == objects_N).mean(),
        f"chance/{name}": chance(asked_NL),
        f"objects/{name}": int(objects_N.sum()),
    }
    for count in np.unique(objects_N):
        of_count = objects_N == count
        sheet[f"accuracy_{count}_objects/{name}"] = hits_KN[:, of_count].mean() / count
    return {key: value if isinstance(value, int) else float(value) for key, value in sheet.items()}


def chance(asked_NL: Bools) -> float:
    """Expected micro accuracy of k labels drawn at random: an image of k objects has k * k / 24 expected hits."""
    objects_N = asked_NL.sum(-1)
    return float((objects_N**2 / asked_NL.shape[1]).sum() / objects_N.sum())
