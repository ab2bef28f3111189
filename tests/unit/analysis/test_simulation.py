"""Whole studies from a known truth: what the verdicts and intervals promise, counted over thousands of them.

A simulated study is nested as a real one is: arms x training seeds; a training has a true accuracy (what its seed
brings in every arm, what it alone has), and its score is a share of 144 objects that are hit or missed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from frames import lr_results

from analysis.stats import anova, intervals, looks, pairs, planning
from analysis.tables import comparison
from analysis.verdict import Outcome

Array = intervals.Array

STUDIES = 2000
OBJECTS = 144  # of two lists
TRAINING_SD = 0.03  # between trainings of one arm
SHARED = 0.5  # of that variance: what a seed brings in every arm, so that pairing has a use
OWN_SD = TRAINING_SD * np.sqrt(1 - SHARED)
BASE = 0.6
ARMS = 3
METRIC = "accuracy/test"
MARGIN = 0.05


def trainings(rng: np.random.Generator, accuracies: Array, seeds: int, studies: int = STUDIES) -> Array:
    """True accuracies of trainings, (studies, seeds, arms)."""
    shared = rng.normal(0, TRAINING_SD * np.sqrt(SHARED), (studies, seeds, 1))
    own = rng.normal(0, OWN_SD, (studies, seeds, len(accuracies)))
    return np.clip(accuracies + shared + own, 0, 1)


def simulate(seed: int, accuracies: Array, seeds: int) -> Array:
    """Scores of STUDIES studies, (studies, seeds, arms)."""
    rng = np.random.default_rng(seed)
    return rng.binomial(OBJECTS, trainings(rng, accuracies, seeds)) / OBJECTS


def found_in(scores: Array, margin: float = MARGIN) -> list[tuple[intervals.Differences, list[Outcome]]]:
    """Differences and outcomes of every study, by the code that makes a table."""
    paired = [intervals.differences(study, flips=False) for study in scores]
    return [(differences, intervals.outcomes(differences, margin)) for differences in paired]


def separated(outcomes: list[Outcome]) -> bool:
    return bool({Outcome.BETTER, Outcome.WORSE} & set(outcomes))


def sd_of_differences(first: float, second: float) -> float:
    """The spread of a paired difference: two trainings of their own and two evaluations; the seed cancels."""
    noise = [p * (1 - p) - TRAINING_SD**2 for p in (first, second)]  # of one object, the training's part taken out
    return float(np.sqrt(2 * OWN_SD**2 + sum(noise) / OBJECTS))


@cache
def detectable(seeds: int) -> float:
    """The printed detectable size at the true spread, which itself depends a little on where the accuracies lie."""
    size = 0.1
    for _ in range(20):
        spread = sd_of_differences(0.5 - size / 2, 0.5 + size / 2)
        size = planning.detectable_difference(spread, seeds, comparisons=ARMS - 1)
    return size


@pytest.mark.parametrize("seeds", [3, 5])
def test_without_a_difference_verdicts_are_rare(seeds: int) -> None:
    """Any arm of a study called better or worse: Holm promises 5 % of studies."""
    found = found_in(simulate(seeds, np.full(ARMS, BASE), seeds))
    share = np.mean([separated(outcomes) for _, outcomes in found])
    assert share <= 0.06, f"{share:.2%} of {STUDIES} studies without any difference have a verdict"
    assert share > 0.005, f"{share:.2%}: a test that never finds anything is no test"


@pytest.mark.parametrize("seeds", [3, 5])
def test_contrasts_and_the_two_best_keep_the_family(seeds: int) -> None:
    """Arms, a contrast in their family, and the two best arms corrected over all pairs: anything better or worse."""
    arms, false = 4, []
    for study in simulate(70 + seeds, np.full(arms, BASE), seeds):
        family = intervals.differences(study, contrasts=[[0, 1, -1, 0]], flips=False)
        picked = pairs.two_best(study)
        assert picked is not None
        first, second, two = picked
        added = 0 not in (first, second) and separated(intervals.outcomes(two, MARGIN))  # with the baseline it is a row
        false.append(separated(intervals.outcomes(family, MARGIN)) or added)
    assert 0.03 <= np.mean(false) <= 0.06, f"{np.mean(false):.2%} of {STUDIES} studies without any difference"


def test_planned_looks_keep_the_level_and_unplanned_ones_do_not() -> None:
    """Judged at 5 and at 10 seeds: at the levels of the plan, and at .05 each."""
    scores = simulate(80, np.full(ARMS, BASE), 10)
    shares = []
    for levels in (looks.levels((5, 10)), (0.05, 0.05)):
        found = np.zeros(STUDIES, dtype=bool)
        for n, level in zip((5, 10), levels, strict=True):
            paired = [intervals.differences(study[:n], flips=False) for study in scores]
            found |= [separated(intervals.outcomes(one, level=level)) for one in paired]
        shares.append(found.mean())
    planned, unplanned = shares
    assert planned <= 0.06, f"{planned:.2%} of {STUDIES} sequential studies without any difference"
    assert unplanned > planned + 0.015, f"{unplanned:.2%} at .05 each"


def test_verdicts_on_four_lists_would_be_a_family_of_their_own() -> None:
    """What the table of every list would find, were there verdicts on it: why they are on the study's list alone."""
    rng = np.random.default_rng(81)
    true = trainings(rng, np.full(ARMS, BASE), 3)
    any_list = np.zeros(STUDIES, dtype=bool)
    for objects in (144, 72, 84, 408):
        scores = rng.binomial(objects, true) / objects
        any_list |= [separated(outcomes) for _, outcomes in found_in(scores)]
    assert any_list.mean() > 0.1, f"{any_list.mean():.1%}"


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_true_difference(seeds: int) -> None:
    truth = np.array([BASE, BASE + 0.04, BASE - 0.06])
    found = [paired for paired, _ in found_in(simulate(10 + seeds, truth, seeds))]
    low, high = np.array([paired.low for paired in found]), np.array([paired.high for paired in found])
    for arm in (1, 2):
        share = np.mean((low[:, arm] <= truth[arm] - BASE) & (truth[arm] - BASE <= high[:, arm]))
        assert 0.93 <= share <= 0.97, f"{share:.2%} of {STUDIES} intervals cover the true difference"


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_printed_detectable_size_is_found_in_eight_of_ten_studies(seeds: int) -> None:
    size = detectable(seeds)
    truth = np.array([0.5 - size / 2, 0.5 + size / 2, 0.5 - size / 2])  # the third arm is as the baseline
    found = found_in(simulate(20 + seeds, truth, seeds))
    share = np.mean([outcomes[1] is Outcome.BETTER for _, outcomes in found])
    assert 0.75 <= share <= 0.85, f"a true difference of {size:.3f} is found in {share:.2%} of {STUDIES} studies"


@pytest.mark.parametrize("seeds", [3, 5])
def test_equivalent_is_rarely_wrong(seeds: int) -> None:
    """A true difference as large as the margin is shown to be smaller in 5 % of studies at most."""
    size, margin = 0.2, 0.2  # so wide that intervals of few seeds fit inside
    found = found_in(simulate(30 + seeds, np.array([0.4, 0.4 + size]), seeds), margin)
    share = np.mean([intervals.equivalence(paired, margin)[1] < 0.05 for paired, _ in found])
    assert share <= 0.06, f"{share:.2%} of {STUDIES} studies overlook a difference of the margin"
    assert share >= 0.03, f"{share:.2%}: the test never finds anything"
    equal = found_in(simulate(40 + seeds, np.array([0.5, 0.5]), seeds), margin)
    assert np.mean([outcomes[1] is Outcome.EQUIVALENT for _, outcomes in equal]) > 0.5


def test_the_table_says_what_the_rule_says() -> None:
    said = {Outcome.BETTER, Outcome.WORSE, Outcome.INCONCLUSIVE, Outcome.EQUIVALENT}
    truth, margin, seen = np.array([0.5, 0.5, 0.7, 0.3]), 0.15, set()
    for scores in (simulate(50, truth, 3)[:8], simulate(51, truth, 5)[:8]):
        for study, (_, outcomes) in zip(scores, found_in(scores, margin), strict=True):
            table = comparison.summary(lr_results(study.tolist(), METRIC, margin=margin), METRIC)
            verdicts = list(table["verdict"])
            assert verdicts[0].outcome is Outcome.BASELINE
            assert [verdict.outcome for verdict in verdicts[1:]] == outcomes[1:]
            assert all(str(verdict).startswith(verdict.outcome.value) for verdict in verdicts[1:])
            seen |= set(outcomes[1:])
    assert seen == said


# --- mistakes that this project exists to prevent ----------------------------------------------------

PASSES = 20


def shares(rng: np.random.Generator, true: Array) -> Array:
    """Shares of PASSES in which each object is hit, (studies, seeds, arms, objects); a pass draws every object anew."""
    return rng.binomial(PASSES, np.broadcast_to(true[..., None], (*true.shape, OBJECTS))) / PASSES


def test_objects_of_one_training_are_no_seeds() -> None:
    """Two equal arms of one training each, 144 objects x 20 passes: pooled, they differ "significantly" too often."""
    rng = np.random.default_rng(60)
    hits = shares(rng, trainings(rng, np.full(2, BASE), 1, 500))[:, 0]
    pooled = np.mean([intervals.paired_t(study[1] - study[0]) < 0.05 for study in hits])
    assert pooled > 0.4, f"pooling objects finds a difference in {pooled:.1%} of studies without one"


def test_objects_of_several_trainings_are_no_seeds_either() -> None:
    """With 3 seeds, pooled over seeds and objects: still wrong; averaged inside each seed first: right."""
    rng = np.random.default_rng(61)
    hits = shares(rng, trainings(rng, np.full(2, BASE), 3, 1000))
    pooled = np.mean([intervals.paired_t((study[:, 1] - study[:, 0]).ravel()) < 0.05 for study in hits])
    averaged = np.mean([intervals.paired_t(study[:, 1] - study[:, 0]) < 0.05 for study in hits.mean(-1)])
    assert pooled > 0.4, f"pooling finds a difference in {pooled:.1%} of studies without one"
    assert averaged < 0.07, f"averaging first finds a difference in {averaged:.1%} of studies without one"


def test_each_effect_needs_its_own_error() -> None:
    """A factor of the training crossed with one of the sampling, which share trainings: 3 seeds, no effect at all."""
    rng = np.random.default_rng(62)
    own, pooled = [], []
    for true in trainings(rng, np.full(3, BASE), 3, 1000):
        scores = rng.binomial(OBJECTS * PASSES, np.repeat(true[:, :, None], 4, axis=2)) / (OBJECTS * PASSES)
        effects = anova.analyse(scores)
        effect = effects[0]
        own.append(effect.p < 0.05)
        df = sum(each.df_error for each in effects)
        common = sum(each.error * each.df_error for each in effects) / df
        pooled.append(effect.squares / effect.df > f_limit(effect.df, df) * common)
    assert np.mean(own) < 0.07, f"{np.mean(own):.1%} false positives of the factor's own error"
    assert np.mean(own) > 0.01, f"{np.mean(own):.1%}: the test never finds anything"
    assert np.mean(pooled) > 0.2, f"{np.mean(pooled):.1%} false positives of one common error"


@cache
def f_limit(df: int, df_error: int) -> float:
    from scipy import stats

    return float(stats.f.ppf(0.95, df, df_error))
