"""What stands beside the verdict: moderated t, who is ranked first, seeds that did not train."""

from __future__ import annotations

import numpy as np
import pytest
from frames import METRIC, lr_results, results_of, rows_of, study_of

from analysis.stats import intervals, planning, sensitivity
from analysis.tables import sensitivity as table


def test_equal_variances_have_one_prior():
    found = sensitivity.prior([1.0, 1.0, 1.0], 2)
    assert np.isinf(found.df)
    assert np.isnan(sensitivity.prior([], 2).variance)


def test_the_prior_of_many_variances_is_that_of_their_distribution():
    """Smyth 2004: 1 / sigma^2 is chi square of 6 degrees of freedom over 6 x .5."""
    rng = np.random.default_rng(0)
    sigma2 = 6 * 0.5 / rng.chisquare(6, 20_000)
    found = sensitivity.prior(sigma2 * rng.chisquare(4, 20_000) / 4, 4)
    assert found.df == pytest.approx(6, rel=0.1)
    assert found.variance == pytest.approx(0.5, rel=0.03)


def test_a_moderated_t_by_hand():
    """Two comparisons of equal variance: the pooled one, 3.2 degrees of freedom (one reference)."""
    paired = np.array([[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]])
    from scipy import stats

    variance = sensitivity.prior([0.01, 0.01], 2).variance
    t = np.array([0.2, 0.3]) / np.sqrt(variance / 3)
    expected = 2 * stats.t.sf(t, planning.pooled_df(3, 2))
    assert sensitivity.moderated_t(paired) == pytest.approx(expected)
    assert np.isnan(sensitivity.moderated_t(paired[:, :1])).all()


@pytest.mark.parametrize("arms", [3, 6])
def test_it_finds_more_and_keeps_its_level_where_variances_are_equal(arms):
    rng, false, power, moderated = np.random.default_rng(arms), [], [], []
    for _ in range(2000):
        scores = rng.normal(size=(3, arms))
        paired = scores[:, 1:] - scores[:, :1]
        false.append((intervals.holm(sensitivity.moderated_t(paired)) < 0.05).any())
        paired[:, 0] += 3.5
        own = [intervals.paired_t(paired[:, k]) for k in range(arms - 1)]
        power.append(intervals.holm(own)[0] < 0.05)
        moderated.append(intervals.holm(sensitivity.moderated_t(paired))[0] < 0.05)
    assert np.mean(false) <= 0.07
    assert np.mean(moderated) > np.mean(power) + 0.08


def test_who_is_ranked_first():
    even = sensitivity.ranked_first(np.array([[0.1, 0.2], [0.2, 0.1], [0.15, 0.15]]))
    assert even == pytest.approx([0.5, 0.5], abs=0.01)
    scores = np.array([[0.50, 0.60, 0.61], [0.52, 0.58, 0.63], [0.49, 0.60, 0.59]])
    best = sensitivity.ranked_first(scores)
    assert best.sum() == pytest.approx(1)
    assert best[2] > best[1] > best[0]
    assert sensitivity.ranked_first(scores, smaller_is_better=True)[0] > 0.9
    assert np.isnan(sensitivity.ranked_first(scores[:1])).all()


def test_the_probability_is_calibrated():
    """Of arms whose true means are drawn from a flat range, the arm with P(best) is the best that often."""
    rng, said, right = np.random.default_rng(2), [], []
    for _ in range(400):
        truth = rng.uniform(-2, 2, 3)
        found = sensitivity.ranked_first(truth + rng.normal(0, 1, (3, 3)))
        said.append(found.max())
        right.append(found.argmax() == truth.argmax())
    assert np.mean(right) == pytest.approx(np.mean(said), abs=0.06)


def test_the_table_names_arms_that_did_not_train():
    """Chance .2 of 100 objects: .2 + 1.645 x .04 = .266."""
    values = [[0.6, 0.7], [0.61, 0.25], [0.59, 0.72]]
    rows = rows_of(values).assign(**{"chance/validation": 0.2, "objects/validation": 100})
    found = table.table(results_of(rows, study_of()))
    assert found["at chance"].tolist() == [0, 1]
    assert table.readable(found, results_of(rows, study_of()))["at chance"].tolist() == ["0", "1 of 3"]
    assert found["P(best)"].sum() == pytest.approx(1)
    assert table.table(lr_results(values[:1], METRIC)).empty


def test_a_training_that_diverged_is_counted(tmp_path):
    rows = rows_of([[0.6, 0.7], [0.61, None], [0.59, 0.72]])
    folder = tmp_path / "trials" / "abc"
    failed = folder.with_name("abc.failed")
    failed.mkdir(parents=True)
    (failed / "traceback.txt").write_text("FloatingPointError: the loss is nan after 320 images: lower lr.\n")
    rows["folder"] = ""
    rows.loc[rows["state"] == "missing", ["state", "folder"]] = ["failed", str(folder)]
    # One arm is whole, so that nothing is ranked; a third one makes two.
    more = rows_of([[0.5], [0.5], [0.5]]).assign(arm="lr=2", folder="")
    import pandas as pd

    found = table.table(results_of(pd.concat([rows, more], ignore_index=True), study_of(arms=3)))
    assert found.set_index("arm").loc["lr=1", "at chance"] == 1
