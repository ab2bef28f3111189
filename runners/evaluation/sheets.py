"""The score sheet of a list, whatever kind of labels its task has, and its mean over several evaluators.

Shapes: K sampling seeds, N conditions, L labels; booleans, or probabilities in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runners.evaluation import class_sheet, set_sheet
from runners.experiment import Kind

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


def sheet(
    kind: Kind,
    name: str,
    predicted_KNL: Bools,
    asked_NL: Bools,
    facets: Mapping[str, Sequence[str]],
    probability_KNL: Floats,
) -> dict[str, float]:
    """Scores of list `name`, as `class_sheet` or `set_sheet` define them."""
    if kind == "class":
        return class_sheet.class_sheet(name, predicted_KNL, asked_NL, probability_KNL)
    return set_sheet.set_sheet(name, predicted_KNL, asked_NL, facets, probability_KNL)


def real_accuracy(kind: Kind, asked_NL: Bools, real_predicted_NL: Bools, real_asked_NL: Bools) -> float:
    """The evaluator's own accuracy on real images, in the list's mix of classes, or of numbers of objects."""
    of_kind = class_sheet.real_accuracy if kind == "class" else set_sheet.real_accuracy
    return of_kind(asked_NL, real_predicted_NL, real_asked_NL)


def over_evaluators(name: str, sheets: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """One sheet of a list from those of several evaluators: their means, and of each <metric>_evaluator_<number>.
    Counts are the same in all. The sheet of a single evaluator is left as it is."""
    found = {
        score: value if isinstance(value, int) else float(np.mean([sheet[score] for sheet in sheets]))
        for score, value in sheets[0].items()
    }
    if len(sheets) > 1:
        metric = next(iter(sheets[0])).partition("/")[0]
        found |= {f"{metric}_evaluator_{i}/{name}": sheet[f"{metric}/{name}"] for i, sheet in enumerate(sheets)}
    return found
