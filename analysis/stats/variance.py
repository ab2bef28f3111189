"""Where the variance of a score comes from: trainings, sampling passes, conditions; and how well that is known.

Shapes: S seeds, A arms, K sampling passes, N conditions; NaN stands for a trial that is not complete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Standard deviations: of a training's own score, and of one sampling pass around it.

    `low`, `high`: the 95 % interval of sampling's share in the variance of a score of one pass. `df`: degrees of
    freedom between trainings.
    """

    training: float
    sampling: float
    low: float
    high: float
    passes: int
    df: int

    def sd(self, passes: int) -> float:
        """Of a score that is the mean of so many passes."""
        return float(np.sqrt(self.training**2 + self.sampling**2 / passes))

    def share(self, passes: int = 1) -> float:
        """What sampling contributes to the variance of the mean of so many passes; NaN without any variance."""
        of_sampling = self.sampling**2 / passes
        total = self.training**2 + of_sampling
        return of_sampling / total if total > 0 else np.nan

    def share_interval(self, passes: int) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        ends = (_of_passes(end, passes) for end in (self.low, self.high))
        low, high = ends
        return low, high


def _of_passes(share: float, passes: int) -> float:
    """The share of sampling with so many passes, from that with one."""
    return share / passes / (share / passes + 1 - share) if share < 1 else 1.0


def split(scores_SAK: ArrayLike, level: float = 0.95) -> Split | None:
    """The one-way random-effects analysis of variance (Searle et al. 1992, section 3.6) of trainings within arms.

    Between trainings, the mean square of the means over passes has K times the variance of a training plus that of a
    pass; within, it has that of a pass. A negative estimate counts as 0; the interval is from their ratio, which is
    exactly F distributed. None for fewer than two passes, or no arm with two seeds.
    """
    from scipy import special

    scores = np.asarray(scores_SAK, dtype=np.float64)
    passes = scores.shape[2]
    whole = np.asarray(np.isfinite(scores).all(axis=2))
    df_between = int(np.maximum(whole.sum(axis=0) - 1, 0).sum())
    df_within = int(whole.sum()) * (passes - 1)
    if passes < 2 or df_between < 1:
        return None
    mean_SA = np.where(whole, scores.mean(axis=2), np.nan)
    of_arms = [mean_SA[whole[:, arm], arm] for arm in range(scores.shape[1])]
    between = passes * sum(float(((one - one.mean()) ** 2).sum()) for one in of_arms if len(one)) / df_between
    within = float(((scores - mean_SA[:, :, None])[whole] ** 2).sum()) / df_within
    training = max(0.0, (between - within) / passes)
    if within <= 0:
        return Split(float(np.sqrt(training)), 0.0, 0.0, 0.0, passes, df_between)
    ratio = between / within
    ends = [ratio / special.fdtri(df_between, df_within, tail) for tail in ((1 + level) / 2, (1 - level) / 2)]
    low, high = (1 / (1 + max(0.0, (end - 1) / passes)) for end in reversed(ends))
    return Split(float(np.sqrt(training)), float(np.sqrt(within)), low, high, passes, df_between)


def of_conditions(hits_N: ArrayLike, objects_N: ArrayLike) -> float:
    """The standard deviation of a score, sum of hits / sum of objects, under another draw of as many conditions
    (ratio estimator: Cochran 1977, eq. 6.9). `hits_N` may be means over passes and trainings. NaN for N < 2."""
    hits, objects = np.asarray(hits_N, dtype=np.float64), np.asarray(objects_N, dtype=np.float64)
    n = len(hits)
    if n < 2 or objects.sum() <= 0:
        return np.nan
    rest = hits - hits.sum() / objects.sum() * objects
    return float(np.sqrt(n / (n - 1) * (rest**2).sum()) / objects.sum())


def prediction_half_width(sd: float, n: int, published: float, objects: float, level: float = 0.95) -> float:
    """Half the interval around the mean of n trainings in which one more training of somebody else should lie, whose
    score is the share `published` of `objects`: t sd sqrt(1 + 1 / n), and the sampling error of that share.

    The interval of the mean is too narrow for that: it holds the mean of all trainings, not one of them. NaN for n < 2;
    without a number of objects the sampling error is left out.
    """
    from scipy import special

    if n < 2:
        return np.nan
    t, z = special.stdtrit(n - 1, (1 + level) / 2), special.ndtri((1 + level) / 2)
    own = (t * sd) ** 2 * (1 + 1 / n)
    theirs = z**2 * published * (1 - published) / objects if objects > 0 and 0 <= published <= 1 else 0.0
    return float(np.sqrt(own + theirs))
