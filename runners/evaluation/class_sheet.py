"""The score sheet of a list of classes, from what the evaluator saw in the generated images.

Shapes: K sampling seeds, N conditions of one class each, L classes; asked and predicted are one-hot booleans, as every
sheet has them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

TOP = 5  # classes named that the second accuracy looks at ...
MANY = 10  # ... where there are more classes than this


def class_sheet(
    name: str, predicted_KNL: Bools, asked_NL: Bools, probability_KNL: Floats | None = None
) -> dict[str, float]:
    """Scores of list `name`.

    accuracy (top-1, micro): share of the images in which the class asked was named; accuracy_macro: mean over the
    classes asked of that share, so that rare ones count as much; chance: 1 / L, of both; objects: images of one pass,
    each of which asks for one thing (a name that all sheets share). With `probability` and more than 10 classes,
    accuracy_top5: share of the images in which the class asked is among the five most probable (equal ones: the lower
    index first), and chance_top5. An exact match of all labels would be the accuracy again.
    """
    hit_KN = (predicted_KNL & asked_NL).sum(-1) > 0
    asked_N, classes = asked_NL.argmax(-1), asked_NL.shape[1]
    sheet = {
        f"accuracy/{name}": float(hit_KN.mean()),
        f"accuracy_macro/{name}": float(np.mean([hit_KN[:, asked_N == label].mean() for label in np.unique(asked_N)])),
        f"chance/{name}": 1 / classes,
        f"objects/{name}": len(asked_NL),
    }
    if probability_KNL is not None and classes > MANY:
        first_KNT = np.argsort(-probability_KNL, axis=-1, kind="stable")[..., :TOP]
        sheet[f"accuracy_top5/{name}"] = float((first_KNT == asked_N[:, None]).any(-1).mean())
        sheet[f"chance_top5/{name}"] = TOP / classes
    return sheet


def confusion(predicted_KNL: Bools, asked_NL: Bools) -> NDArray[np.int64]:
    """int64 (L, L): how often the class of the row was asked for and that of the column named, over all passes."""
    classes = asked_NL.shape[1]
    asked_KN = np.broadcast_to(asked_NL.argmax(-1), predicted_KNL.shape[:2])
    cell_M = (asked_KN * classes + predicted_KNL.argmax(-1)).ravel()
    return np.bincount(cell_M, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def real_accuracy(asked_NL: Bools, real_predicted_NL: Bools, real_asked_NL: Bools) -> float:
    """The evaluator's own accuracy on real images, weighted to the list's mix of classes.

    A reference and no bound: samples can be more typical of their class than real images are, and then score higher.
    NaN when the real images lack a class that the list asks for.
    """
    asked_N, real_N = asked_NL.argmax(-1), real_asked_NL.argmax(-1)
    hit_N = (real_predicted_NL & real_asked_NL).sum(-1) > 0
    labels, counts = np.unique(asked_N, return_counts=True)
    if not np.isin(labels, real_N).all():
        return float("nan")
    return float(np.average([hit_N[real_N == label].mean() for label in labels], weights=counts))
