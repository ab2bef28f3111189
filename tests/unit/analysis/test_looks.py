"""Looks at a study before its last seed: what they cost unplanned, and what a plan of them keeps."""

from __future__ import annotations

import numpy as np
import pytest
from frames import lr_results
from scipy import stats

from analysis import verdicts
from analysis.narrative.stopping import kind_line
from analysis.stats import looks

EVERY = tuple(range(3, 11))


def test_one_look_has_the_whole_level():
    assert looks.levels((5,)) == pytest.approx((0.05,), abs=1e-5)


def test_two_looks_by_a_bivariate_normal():
    """Half way 2 - 2 Phi(1.96 sqrt(2)) = .005575 is spent; the second boundary then leaves .05 in all."""
    first, second = looks.levels((5, 10))
    assert first == pytest.approx(0.005575, abs=1e-5)
    z = -stats.norm.ppf(np.array([first, second]) / 2)
    both = stats.multivariate_normal(cov=[[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
    inside = both.cdf(z) - both.cdf([-z[0], z[1]]) - both.cdf([z[0], -z[1]]) + both.cdf(-z)
    assert 1 - inside == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(
    ("seeds", "low", "high"),
    [((3,), 0.045, 0.055), ((3, 5), 0.08, 0.10), ((3, 5, 8), 0.105, 0.125), (EVERY, 0.16, 0.19)],
)
def test_unplanned_looks_are_optional_stopping(seeds, low, high):
    """Of three arms without a difference: a verdict at any look, each at .05."""
    assert low <= looks.false_verdicts(seeds, 2) <= high


@pytest.mark.parametrize("seeds", [(5, 10), (3, 6, 9)])
def test_planned_looks_keep_the_level(seeds):
    """Simulated with the p of t tests, of which the levels of a normal statistic are no exact ones: at most .06."""
    assert looks.false_verdicts(seeds, 2, looks.levels(seeds)) <= 0.06


def line(values, **study):
    return kind_line(lr_results(values, **study))


def test_the_label_of_a_study():
    three, five = [[0.6, 0.7]] * 3, [[0.6, 0.7]] * 5
    assert line(three) == "Exploratory: n = 3 training seeds per arm, not planned as a claim."
    grown = line(five, looks=[3, 5])
    assert grown.startswith(
        "Exploratory: n = 5 training seeds per arm, not planned as a claim. The study was looked at"
    )
    assert "looked at with 3 seeds and went on, which was not planned" in grown  # not with the 5 it ends with
    assert "with 2 and 3 seeds and went on" in line(five, looks=[2, 3])
    assert f"in {looks.false_verdicts((3, 5), 1):.1%} of such studies instead of 5 %" in grown
    planned = line(five, looks=[5], planned_looks=[5], claim=True)
    assert planned == "Confirmatory: planned with n = 5 training seeds per arm before its first look."
    first = line(five, looks=[5], planned_looks=[5, 10], claim=True)
    assert "looks with 5 and 10 training seeds per arm were planned before the first one, this is look 1" in first
    assert "nominal levels are .0056 and .0478" in first


def test_the_level_of_the_look_decides():
    """p = .0351 is better at .05 and inconclusive at the first of two planned looks."""
    values = [[0.6, 0.66], [0.6, 0.69], [0.6, 0.72]]
    at_once = lr_results(values, claim=True, planned_looks=[3])
    early = lr_results(values, claim=True, planned_looks=[3, 6])
    assert at_once.level == pytest.approx(0.05)
    assert early.level == pytest.approx(looks.levels((3, 6))[0])
    said = [str(verdicts.of_arms(results, "accuracy/validation")["lr=1"]) for results in (at_once, early)]
    assert said[0] == "better"
    assert said[1].startswith("inconclusive (a verdict at ±0.05 takes")
