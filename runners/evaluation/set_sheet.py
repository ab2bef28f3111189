"""The score sheet of a list of label sets, from what the evaluator saw in the generated images.

Shapes: K sampling seeds, N conditions, L labels; booleans, or probabilities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SEEN = 0.5  # probability above which an object counts as seen: the evaluator has one sigmoid per label


def set_sheet(
    name: str,
    predicted_KNL: Bools,
    asked_NL: Bools,
    facets: Mapping[str, Sequence[str]],
    probability_KNL: Floats | None = None,
) -> dict[str, float]:
    """Scores of list `name`; `predicted` holds, per image, as many labels as were asked.

    accuracy (micro): hits / objects over the whole list; accuracy_macro: mean over images of hits / objects; exact:
    share of images whose labels are all hit; by the number of objects asked: the same micro accuracy; for each facet,
    <facet>_only: share of the objects asked that were missed while a label was named instead that is right in that
    facet and in no other (see `right_in_one`); chance: expected micro accuracy of a random choice of k labels; objects:
    objects of one pass. With `probability`, which does not know how many were asked: spurious, objects per image that
    nobody asked for; missing, objects per image that were asked for and are not seen. The micro accuracy cannot see a
    spurious object: an image of four can score 1 for any one of them.

    `facets`: name -> the value of each label, such as {"colour": ("gray", "red", ...)}; empty where there are none.
    """
    hits_KN = (predicted_KNL & asked_NL).sum(-1)
    objects_N = asked_NL.sum(-1)
    passes = len(predicted_KNL)
    missed_KNL = asked_NL & ~predicted_KNL
    wrong_KNL = predicted_KNL & ~asked_NL
    total = objects_N.sum() * passes
    sheet = {
        f"accuracy/{name}": hits_KN.sum() / total,
        f"accuracy_macro/{name}": (hits_KN / objects_N).mean(),
        f"exact/{name}": (hits_KN == objects_N).mean(),
    }
    for facet, near_LL in right_in_one(facets).items():
        sheet[f"{facet}_only/{name}"] = (missed_KNL & (wrong_KNL @ near_LL)).sum() / total
    sheet |= {f"chance/{name}": chance(asked_NL), f"objects/{name}": int(objects_N.sum())}
    for count in np.unique(objects_N):
        of_count = objects_N == count
        sheet[f"accuracy_{count}_objects/{name}"] = hits_KN[:, of_count].mean() / count
    if probability_KNL is not None:
        seen_KNL = probability_KNL > SEEN
        sheet[f"spurious/{name}"] = (seen_KNL & ~asked_NL).sum(-1).mean()
        sheet[f"missing/{name}"] = (~seen_KNL & asked_NL).sum(-1).mean()
    return {key: value if isinstance(value, int) else float(value) for key, value in sheet.items()}


def right_in_one(facets: Mapping[str, Sequence[str]]) -> dict[str, Bools]:
    """Facet -> bool (L, L): pairs of different labels with the same value of that facet and of no other.

    With two facets, colour and shape, right in colour alone is the same colour in another shape; with one facet, a
    family say, it is another label of the family. A label without a value, "", is like no other.
    """
    same = {}
    for facet, values in facets.items():
        value_L = np.array(values)
        same[facet] = (value_L[:, None] == value_L) & (value_L != "") & ~np.eye(len(value_L), dtype=bool)
    return {
        facet: np.logical_and.reduce([same_LL, *(~other_LL for other, other_LL in same.items() if other != facet)])
        for facet, same_LL in same.items()
    }


def chance(asked_NL: Bools) -> float:
    """Expected micro accuracy of k labels drawn at random: an image of k objects has k * k / L expected hits."""
    objects_N = asked_NL.sum(-1)
    return float((objects_N**2 / asked_NL.shape[1]).sum() / objects_N.sum())


def by_class(name: str, labels: Sequence[str], predicted_KNL: Bools, asked_NL: Bools) -> list[dict[str, str | int]]:
    """One row per label: how often it was asked for and hit over all passes, and named without being asked."""
    asked_L = asked_NL.sum(0) * len(predicted_KNL)
    hits_L = (predicted_KNL & asked_NL).sum((0, 1))
    wrong_L = (predicted_KNL & ~asked_NL).sum((0, 1))
    return [
        {"list": name, "label": label, "asked": int(asked), "hits": int(hits), "named_unasked": int(wrong)}
        for label, asked, hits, wrong in zip(labels, asked_L, hits_L, wrong_L, strict=True)
    ]


def real_accuracy(asked_NL: Bools, real_predicted_NL: Bools, real_asked_NL: Bools) -> float:
    """The evaluator's own accuracy on real images, weighted to the list's mix of numbers of objects.

    A reference and no bound: samples can be more typical of their labels than real images are, and then score higher.
    NaN when the real images lack a number of objects that the list asks for.
    """
    real_objects_N, objects_N = real_asked_NL.sum(-1), asked_NL.sum(-1)
    hits_N = (real_predicted_NL & real_asked_NL).sum(-1)
    total = 0.0
    for count in np.unique(objects_N):
        of_count = real_objects_N == count
        if not of_count.any():
            return float("nan")
        total += hits_N[of_count].sum() / real_objects_N[of_count].sum() * objects_N[objects_N == count].sum()
    return float(total / objects_N.sum())
