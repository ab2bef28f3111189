"""The two best arms of a study against each other, corrected for having been picked from all of them."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import evaluators, intervals


def two_best(
    values: ArrayLike, smaller_is_better: bool = False, by_evaluator: intervals.Array | None = None
) -> tuple[int, int, intervals.Differences] | None:
    """The columns of the best and the second best arm of `values`, shape (seeds, arms), and their difference seed by
    seed, whose p Holm is over all pairs of arms: which two these are is read from the same scores.

    `by_evaluator`: the scores of several evaluators, (seeds, arms, evaluators), whose share the intervals then hold.
    Arms that are incomplete are left out. None for fewer than three others, or one seed.
    """
    array = np.asarray(values, dtype=np.float64)
    whole = np.flatnonzero(np.isfinite(array).all(axis=0))
    if len(array) < 2 or len(whole) < 3:
        return None
    sign = 1 if smaller_is_better else -1
    ranked = whole[np.argsort(sign * array[:, whole].mean(axis=0), kind="stable")]
    places = list(itertools.combinations(range(len(ranked)), 2))  # the two best first
    weights = np.zeros((len(places), array.shape[1]))
    for row, (one, other) in enumerate(places):
        weights[row, ranked[one]], weights[row, ranked[other]] = 1, -1
    found = intervals.differences(array, -1, contrasts=weights, flips=False)
    found = evaluators.held(found, by_evaluator, intervals.weights_of(array.shape[1], -1, weights))
    first = array.shape[1]
    return int(ranked[0]), int(ranked[1]), found.part(slice(first, first + 1))
