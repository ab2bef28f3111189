"""A value that is tuned and reported on the same trainings: chosen without each seed, and read at it.

Arrays are of shape (seeds, values): one column per value of a nuisance factor, rows paired by seed, all finite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.stats import planning
from analysis.stats.intervals import Array

FEWEST_SEEDS = 3  # the choice is made without one, and the jackknife leaves out another


def left_out(choice: Array) -> NDArray[np.int64]:
    """Per seed the value with the largest mean of `choice` over the other seeds; ties go to the first."""
    others = choice.sum(axis=0) - choice
    found: NDArray[np.int64] = others.argmax(axis=1)
    return found


def mean_left_out(choice: Array, report: Array) -> float:
    """Mean over seeds of `report` at the value that the other seeds chose.

    The choice shares no training with what is read, so the mean is unbiased for the mean true score of the values
    that it read (Varma & Simon 2006, with seeds for folds).
    """
    return float(report[np.arange(len(report)), left_out(choice)].mean())


def pseudo_values(choice: Array, report: Array) -> Array:
    """One number per seed, (seeds,): their mean is `mean_left_out`, and their t interval that of the jackknife.

    What is read at one seed depends on the trainings of the others, through the choice: the t interval of what is read
    takes them for independent, and has up to .10 false positives at 3 seeds and .22 at 10. The jackknife (Tukey 1958)
    repeats the whole procedure without each seed, choice included, and is conservative (Efron & Stein 1981): .053
    at most, at 3 to 20 seeds. Differences of pseudo-values are those of the difference. Needs FEWEST_SEEDS.
    """
    seeds = np.arange(len(report))
    without = np.array([mean_left_out(choice[seeds != seed], report[seeds != seed]) for seed in seeds])
    found: Array = mean_left_out(choice, report) - (len(seeds) - 1) * (without - without.mean())
    return found


def optimism(choice: Array, report: Array) -> float:
    """How much better the mean of `report` looks at the value with the best mean of `choice` than it is, if all values
    were equally good: of the settings on the first axis, (settings, seeds, values), pooled.

    What moves both lists, a training's own part, is their covariance within seed and setting; the best of k draws is
    chosen for it (`planning.expected_maximum`). NaN for one seed or one value.
    """
    residual = [values - values.mean(axis=2, keepdims=True) for values in (choice, report)]
    residual = [values - values.mean(axis=1, keepdims=True) for values in residual]
    settings, seeds, values = choice.shape
    freedom = settings * (seeds - 1) * (values - 1)
    variance = float((residual[0] ** 2).sum()) / freedom if freedom else np.nan
    shared = float((residual[0] * residual[1]).sum()) / freedom if freedom else np.nan
    if not variance > 0:
        return np.nan
    return float(planning.expected_maximum(values) * max(shared, 0.0) / np.sqrt(variance * seeds))
