"""The verdicts of a study: of its arms, of its contrasts, and of its two best arms.

They are about one family, the comparisons on the study's own metric. The same numbers on another list are shown without
a verdict: four lists with a family each would give any false verdict in 16 % of studies without a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analysis import recorded_task
from analysis.results import Results, once
from analysis.stats import intervals, pairs
from analysis.verdict import Outcome, Verdict

JUDGED = (Outcome.BETTER, Outcome.WORSE, Outcome.EQUIVALENT, Outcome.INCONCLUSIVE, Outcome.ZERO_VARIANCE)


def of_arms(results: Results, metric: str, p: Mapping[str, float] | None = None) -> dict[str, Verdict]:
    """Arm -> what may be said of it. `p`: of one training per arm, arm -> p of a test of its pictures."""
    complete = dict(zip(results.arms, map(int, results.means(metric).n), strict=True))
    found = _by_numbers(results, metric)[: len(results.arms)]
    p = p or {}
    return {
        arm: _of_arm(results, replace(verdict, n=complete[arm]), arm, complete, p)
        for arm, verdict in zip(results.arms, found, strict=True)
    }


@once
def _by_numbers(results: Results, metric: str) -> list[Verdict]:
    """What the numbers of every comparison allow, outside of the family nothing but numbers."""
    found = intervals.verdicts(
        results.compared(metric),
        len(results.seeds),
        results.margin(metric),
        results.smaller_is_better(metric),
        results.level,
    )
    if metric == results.judged:
        return found
    return [replace(one, outcome=Outcome.DESCRIPTIVE) if one.outcome in JUDGED else one for one in found]


def _of_arm(results: Results, base: Verdict, arm: str, complete: Mapping[str, int], p: Mapping[str, float]) -> Verdict:
    """`base` is what the numbers alone allow; what is incomplete or not compared goes first."""
    reference = results.references.get(arm, "")
    if base.n < base.planned:
        return replace(base, outcome=Outcome.INCOMPLETE, lacking=_lacking(results, arm, base.planned - base.n))
    if not reference:
        return replace(base, outcome=_without_reference(results, arm))
    if complete[reference] < base.planned:
        name = "the baseline" if reference == results.study.baseline_arm else reference
        return replace(base, outcome=Outcome.REFERENCE_INCOMPLETE, reference=name, n=complete[reference])
    if base.planned == 1:
        picture = recorded_task.picture(recorded_task.task_of(results))
        return replace(base, outcome=Outcome.ONE_TRAINING, p=p.get(arm, np.nan), picture=picture)
    return base


def _without_reference(results: Results, arm: str) -> Outcome:
    if arm == results.study.baseline_arm:
        return Outcome.BASELINE
    return Outcome.REFERENCE if arm in results.references.values() else Outcome.NOT_COMPARED


@once
def _states(results: Results) -> dict[str, dict[str, int]]:
    """Arm -> state -> trials that are not complete, states in alphabetical order."""
    found: dict[str, dict[str, int]] = {}
    if not len(results.rows):
        return found
    open_rows = results.rows[results.rows["state"] != "complete"]
    counts = open_rows.groupby(["arm", "state"], as_index=False).size()
    for arm, state, count in zip(counts["arm"], counts["state"], counts["size"], strict=True):
        found.setdefault(arm, {})[state] = int(count)
    return found


def _lacking(results: Results, arm: str, lacking: int) -> str:
    """`1 failed, 1 pruned`: what became of the seeds that an arm lacks."""
    states = _states(results).get(arm, {})
    parts = [f"{count} {state}" for state, count in states.items()]
    without = lacking - sum(states.values())
    return ", ".join([*parts, *([f"{without} without a number"] if without > 0 else [])])


# --- contrasts, and the two best arms --------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast:
    """A comparison that is no row of the arms' table: its numbers and its verdict; `p` is corrected within its family.

    `words`: what the difference is of.
    """

    name: str
    words: str
    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict


def contrasts(results: Results, metric: str) -> list[Contrast]:
    """The study's own contrasts, in the family of its arms."""
    found, first, n = results.contrasts(metric), len(results.arms), len(results.seeds)
    complete = dict(zip(results.arms, map(int, results.means(metric).n), strict=True))
    made = []
    for k, (name, weights) in enumerate(results.study.contrasts.items()):
        verdict = _by_numbers(results, metric)[first + k]
        fewest = min((complete[arm] for arm, weight in weights.items() if weight), default=0)
        if fewest < n:
            verdict = replace(verdict, outcome=Outcome.INCOMPLETE, n=fewest)
        elif n == 1:
            verdict = replace(verdict, outcome=Outcome.ONE_TRAINING)
        made.append(_contrast(name, weights, found.part(slice(k, k + 1)), verdict))
    return made


def worded(weights: Mapping[str, float]) -> str:
    """`T=500 fixed - T=500 matched`."""
    parts = [(weight, arm) for arm, weight in weights.items() if weight]
    parts.sort(key=lambda part: part[0] < 0)
    terms: list[str] = []
    for weight, arm in parts:
        size = "" if abs(weight) == 1 else f"{abs(weight):g} "
        terms.append(f"{'- ' if weight < 0 else '+ ' if terms else ''}{size}({arm})")
    return " ".join(terms)


def in_parts(results: Results) -> bool:
    """Whether the study compares arms in several groups and none across them, such as methods on two data sets: the
    best of all arms would then be that of the easiest group."""
    group = {arm: arm for arm in results.arms}

    def root(arm: str) -> str:
        while group[arm] != arm:
            arm = group[arm]
        return arm

    pairs_of = [*results.references.items()]
    pairs_of += [(arm, next(iter(weights))) for weights in results.study.contrasts.values() for arm in weights]
    for arm, other in pairs_of:
        if arm in group and other in group:
            group[root(arm)] = root(other)
    sizes = Counter(map(root, results.arms))
    return sum(size > 1 for size in sizes.values()) > 1


@once
def two_best(results: Results, metric: str) -> Contrast | None:
    """The best arm against the second best (`stats.pairs`). None with fewer than three complete arms or one seed, where
    one is the other's reference, for then the table itself says it, and where the study compares in several groups."""
    smaller = results.smaller_is_better(metric)
    picked = pairs.two_best(results.values(metric), smaller, results.evaluator_values(metric))
    if picked is None or in_parts(results):
        return None
    first, second = (results.arms[k] for k in picked[:2])
    if second == results.references.get(first) or first == results.references.get(second):
        return None
    (verdict,) = intervals.verdicts(picked[2], len(results.seeds), results.margin(metric), smaller, results.level)
    if metric != results.judged:
        verdict = replace(verdict, outcome=Outcome.DESCRIPTIVE)
    return _contrast("the two best arms", {first: 1, second: -1}, picked[2], verdict)


def _contrast(name: str, weights: Mapping[str, float], found: intervals.Differences, verdict: Verdict) -> Contrast:
    """`found`: of this comparison alone."""
    return Contrast(
        name,
        worded(weights),
        difference=float(found.difference[0]),
        low=float(found.low[0]),
        high=float(found.high[0]),
        p=float(found.p_holm[0]),
        verdict=verdict,
    )
