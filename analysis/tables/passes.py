"""The scores of single sampling passes, read from the outcomes of the trials, and what they say of the variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.results import Results, once
from analysis.stats import intervals, variance
from analysis.stats.variance import Split
from analysis.tables import outcomes

MOST_TRIALS = 100  # that are read: of the first arms; a split of their variance is known well enough by then


@dataclass(frozen=True)
class Passes:
    """Of one list: the score of each pass, (seeds, arms, passes), NaN where a trial is not complete or not read; and
    the standard deviation of an arm's mean under another draw of as many conditions, averaged over arms."""

    scores_SAK: intervals.Array
    conditions: float


@once
def of_lists(results: Results) -> Mapping[str, Passes]:
    """List -> the passes of the trials; lists that no trial has outcomes of are left out."""
    if "folder" not in results.complete or not results.score.is_share:
        return {}
    read: dict[str, dict[tuple[int, int], outcomes.Hits]] = {}
    seeds = {seed: index for index, seed in enumerate(results.seeds)}
    most = max(1, MOST_TRIALS // len(seeds))
    arms = {arm: index for index, arm in enumerate(results.arms[:most])}
    rows = results.complete
    for arm, seed, folder in zip(rows["arm"], rows["seed"], rows["folder"], strict=True):
        if arm not in arms or seed not in seeds:
            continue
        for name in results.lists:
            try:
                found = outcomes.hits(Path(folder), name)
            except ValueError:  # of an older version, or damaged: the split is made of the others
                continue
            read.setdefault(name, {})[seeds[seed], arms[arm]] = found
    return {name: _of_list(cells, len(seeds), len(results.arms)) for name, cells in read.items()}


def _of_list(cells: Mapping[tuple[int, int], outcomes.Hits], seeds: int, arms: int) -> Passes:
    passes = min(len(found.hit_KO) for found in cells.values())
    scores_SAK = np.full((seeds, arms, passes), np.nan)
    of_conditions: dict[int, list[intervals.Array]] = {}
    for (seed, arm), found in cells.items():
        scores_SAK[seed, arm] = found.hit_KO[:passes].mean(axis=1)
        hits_N = np.bincount(found.conditions, found.hit_KO.mean(axis=0)).astype(np.float64)
        of_conditions.setdefault(arm, []).append(hits_N)
    objects_N = np.bincount(next(iter(cells.values())).conditions)
    alike = [np.mean(hits, axis=0) for hits in of_conditions.values() if len({len(one) for one in hits}) == 1]
    sds = [variance.of_conditions(hits_N, objects_N) for hits_N in alike if len(hits_N) == len(objects_N)]
    return Passes(scores_SAK, float(np.mean(sds)) if sds else np.nan)


def of_scores(results: Results, name: str) -> Split | None:
    """How the variance of a list's scores splits; None without outcomes, with one pass or one seed."""
    found = of_lists(results).get(name)
    return None if found is None else variance.split(found.scores_SAK)


def of_differences(results: Results, name: str) -> Split | None:
    """The same of the differences between arms and their references, seed by seed and pass by pass."""
    found = of_lists(results).get(name)
    compared = [(arm, other) for arm, other in enumerate(results.reference_columns) if other >= 0]
    if found is None or not compared:
        return None
    own, others = (list(side) for side in zip(*compared, strict=True))
    return variance.split(found.scores_SAK[:, own] - found.scores_SAK[:, others])


def line(results: Results, name: str) -> str:
    """What stands under the table of a list: the shares of the variance, with their uncertainty. Nothing for an
    experiment that samples nothing."""
    found, split = of_lists(results).get(name), of_scores(results, name)
    if found is None or "sampling_seeds" not in results.rows:
        return ""
    other = ""
    if np.isfinite(found.conditions):
        other = (
            f" Another draw of as many conditions would move an arm's mean with a standard deviation of "
            f"{found.conditions:.3f}; the arms share their conditions, so that much of it cancels in differences."
        )
    if split is None:
        return (
            f"Variance on {name}: how much of it is sampling is unknown with one sampling pass or one training seed "
            f"per arm.{other}"
        )
    low, high = split.share_interval(split.passes)
    return (
        f"Variance on {name}: standard deviation {split.training:.3f} between trainings of an arm and "
        f"{split.sampling:.3f} between sampling passes of a training. Of the variance of a score, the mean of "
        f"{split.passes} passes, {split.share(split.passes):.0%} is sampling (95 % CI {low:.0%} to {high:.0%}); of a "
        f"single pass it would be {split.share():.0%} ({split.low:.0%} to {split.high:.0%}).{other}"
    )
