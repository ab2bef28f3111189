"""The table of a metric: verdicts, incomplete arms that are never averaged silently, references, compute, published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frames import METRIC, lr_results, results_of, rows_of, study_of, words

from analysis.narrative import answer as answers
from analysis.narrative import protocol
from analysis.results import Results
from analysis.tables import comparison

TAKES = "inconclusive (a verdict at ±0.05 takes {})"


def verdicts(values: list[list[float | None]], metric: str = METRIC) -> list[str]:
    return words(comparison.summary(lr_results(values, metric), metric))


def test_summary_of_the_miniature_by_hand(miniature_record: Path) -> None:
    results = Results.open("schedules", miniature_record)
    table = comparison.summary(results, METRIC).set_index("arm")
    assert list(table.index) == results.arms
    cosine = table.loc["schedule=cosine"]
    # .70 .73 .69 against .60 .62 .58: differences .10 .11 .11
    assert cosine[["mean", "difference"]].tolist() == pytest.approx([0.706667, 0.106667], abs=1e-6)
    assert cosine[["difference low", "difference high"]].tolist() == pytest.approx([0.092325, 0.121009], abs=1e-6)
    assert cosine["p sign-flip"] == 0.25
    assert table["n"].tolist() == [3, 3, 3]
    assert words(table) == ["baseline", "better", "better"]


def test_verdicts() -> None:
    assert verdicts([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])[1] == "better"
    assert verdicts([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])[1] == "worse"
    assert verdicts([[0.6, 0.7]]) == ["baseline", "one training per arm: no interval over seeds"]
    assert verdicts([[0.6, 0.7], [0.6, 0.7], [0.6, 0.7]])[1] == "inconclusive (zero variance)"


@pytest.mark.parametrize(
    "metric", ["spurious/test", "missing/test", "colour_only/test", "memorised", "x0_error/snr_0_2"]
)
def test_smaller_is_better_for_errors(metric: str) -> None:
    assert verdicts([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]], metric=metric)[1] == "better"


def test_smaller_is_better_for_seconds() -> None:
    assert verdicts([[10, 8.0], [10, 8.1], [10, 8.2]], metric="seconds/train")[1] == "better"


def test_inconclusive_says_how_many_seeds_a_verdict_takes() -> None:
    # differences .1, 0, -.01: sd .060828; statsmodels: a difference of .05 is found with power .8 by 13.7 seeds, and
    # its absence takes one more; chi square: the sd may be 6.285 times as large
    assert verdicts([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])[1] == TAKES.format("about 15 to 502 seeds")
    assert verdicts([[0.6, 1.6], [0.6, -0.9], [0.6, 0.6]])[1] == TAKES.format("more than 1,000 seeds")


def test_a_family_needs_more_seeds() -> None:
    """The same difference among three comparisons: .05 / 3 is what Holm asks of the first, so 18.4 seeds, not 13.7."""
    alone = [[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]]
    family = [[*line, 0.6 + luck, 0.6 - luck] for line, luck in zip(alone, (0.05, -0.06, 0.02), strict=True)]
    assert verdicts(family)[1] == TAKES.format("about 19 to 132 seeds")


def test_holm_takes_a_verdict_back() -> None:
    """p = .0351 alone is "better"; as one of three comparisons it is not."""
    alone = [[0.6, 0.66], [0.6, 0.69], [0.6, 0.72]]  # .06 .09 .12: t = .09 / (.03 / sqrt(3)) = 5.196
    assert verdicts(alone)[1] == "better"
    others = [[0.7, 0.5], [0.5, 0.7], [0.62, 0.58]]
    family = [line + more for line, more in zip(alone, others, strict=True)]
    assert verdicts(family)[1].startswith("inconclusive (")


def test_an_incomplete_arm_is_never_averaged_silently() -> None:
    table = comparison.summary(results_of(rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, None]]), study_of()), METRIC)
    assert words(table) == ["baseline", "incomplete 2/3 seeds (1 missing)"]
    assert table["n"].tolist() == [3, 2]
    assert np.isnan(table.loc[1, ["difference", "difference low", "p", "p Holm"]].astype(float)).all()
    assert comparison.readable(table)["n"].tolist() == ["3", "2/3"]


def test_a_complete_trial_without_a_number_leaves_its_arm_incomplete() -> None:
    assert verdicts([[0.6, 0.7], [0.6, float("nan")], [0.6, 0.7]])[1] == "incomplete 2/3 seeds (1 without a number)"
    assert verdicts([[0.6, 0.7], [0.6, float("inf")], [0.6, 0.7]])[1] == "incomplete 2/3 seeds (1 without a number)"


def test_an_incomplete_baseline_stops_every_comparison() -> None:
    found = verdicts([[0.6, 0.7], [None, 0.7], [0.6, 0.7]])
    assert found == ["incomplete 2/3 seeds (1 missing)", "not compared: the baseline is incomplete (2/3 seeds)"]


@pytest.mark.parametrize("state", ["failed", "pruned", "missing"])
def test_scores_of_trials_that_are_not_complete_are_not_read(state: str) -> None:
    """A number left in the row of a failed or pruned trial must not enter a mean."""
    rows = rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, 99.0]])
    rows.loc[rows["arm"].eq("lr=1") & rows["seed"].eq(2), "state"] = state
    table = comparison.summary(results_of(rows, study_of()), METRIC)
    assert table.loc[1, "mean"] == pytest.approx(0.7)
    assert words(table)[1] == f"incomplete 2/3 seeds (1 {state})"
    assert f"(1 {state}): lr=1 seed 2." in answers.missing(results_of(rows, study_of()))


def test_each_arm_against_its_own_reference() -> None:
    values = [[0.60, 0.70, 0.55, 0.9], [0.62, 0.73, 0.60, 0.9], [0.58, 0.69, 0.59, 0.9]]
    study = study_of(arms=4, against={"lr=1": "lr=0", "lr=2": "lr=1"})
    table = comparison.summary(results_of(rows_of(values), study), METRIC)
    # lr=2 minus lr=1: -.15 -.13 -.10, p = .012904 (test_intervals), the larger of two under Holm
    assert table["difference"].tolist() == pytest.approx([np.nan, 0.106667, -0.126667, np.nan], abs=1e-6, nan_ok=True)
    assert table.loc[2, "p Holm"] == pytest.approx(0.012904, abs=1e-6)
    assert words(table) == ["baseline", "better", "worse", "not compared"]
    assert comparison.readable(table)["against"].tolist() == ["-", "lr=0", "lr=1", "-"]
    assert "against" not in comparison.readable(
        comparison.summary(results_of(rows_of(values), study_of(arms=4)), METRIC)
    )


def test_a_reference_that_is_not_the_baseline_is_called_so() -> None:
    values = [[0.60, 0.70, 0.55], [0.62, 0.73, 0.60], [0.58, None, 0.59]]
    study = study_of(arms=3, against={"lr=2": "lr=1"})
    found = words(comparison.summary(results_of(rows_of(values), study), METRIC))
    assert found == ["baseline", "incomplete 2/3 seeds (1 missing)", "not compared: lr=1 is incomplete (2/3 seeds)"]
    whole = [[0.60, 0.70, 0.55], [0.62, 0.73, 0.60], [0.58, 0.69, 0.59]]
    assert words(comparison.summary(results_of(rows_of(whole), study), METRIC)) == ["baseline", "reference", "worse"]


def compute_of(**columns: list[float]) -> pd.DataFrame:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, 0.69]])
    return rows.assign(**{name.replace("__", "/"): values * 3 for name, values in columns.items()})


def test_compute_has_a_column_where_the_arms_differ() -> None:
    rows = compute_of(parameters=[1e6, 2e6], network_evaluations=[50, 50], seconds__sample=[60.0, 61.0])
    shown = comparison.readable(comparison.summary(results_of(rows, study_of()), METRIC))
    assert shown["parameters"].tolist() == ["1,000,000", "2,000,000"]
    assert not {"evaluations per image", "sampling s", "GFLOP forward", "signal at T"} & set(shown.columns)
    rows = compute_of(gflop_forward=[0.5, 0.75], network_evaluations=[50, 100], seconds__sample=[60.0, 118.5])
    shown = comparison.readable(comparison.summary(results_of(rows, study_of()), METRIC))
    assert shown["GFLOP forward"].tolist() == ["0.5", "0.75"]
    assert shown["evaluations per image"].tolist() == ["50", "100"]
    assert shown["sampling s"].tolist() == ["60", "118.5"]


@pytest.mark.parametrize(("signal", "shown"), [([0.08, 0.006], True), ([0.04, 0.006], False), ([0.08, 0.08], False)])
def test_the_signal_that_is_left_stands_in_the_table_where_it_confounds(signal: list[float], shown: bool) -> None:
    results = results_of(compute_of(terminal_sqrt_alpha_bar=signal), study_of())
    table = comparison.readable(comparison.summary(results, METRIC))
    assert ("signal at T" in table) == shown
    if shown:
        assert table["signal at T"].tolist() == ["0.080 !", "0.006"]


def test_published_values_stand_beside_the_arm(miniature_record: Path) -> None:
    results = Results.open("schedules", miniature_record)
    shown = comparison.readable(comparison.summary(results, "accuracy/test"), results, "accuracy/test")
    assert shown["published"].tolist() == ["0.600", "-", "0.880"]
    # test of linear: mean .58, sd .02, t = 4.302653: sqrt((.086053)^2 x 4 / 3 + 1.96^2 x .24 / 72) = .150594;
    # of squaredcos_cap_v2: .78 .79 .83: mean .80, sd .026458: sqrt(.113838^2 x 4 / 3 + 1.96^2 x .1056 / 72) = .151366
    # .88 is outside of the interval of that mean, .80 -+ .0657, and inside of what one more training may give
    assert shown["predicted [95 %]"].tolist() == ["0.429 to 0.731", "-", "0.649 to 0.951"]
    # .88 - .60 against 1.96 sqrt((.1056 + .24) / 72) = .1358
    assert shown["published difference"].tolist() == ["-", "-", "+0.280, outside the noise of one evaluation (±0.136)"]
    assert "published" not in comparison.readable(comparison.summary(results, METRIC), results, METRIC)
    assert any("1.96 sqrt(p1 (1 - p1) / m" in line for line in protocol.table_notes(results, "accuracy/test"))
    assert not any("1.96 sqrt" in line for line in protocol.table_notes(results, METRIC))


def test_a_published_difference_inside_the_noise() -> None:
    rows = compute_of(objects__validation=[72, 72])
    study = study_of(published={"lr=0": {METRIC: 0.775}, "lr=1": {METRIC: 0.76}})
    results = results_of(rows, study)
    shown = comparison.readable(comparison.summary(results, METRIC), results, METRIC)
    assert shown["published difference"].tolist() == ["-", "-0.015, inside the noise of one evaluation (±0.138)"]
    results = results_of(rows, study | {"against": {}})
    alone = comparison.readable(comparison.summary(results, METRIC), results, METRIC)
    assert "published difference" not in alone  # without a reference there is no difference


def test_metrics_begin_with_the_studys_own(miniature_record: Path) -> None:
    results = Results.open("schedules", miniature_record)
    lists = [f"accuracy/{name}" for name in ("validation", "test", "new_test", "unseen")]
    assert results.metrics == lists
    other = results.of(results.study.model_copy(update={"metric": "accuracy_macro/test"}), results.rows)
    assert other.metrics == ["accuracy_macro/test", *lists]
