"""The evaluators' share in a difference: by hand, by simulation, and in what a study says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import synthetic_trial

from analysis import verdicts
from analysis.narrative import explain, protocol
from analysis.results import Results
from analysis.stats import evaluators, intervals
from analysis.tables import outcomes
from analysis.verdict import Outcome


def test_by_hand():
    """Means of seeds 2 and 8, of evaluators 3 and 7: MS_S = 36, MS_E = 16, MS_I = 4, so 48 / 4 is the variance."""
    found = evaluators.crossed([[1, 3], [5, 11]])
    assert found.mean == 5
    assert found.error == pytest.approx(12**0.5)
    assert found.df == pytest.approx(48**2 / (36**2 + 16**2 + 4**2))
    # By integration of t's density with 1.469 degrees of freedom: its .975 quantile, and the p of t = 5 / 3.464.
    assert (found.low, found.high) == pytest.approx((5 - 6.1954 * 12**0.5, 5 + 6.1954 * 12**0.5), rel=1e-4)
    assert found.p == pytest.approx(0.32553, abs=1e-5)
    share = evaluators.share([np.array([[1, 3], [5, 11]])])
    assert share.sd == pytest.approx(6**0.5)  # (16 - 4) / 2
    assert share.low == 0
    assert share.high > 10 * share.sd  # of two evaluators


def test_evaluators_that_agree_leave_the_interval_over_seeds():
    """MS_E = 0 is below MS_I = 1: the variance of the seeds, not the smaller one."""
    array = np.array([[1.0, 2.0], [5.0, 4.0]])
    found = evaluators.crossed(array)
    assert (found.low, found.high) == pytest.approx(intervals.t_interval(array.mean(axis=1)))
    assert (found.df, found.p) == (1, pytest.approx(intervals.paired_t(array.mean(axis=1))))


def test_degrees_of_freedom_have_a_floor():
    """Where MS_E barely exceeds MS_I and both are large, Satterthwaite's formula gives .1: a t of a million."""
    rows = np.random.default_rng(0).standard_normal((2000, 3, 3))
    df = np.array([evaluators.crossed(row).df for row in rows])
    assert df.min() == 2
    assert df.max() < 8


@pytest.mark.parametrize("array", [np.zeros((1, 3)), np.full((3, 3), 0.1)])
def test_without_seeds_or_spread_there_is_no_interval(array):
    found = evaluators.crossed(array)
    assert found.mean == pytest.approx(array.mean())
    assert np.isnan([found.error, found.df, found.low, found.high, found.p]).all()


@pytest.mark.parametrize("array", [np.zeros((3, 1)), np.zeros(3)])
def test_one_evaluator_is_refused(array):
    with pytest.raises(ValueError, match=r"\(seeds, 2 or more evaluators\)"):
        evaluators.crossed(array)


# Seeds, evaluators; sd of seeds, evaluators, interaction in a difference; what an interval over seeds alone covers.
SETTINGS = [
    ((3, 3), (0.03, 0.015, 0.01), 0.94),
    ((5, 3), (0.02, 0.02, 0.005), 0.84),
    ((8, 5), (0.03, 0.02, 0.01), 0.89),
    ((5, 3), (0.03, 0.0, 0.01), 0.95),  # nothing to hold
]


@pytest.mark.parametrize(("size", "spread", "seeds_alone"), SETTINGS)
def test_intervals_cover_what_another_evaluator_would_have_said(size, spread, seeds_alone):
    rng, (n, count), studies = np.random.default_rng(0), size, 4000
    seeds, own, interaction = spread
    drawn = seeds * rng.standard_normal((studies, n, 1)) + own * rng.standard_normal((studies, 1, count))
    drawn += interaction * rng.standard_normal((studies, n, count))
    found = [evaluators.crossed(one) for one in drawn]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.94 <= covered <= 0.975
    assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(1 - covered)
    alone = [intervals.t_interval(one.mean(axis=1)) for one in drawn]
    assert np.mean([low <= 0 <= high for low, high in alone]) == pytest.approx(seeds_alone, abs=0.015)


def test_the_share_is_unbiased_and_its_interval_covers():
    """Of two arms with one reference, each with its own response to every evaluator."""
    rng, n, count, true, studies = np.random.default_rng(0), 3, 3, 0.015, 2000
    arms = true / np.sqrt(2) * rng.standard_normal((studies, 3, 1, count))
    arms = arms + 0.02 * rng.standard_normal((studies, 3, n, 1)) + 0.007 * rng.standard_normal((studies, 3, n, count))
    found = [evaluators.share([own - reference, other - reference]) for reference, own, other in arms]
    squares = np.mean([one.sd**2 for one in found])
    assert np.sqrt(squares) == pytest.approx(true, rel=0.05)
    assert np.mean([one.low <= true <= one.high for one in found]) >= 0.95


# --- in a study ----------------------------------------------------------------------------------------


def scored(record: Path, shifts: np.ndarray) -> Results:
    """The miniature record as if evaluators had scored it whose scores lie off the mean by `shifts`, (arms, N)."""
    results = Results.open("schedules", record)
    rows = results.rows.copy()
    for name in results.lists:
        for number in range(shifts.shape[1]):
            of_arm = rows["arm"].map(dict(zip(results.arms, shifts[:, number], strict=True)))
            rows[f"accuracy_evaluator_{number}/{name}"] = rows[f"accuracy/{name}"] + of_arm
    rows["evaluator_1_held_out_accuracy"] = rows["evaluator_2_held_out_accuracy"] = 0.961
    return dataclasses.replace(results, rows=rows)


SHIFTS = np.array([[0.0, 0.0, 0.0], [0.2, 0.0, -0.2], [0.0, 0.0, 0.0]])


def test_verdicts_hold_the_share(miniature_record):
    """Evaluators that disagree on one arm widen its interval alone, and leave it inconclusive."""
    one, three = Results.open("schedules", miniature_record), scored(miniature_record, SHIFTS)
    metric = one.metric
    before, after = one.differences(metric), three.differences(metric)
    assert after.difference[1:] == pytest.approx(before.difference[1:])
    assert after.high[1] - after.low[1] > 3 * (before.high[1] - before.low[1])
    assert (after.low[2], after.high[2]) == pytest.approx((before.low[2], before.high[2]))
    assert after.p_holm[1] > before.p_holm[1]
    assert np.isnan(after.low[0])
    arm = one.arms[1]
    assert verdicts.of_arms(one, metric)[arm].outcome is Outcome.BETTER
    assert verdicts.of_arms(three, metric)[arm].outcome is Outcome.INCONCLUSIVE
    assert three.differences("accuracy_macro/test").low[1:] == pytest.approx(
        one.differences("accuracy_macro/test").low[1:]
    )


def test_contrasts_hold_the_share_too(miniature_record):
    three = scored(miniature_record, SHIFTS)
    first, second = three.arms[1:]
    study = three.study.model_copy(update={"contrasts": {"one": {first: 1.0, second: -1.0}}})
    found = three.of(study, three.rows).contrasts(three.metric)
    values = three.evaluator_values(three.metric)
    expected = evaluators.crossed(values[:, 1] - values[:, 2])
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high))
    assert (found.se[0], found.df[0], found.p_t[0]) == pytest.approx((expected.error, expected.df, expected.p))


def test_an_arm_that_is_not_complete_is_compared_with_nothing(miniature_record):
    results = scored(miniature_record, SHIFTS)
    lost = (results.rows["arm"] == results.arms[1]) & (results.rows["seed"] == results.seeds[0])
    results = dataclasses.replace(results, rows=results.rows.assign(state=np.where(lost, "failed", "complete")))
    found = results.differences(results.metric)
    assert np.isnan([found.low[1], found.p_holm[1]]).all()
    assert np.isfinite(found.p_holm[2])


def test_the_protocol_says_whose_scores_they_are(miniature_record):
    one, three = Results.open("schedules", miniature_record), scored(miniature_record, SHIFTS)
    (line,) = [line for line in protocol.terms(one) if line.startswith("Evaluator")]
    assert line.endswith(
        "Scores are of one evaluator; its share in the differences is not in the intervals (--evaluators N measures "
        "it)."
    )
    (line,) = [line for line in protocol.terms(three) if line.startswith("Evaluator")]
    share = evaluators.share(list(evaluators.pairs(three.evaluator_values(three.metric), three.weights).values()))
    assert (
        "Scores are means over 3 surrogate evaluators that differ in their seed (the others: 0.961, 0.961). Between "
        f"them a difference in accuracy/validation has sd {share.sd:.3f} (95 % CI {share.low:.3f} to "
        f"{share.high:.3f}); the intervals and verdicts of accuracy hold it."
    ) in line
    assert share.sd == pytest.approx(np.sqrt(0.2**2 / 2))  # of two arms one: the mean of .04 and 0


def test_the_users_own_evaluator_has_no_others(miniature_record):
    results = Results.open("schedules", miniature_record)
    results = dataclasses.replace(results, rows=results.rows.assign(evaluator_kind="official"))
    assert protocol.evaluator_share(results).endswith("is not in the intervals.")


def test_the_arithmetic_is_explained(miniature_record):
    results = scored(miniature_record, SHIFTS)
    found, text = results.differences(results.metric), explain.text(results, results.arms[1])
    assert f"95 % t interval [{found.low[1]:+.6f}, {found.high[1]:+.6f}], p = {found.p_t[1]:.6f} before Holm" in text


def test_outcomes_are_those_of_all_evaluators(tmp_path):
    synthetic_trial.write_outcomes(tmp_path, 0.5, passes=2)
    synthetic_trial.write_text(tmp_path / "conditions.json", '{"test": ' + str(CONDITIONS).replace("'", '"') + "}")
    arrays = dict(np.load(tmp_path / "outcomes.npz"))
    more = {f"test_evaluator_{number}": ~arrays["test"] for number in (1, 2)}
    probability = {"test_probability": np.zeros((2, 8, 24)), "test_evaluator_1_probability": np.zeros((2, 8, 24))}
    np.savez_compressed(tmp_path / "outcomes.npz", **arrays, **more, **probability)
    _, seen = outcomes.seen(tmp_path, "test")
    assert seen.shape == (6, 8, 24)
    assert np.array_equal(seen[:2], arrays["test"])
    assert outcomes.hits(tmp_path, "test").hit_KO.shape == (6, 14)


CONDITIONS = synthetic_trial.CONDITIONS * 2
