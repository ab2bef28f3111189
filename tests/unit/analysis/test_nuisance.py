"""Each setting at its best nuisance value: by hand, and what the choice does to mean, interval and verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frames import METRIC, crossed, results_of, words

from analysis.narrative import answer as answers
from analysis.narrative import protocol
from analysis.stats import intervals, nested, planning
from analysis.tables import nuisance

TEST = "accuracy/test"


def test_each_setting_at_its_best_nuisance_value_by_hand() -> None:
    """Two seeds: too few to choose without one."""
    rows, study = crossed()
    table = nuisance.table(results_of(rows, study), TEST)
    assert table["arm"].tolist() == ["drop_probability=0.0", "drop_probability=0.1"]
    # on validation p = 0 takes s = 1 (.61 > .59) and p = .1 takes s = 2 (.72 > .56); on test both would take the other
    assert table["chosen"].tolist() == ["guidance_scale=1.0", "guidance_scale=2.0"]
    assert table["candidates"].tolist() == [2, 2]
    assert table["mean"].tolist() == pytest.approx([0.51, 0.615])
    # .60 - .50 and .63 - .52: mean .105, sd .0070711, t = 21 with 1 df: p = 1 - 2 atan(21) / pi = .030292
    assert table.loc[1, "difference"] == pytest.approx(0.105)
    assert table.loc[1, "p Holm"] == pytest.approx(0.030292, abs=1e-6)
    assert words(table) == ["baseline", "better"]
    assert nuisance.readable(table)["chosen"].tolist() == table["chosen"].tolist()
    said = nuisance.note(results_of(rows, study))
    assert said.startswith(
        "Each drop_probability has its best guidance_scale of 2, chosen on accuracy/validation by all"
    )
    assert "3 seeds allow to choose without the seed that is read" in said
    assert said in protocol.protocol(results_of(rows, study))


# (p, s) -> validation and test of seeds 0, 1, 2.
THREE: dict[tuple[float, float], Any] = {
    (0.0, 1.0): ((0.60, 0.60, 0.66), (0.50, 0.52, 0.57)),
    (0.0, 2.0): ((0.61, 0.62, 0.60), (0.54, 0.53, 0.52)),
    (0.1, 1.0): ((0.70, 0.71, 0.72), (0.60, 0.61, 0.65)),
    (0.1, 2.0): ((0.50, 0.51, 0.52), (0.70, 0.70, 0.70)),
}


def test_a_value_is_chosen_without_the_seed_that_is_read() -> None:
    results = results_of(*crossed(THREE, seeds=[0, 1, 2]))
    table = nuisance.table(results, TEST)
    # p = 0: all seeds choose s = 1 (.62 > .61). Without seed 0 .63 > .61: s = 1, read .50; without seed 1 .63 > .605:
    # s = 1, read .52; without seed 2 .60 < .615: s = 2, read .52. The chosen arm itself has .53 on test.
    assert table.loc[0, "mean"] == pytest.approx((0.50 + 0.52 + 0.52) / 3)
    assert table.loc[1, "mean"] == pytest.approx((0.60 + 0.61 + 0.65) / 3)
    assert table["agreeing"].tolist() == [2, 3]
    assert nuisance.readable(table)["chosen"].tolist() == ["guidance_scale=1.0 (in 2 of 3)", "guidance_scale=1.0"]
    # Jackknife: without seed 0, seed 1 takes s = 1 by seed 2 (.66 > .60) and seed 2 takes s = 2 by seed 1: .52 .52;
    # without 1: s = 1 and s = 2: .50 .52; without 2: s = 2 twice (.62 > .60, .61 > .60): .54 .53. Means .52 .51 .535.
    without = np.array([0.52, 0.51, 0.535])
    se = np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum())
    half = 4.302653 * se  # t of 2 df
    assert table.loc[0, ["ci low", "ci high"]].tolist() == pytest.approx([0.513333 - half, 0.513333 + half], abs=1e-5)
    # a difference is that of the pseudo-values; of p = .1 all choose s = 1, whose jackknife is the t interval
    own = np.array([0.60, 0.61, 0.65])
    difference = own - (0.513333 - 2 * (without - without.mean()))
    low, high = intervals.t_interval(difference)
    assert table.loc[1, ["difference low", "difference high"]].tolist() == pytest.approx([low, high], abs=1e-5)
    assert "p sign-flip" not in nuisance.readable(table)


def test_what_stands_under_the_table_says_how_it_was_chosen() -> None:
    said = nuisance.note(results_of(*crossed(THREE, seeds=[0, 1, 2])))
    assert "by the mean over the other seeds, and read at the seed left out" in said
    assert "validation itself has no such table" in said
    assert "verdicts are on accuracy/test alone" in said
    assert "All values of guidance_scale share their trainings, so none is chosen for a lucky training" in said
    rows, study = crossed(THREE, seeds=[0, 1, 2], nuisance=["drop_probability"])  # of the training
    assert "Each value of drop_probability has its own trainings, and the lists share them." in nuisance.note(
        results_of(rows, study)
    )
    two = crossed(nuisance=["drop_probability"])
    assert "The mean is optimistically biased by that, by about 0.0" in nuisance.note(results_of(*two))
    assert nuisance.note(results_of(rows, study | {"nuisance": []})) == ""


def test_the_protocol_is_about_the_settings_and_not_about_the_cells() -> None:
    """Two settings are one comparison, on test; before, their four arms were three, on the list of choice."""
    results = results_of(*crossed(THREE, seeds=[0, 1, 2]))
    assert nuisance.judged(results).comparisons == 1
    assert results.comparisons == 3
    text = "\n".join(protocol.protocol(results))
    assert "80 % power at .05 / 1," in text
    assert "margin for accuracy" in text
    (sentence,) = [line for line in answers.answer(results).splitlines() if line.startswith("Inconclusive")] or [""]
    if sentence:
        sd, df = intervals.pooled(nuisance.judged(results).differences(TEST))
        assert f"{planning.detectable_difference(sd, 3, comparisons=1, df=df):.3f}" in sentence


def test_the_list_of_choice_has_no_table_and_other_lists_no_verdict() -> None:
    rows, study = crossed(THREE, seeds=[0, 1, 2])
    rows = rows.assign(**{"accuracy/new_test": rows[TEST], "objects/new_test": 84})
    results = results_of(rows, study)
    assert nuisance.table(results, METRIC).empty
    assert "verdict" in nuisance.table(results, TEST)
    described = nuisance.table(results, "accuracy/new_test")
    assert "verdict" not in described
    assert described[["p", "p Holm", "p sign-flip"]].isna().all(axis=None)
    assert described.loc[1, "difference low"] == nuisance.table(results, TEST).loc[1, "difference low"]
    assert not {"p Holm", "verdict"} & set(nuisance.readable(described))
    # a score of the same list is read elsewhere as well
    macro = rows.assign(**{"accuracy_macro/validation": rows[METRIC], "accuracy_macro/test": rows[TEST]})
    of_macro = results_of(macro, study | {"metric": "accuracy_macro/validation"})
    assert nuisance.metric_that_answers(of_macro) == "accuracy_macro/test"
    assert nuisance.table(of_macro, "accuracy_macro/validation").empty


def test_one_training_per_arm_has_a_table_without_intervals() -> None:
    cells = {cell: tuple(scores[:1] for scores in lists) for cell, lists in THREE.items()}
    results = results_of(*crossed(cells, seeds=[0]))
    shown = nuisance.readable(nuisance.table(results, TEST))
    assert shown["mean [95 % CI]"].tolist() == ["0.540", "0.600"]
    assert shown["verdict"].map(str).tolist() == ["baseline", "one training per arm: no interval over seeds"]
    assert "optimistically biased by that, and intervals" in nuisance.note(results)


def test_the_answer_of_a_crossed_study_is_read_where_nothing_was_chosen() -> None:
    rows, study = crossed()
    assert answers.answer(results_of(rows, study)).startswith(
        "In accuracy/test, with each drop_probability at its best guidance_scale (chosen on accuracy/validation), "
        "against drop_probability=0.0 (0.510), drop_probability=0.1 is better by 0.105 ["
    )
    assert "(chosen on accuracy/validation by the other seeds)" in answers.answer(
        results_of(*crossed(THREE, seeds=[0, 1, 2]))
    )
    without = study | {"nuisance": []}
    assert nuisance.table(results_of(rows, without), TEST).empty
    assert "p=0.1 s=2.0" in answers.answer(results_of(rows, without))


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_setting_with_an_incomplete_candidate_is_not_compared(seeds: int) -> None:
    rows, study = crossed(seeds=[0, 1]) if seeds == 2 else crossed(THREE, seeds=[0, 1, 2])
    holed = rows.assign(state=rows["state"].mask((rows["arm"] == "p=0.1 s=1.0") & (rows["seed"] == 1), "failed"))
    table = nuisance.table(results_of(holed, study), TEST)
    assert words(table) == ["baseline", "incomplete 1/2 candidates"]
    assert table["chosen"].tolist() == ["guidance_scale=1.0", "-"]
    assert np.isnan(table.loc[1, ["mean", "difference"]].astype(float)).all()
    holed = rows.assign(state=rows["state"].mask(rows["arm"] == "p=0.0 s=2.0", "missing"))
    table = nuisance.table(results_of(holed, study), TEST)
    assert words(table) == [
        "incomplete 1/2 candidates",
        "not compared: the baseline is incomplete (1/2 candidates)",
    ]


def test_a_setting_with_fewer_candidates_is_not_compared() -> None:
    rows, study = crossed({cell: values for cell, values in THREE.items() if cell != (0.1, 1.0)}, seeds=[0, 1, 2])
    found = words(nuisance.table(results_of(rows, study), TEST))
    assert found == ["baseline", "not compared: chosen from 1 candidate, other settings from 2"]


# --- simulation --------------------------------------------------------------------------------------

STUDIES = 2000
VALUES = 6
TRAINING, SAMPLING = 0.021, 0.02  # standard deviations of a training's own part, and of one list's sampling
Scores = tuple[intervals.Array, intervals.Array]


def studies(
    seed: int, seeds: int, training: float = TRAINING, sampling: float = SAMPLING, shared: bool = False
) -> Scores:
    """Two lists of STUDIES studies of six equally good values, (studies, seeds, values) each; with `shared` trainings a
    training's part is the same for all values, but for a third of its spread."""
    rng = np.random.default_rng(seed)
    own = training * rng.normal(size=(STUDIES, seeds, VALUES))
    if shared:
        own = own / 3 + training * rng.normal(size=(STUDIES, seeds, 1))
    lists = own + sampling * rng.normal(size=(2, STUDIES, seeds, VALUES))
    return lists[0], lists[1]


def read(choice: intervals.Array, report: intervals.Array) -> dict[str, float]:
    """Mean over studies of the chosen value, whose true score is 0: on the list of choice, on the reported one, and
    there by the value that the other seeds chose."""
    plain = choice.mean(axis=1).argmax(axis=1)
    places = np.arange(len(choice))
    nested_means = [nested.mean_left_out(*pair) for pair in zip(choice, report, strict=True)]
    return {
        "choice": float(choice.mean(axis=1)[places, plain].mean()),
        "report": float(report.mean(axis=1)[places, plain].mean()),
        "nested": float(np.mean(nested_means)),
    }


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_choice_biases_the_report_and_the_nested_choice_does_not(seeds: int) -> None:
    """Six values that differ in training: .011 at three seeds on the reported list, .021 on that of the choice."""
    found = read(*studies(seeds, seeds))
    expected = planning.expected_maximum(VALUES) / np.sqrt((TRAINING**2 + SAMPLING**2) * seeds)
    assert found["report"] == pytest.approx(expected * TRAINING**2, abs=0.001)
    assert found["report"] > 0.008
    assert found["choice"] == pytest.approx(expected * (TRAINING**2 + SAMPLING**2), abs=0.001)
    assert abs(found["nested"]) < 0.0012  # three standard errors of the simulation


def test_values_that_share_their_trainings_are_hardly_biased_elsewhere() -> None:
    """Nothing is gained by choosing among lucky trainings: .016 on the list of choice, .002 on another."""
    found = read(*studies(8, 3, shared=True))
    assert found["choice"] > 0.013
    assert 0 < found["report"] < 0.004
    assert abs(found["nested"]) < 0.0015


def test_the_printed_optimism_is_that_of_the_simulation() -> None:
    choice, report = studies(4, 2)
    printed = nested.optimism(choice, report)
    assert printed == pytest.approx(read(choice, report)["report"], abs=0.0015)  # three standard errors
    shared = studies(5, 2, shared=True)
    assert nested.optimism(*shared) == pytest.approx(read(*shared)["report"], abs=0.0015)
    assert np.isnan(nested.optimism(choice[:, :1], report[:, :1]))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sampling", [SAMPLING, 0.005])
def test_verdicts_of_the_nested_choice_hold_their_level(seeds: int, sampling: float) -> None:
    """Two settings without a difference: of the second one value is far better than the rest, so that nothing biases
    it; or both have equal values. What is read at the seeds is no sample: its t test has up to .10 false positives."""
    first, other = studies(10 + seeds, seeds, sampling=sampling), studies(20 + seeds, seeds, sampling=sampling)
    clear = np.where(np.arange(VALUES) == 0, 0, -0.3)
    of_clear = tuple(values + clear for values in other)
    false: dict[str, list[bool]] = {"equal": [], "clear": [], "read": []}
    for study in range(STUDIES):
        pseudo = [nested.pseudo_values(*(values[study] for values in pair)) for pair in (first, other, of_clear)]
        false["equal"].append(intervals.paired_t(pseudo[1] - pseudo[0]) < 0.05)
        false["clear"].append(intervals.paired_t(pseudo[2] - pseudo[0]) < 0.05)
        picks = [pair[1][study][np.arange(seeds), nested.left_out(pair[0][study])] for pair in (first, other)]
        false["read"].append(intervals.paired_t(picks[1] - picks[0]) < 0.05)
    shares = {name: float(np.mean(found)) for name, found in false.items()}
    assert 0.005 < shares["equal"] <= 0.06, shares
    assert 0.005 < shares["clear"] <= 0.06, shares
    assert shares["read"] > (0.05 if sampling == SAMPLING else 0.09), shares
