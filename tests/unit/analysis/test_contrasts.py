"""What is compared beside arms and references; and the family that verdicts are about."""

from __future__ import annotations

import numpy as np
import pytest
from frames import METRIC, lr_results, results_of, rows_of, study_of, words

from analysis import verdicts
from analysis.narrative import answer, protocol
from analysis.stats import intervals
from analysis.tables import comparison, contrasts

VALUES = [[0.50, 0.60, 0.55, 0.70], [0.52, 0.63, 0.57, 0.74], [0.49, 0.60, 0.56, 0.70]]
PAIRS = {"second against third": {"lr=1": 1, "lr=2": -1}}
INTERACTION = {"interaction": {"lr=3": 1, "lr=2": -1, "lr=1": -1, "lr=0": 1}}


def test_a_declared_contrast_is_tested_in_the_family():
    results = lr_results(VALUES, contrasts=PAIRS | INTERACTION)
    found = contrasts.table(results, METRIC).set_index("comparison")
    array = np.array(VALUES)
    paired = array[:, 1] - array[:, 2]
    assert found.loc["second against third", "difference"] == pytest.approx(paired.mean())
    assert (found.loc["second against third", "low"], found.loc["second against third", "high"]) == pytest.approx(
        intervals.t_interval(paired)
    )
    assert found.loc["interaction", "of"] == "(lr=3) + (lr=0) - (lr=2) - (lr=1)"
    assert found.loc["interaction", "difference"] == pytest.approx((array @ [1, -1, -1, 1]).mean())
    assert found.loc["interaction", "over"] == "arms and contrasts"
    assert results.comparisons == 5
    p = [intervals.paired_t(array @ row) for row in ([-1, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1], [0, 1, -1, 0])]
    p.append(intervals.paired_t(array @ [1, -1, -1, 1]))
    assert found["p Holm"].iloc[:2].tolist() == pytest.approx(intervals.holm(p)[3:].tolist())
    assert "Family: the 5 comparisons on accuracy/validation." in "\n".join(protocol.protocol(results))
    assert "Contrast, second against third: +0.050" in answer.answer(results)


def test_better_here_and_inconclusive_there_says_nothing_of_here_against_there():
    """One arm is better than the baseline, the other is not, and nothing tells the two apart."""
    values = [[0.50, 0.58, 0.56], [0.50, 0.60, 0.53], [0.50, 0.59, 0.62]]
    results = lr_results(values)
    assert [str(one)[:12] for one in verdicts.of_arms(results, METRIC).values()] == [
        "baseline",
        "better",
        "inconclusive",
    ]
    two = verdicts.two_best(results, METRIC)
    assert two is not None
    assert two.words == "(lr=1) - (lr=2)"
    assert two.verdict.outcome.value == "inconclusive"
    assert "The two best arms, (lr=1) - (lr=2): +0.020" in answer.answer(results)


def test_the_two_best_are_corrected_over_all_pairs():
    results = lr_results(VALUES)
    two = verdicts.two_best(results, METRIC)
    array = np.array(VALUES)
    p = [intervals.paired_t(array[:, i] - array[:, j]) for i in range(4) for j in range(i)]
    of_pair = intervals.paired_t(array[:, 3] - array[:, 1])
    assert two.words == "(lr=3) - (lr=1)"
    assert two.p == pytest.approx(intervals.holm(p)[p.index(of_pair)])
    assert contrasts.table(results, METRIC)["over"].tolist() == ["all pairs of arms"]


def test_where_the_table_says_it_nothing_is_added():
    assert verdicts.two_best(lr_results([line[:2] for line in VALUES]), METRIC) is None
    assert verdicts.two_best(lr_results(VALUES[:1]), METRIC) is None
    best_is_baseline = [[0.8, 0.7, 0.6], [0.82, 0.7, 0.61], [0.81, 0.69, 0.6]]
    assert verdicts.two_best(lr_results(best_is_baseline), METRIC) is None
    assert contrasts.table(lr_results(best_is_baseline), METRIC).empty


def test_an_incomplete_contrast_is_said_to_be_one():
    values = [[*VALUES[0][:2], None, VALUES[0][3]], *VALUES[1:]]
    found = contrasts.table(results_of(rows_of(values), study_of(arms=4, contrasts=PAIRS)), METRIC)
    assert str(found["verdict"].iloc[0]) == "incomplete 2/3 seeds"
    assert np.isnan(found["difference"].iloc[0])


def test_other_lists_have_numbers_and_no_verdict():
    """Four lists with a family each find something in 18 % of studies without any difference."""
    rows = rows_of(VALUES)
    rows["accuracy/test"] = rows[METRIC]
    results = results_of(rows, study_of(arms=4, contrasts=PAIRS))
    own, other = (comparison.summary(results, metric) for metric in (METRIC, "accuracy/test"))
    assert own["difference"].equals(other["difference"])
    assert words(own)[3] == "better"
    assert words(other) == ["baseline", "descriptive", "descriptive", "descriptive"]
    shown = comparison.readable(other, results, "accuracy/test")
    assert {"verdict", "p Holm", "p sign-flip"}.isdisjoint(shown.columns)
    assert {"verdict", "p Holm"} <= set(comparison.readable(own, results, METRIC).columns)
    beside = contrasts.readable(contrasts.table(results, "accuracy/test"))
    assert list(beside.columns) == ["comparison", "of", "difference [95 % CI]"]
    (line, *_) = protocol.table_notes(results, "accuracy/test")
    assert line == "Descriptive: the study's verdicts are about accuracy/validation; here no verdict is given."
