"""Tables: verdicts in words, holes that cannot be averaged away, the answer, the protocol, and escaping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_record

from analysis.narrative import answer as answers
from analysis.narrative import warnings as caveats
from analysis.tables import comparison as tables
from analysis.tables import factors as factorial
from analysis.tables import format as writing
from analysis.tables import scores as score_sheet
from analysis.tables import search as search_table
from study.record import reader

METRIC = "accuracy/validation"


def study_of(arms: int = 2, seeds: int = 3, **fields: Any) -> dict[str, Any]:
    names = [f"lr={index}" for index in range(arms)]
    study = {"study": "lr", "arms": names, "seeds": list(range(seeds)), "baseline_arm": "lr=0", "metric": METRIC}
    return study | {"factors": {"lr": list(range(arms))}, "command": "python study/run.py --study lr"} | fields


def rows_of(values: list[list[float | None]]) -> pd.DataFrame:
    """One row a trial from an array (seeds, arms); None is a missing trial."""
    return pd.DataFrame(
        [
            {
                "arm": f"lr={arm}",
                "seed": seed,
                "state": "missing" if value is None else "complete",
                METRIC: np.nan if value is None else value,
            }
            for seed, line in enumerate(values)
            for arm, value in enumerate(line)
        ]
    )


def verdicts(values: list[list[float | None]], metric: str = METRIC) -> list[str]:
    study = study_of(arms=len(values[0]), seeds=len(values), metric=metric)
    return tables.summary(rows_of(values).rename(columns={METRIC: metric}), study, metric)["verdict"].tolist()


def test_summary_of_the_miniature_by_hand(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    table = tables.summary(rows, study, METRIC).set_index("arm")
    assert list(table.index) == study["arms"]
    cosine = table.loc["schedule=cosine"]
    # .70 .73 .69 against .60 .62 .58: differences .10 .11 .11
    assert cosine[["mean", "difference"]].tolist() == pytest.approx([0.706667, 0.106667], abs=1e-6)
    assert cosine[["difference low", "difference high"]].tolist() == pytest.approx([0.092325, 0.121009], abs=1e-6)
    assert cosine["p sign-flip"] == 0.25
    assert table["n"].tolist() == [3, 3, 3]
    assert table["verdict"].tolist() == ["baseline", "better", "better"]


def test_verdicts() -> None:
    assert verdicts([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])[1] == "better"
    assert verdicts([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])[1] == "worse"
    assert verdicts([[0.6, 0.7]]) == ["baseline", "one training each: no interval"]
    assert verdicts([[0.6, 0.7], [0.6, 0.7], [0.6, 0.7]])[1].startswith("not separated: the same difference")


@pytest.mark.parametrize(
    "metric", ["spurious/test", "missing/test", "colour_only/test", "memorised", "x0_error/snr_0_2"]
)
def test_smaller_is_better_for_errors(metric: str) -> None:
    assert verdicts([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]], metric=metric)[1] == "better"


def test_smaller_is_better_for_seconds() -> None:
    assert verdicts([[10, 8.0], [10, 8.1], [10, 8.2]], metric="seconds/train")[1] == "better"


def test_not_separated_says_how_many_seeds() -> None:
    # differences .1, 0, -.01: mean .03, sd .06083, d = .493: 35 seeds for a power of .8
    assert verdicts([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])[1] == "not separated: needs about 35 seeds"
    assert verdicts([[0.6, 0.7], [0.6, 0.5], [0.6, 0.6001]])[1] == "not separated: needs more than 1,000 seeds"


def test_a_family_needs_more_seeds() -> None:
    """The same difference among three comparisons: .05 / 3 is what Holm asks of the first, so 46 seeds, not 35."""
    alone = [[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]]
    family = [[*line, 0.6 + luck, 0.6 - luck] for line, luck in zip(alone, (0.05, -0.06, 0.02), strict=True)]
    assert verdicts(family)[1] == "not separated: needs about 46 seeds"


def test_no_difference_larger_than() -> None:
    # .01 -.01 .003: mean .001, sd .0101489, half width 4.302653 x .0101489 / sqrt(3) = .025211
    equal = [[0.6, 0.61], [0.6, 0.59], [0.6, 0.603]]
    assert verdicts(equal)[1] == "no difference larger than 0.027"  # .026211, rounded up
    rows = rows_of(equal)
    for margin, verdict in (
        (0.027, "no difference larger than 0.027"),
        (0.026, "not separated: needs about 811 seeds"),
    ):
        study = study_of(margin=margin)
        assert tables.summary(rows, study, METRIC)["verdict"][1].startswith(verdict)
    assert "inside ±0.02 (the margin that the study names)" in "\n".join(answers.protocol(rows, study_of(margin=0.02)))
    assert "inside ±0.05 (the margin of accuracies" in "\n".join(answers.protocol(rows, study_of()))
    assert verdicts(equal, metric="seconds/train")[1].startswith("not separated")  # of seconds no margin is known
    assert answers.answer(rows, study_of()) == (
        "No difference larger than 0.027: in accuracy/validation the interval of every arm against lr=0 (0.600) lies "
        "inside ±0.05 (n = 3 training seeds an arm, 95 % paired t intervals, verdicts after Holm)."
    )
    unclear = [[*line, value] for line, value in zip(equal, (0.7, 0.6, 0.59), strict=True)]
    assert "8 of 10 studies, 1 arm has no difference larger than 0.027 (n = 3" in answer(unclear)


def test_what_is_found_is_said_at_the_level_of_the_family() -> None:
    values = [[0.6, 0.7, 0.5], [0.6, 0.6, 0.6], [0.6, 0.59, 0.61]]
    # sd of .1 0 -.01 is .0608276; of one comparison 3 seeds see 3.264 of it, of two 4.613 (integrated)
    assert "3 seeds find differences from 0.199 up" in answer([line[:2] for line in values])
    assert "3 seeds find differences from 0.281 up" in answer(values)
    protocol = answers.protocol(rows_of(values), study_of(arms=3))
    assert any("80 % power at .05 / 2, the first step of Holm and so the Bonferroni bound" in line for line in protocol)


def test_holm_takes_a_verdict_back() -> None:
    """p = .0351 alone is "better"; as one of three comparisons it is not."""
    alone = [[0.6, 0.66], [0.6, 0.69], [0.6, 0.72]]  # .06 .09 .12: t = .09 / (.03 / sqrt(3)) = 5.196
    assert verdicts(alone)[1] == "better"
    others = [[0.7, 0.5], [0.5, 0.7], [0.62, 0.58]]
    family = [line + more for line, more in zip(alone, others, strict=True)]
    assert verdicts(family)[1].startswith("not separated")


def test_a_hole_is_never_averaged_silently() -> None:
    table = tables.summary(rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, None]]), study_of(), METRIC)
    assert table["verdict"].tolist() == ["baseline", "hole: 2 of 3 seeds (1 missing)"]
    assert table["n"].tolist() == [3, 2]
    assert np.isnan(table.loc[1, ["difference", "difference low", "p", "p Holm"]].astype(float)).all()
    assert tables.readable(table)["n"].tolist() == ["3", "2/3"]


def test_a_complete_trial_without_a_number_is_a_hole_too() -> None:
    assert verdicts([[0.6, 0.7], [0.6, float("nan")], [0.6, 0.7]])[1] == "hole: 2 of 3 seeds (1 without a number)"
    assert verdicts([[0.6, 0.7], [0.6, float("inf")], [0.6, 0.7]])[1] == "hole: 2 of 3 seeds (1 without a number)"


def test_a_hole_in_the_baseline_stops_every_comparison() -> None:
    found = verdicts([[0.6, 0.7], [None, 0.7], [0.6, 0.7]])
    assert found == ["hole: 2 of 3 seeds (1 missing)", "not compared: the baseline has 2 of 3 seeds"]


@pytest.mark.parametrize("state", ["failed", "pruned", "missing"])
def test_scores_of_trials_that_are_not_complete_are_not_read(state: str) -> None:
    """A number left in the row of a failed or pruned trial must not enter a mean."""
    rows = rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, 99.0]])
    rows.loc[rows["arm"].eq("lr=1") & rows["seed"].eq(2), "state"] = state
    table = tables.summary(rows, study_of(), METRIC)
    assert table.loc[1, "mean"] == pytest.approx(0.7)
    assert table.loc[1, "verdict"] == f"hole: 2 of 3 seeds (1 {state})"
    assert f"(1 {state}): lr=1 seed 2." in answers.missing(rows, study_of())


def answer(values: list[list[float | None]], **fields: Any) -> str:
    return answers.answer(rows_of(values), study_of(arms=len(values[0]), seeds=len(values), **fields))


def test_answers() -> None:
    better = answer([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])
    assert "lr=1 is better by 0.110 [0.085, 0.135]" in better
    assert "n = 3" in better
    worse = answer([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])
    assert "lr=1 is worse by 0.110 [0.085, 0.135]" in worse
    unclear = answer([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])
    assert unclear.startswith("Not separated")
    assert "+0.030 [-0.121, +0.181]" in unclear
    assert "gives no interval" in answer([[0.6, 0.7]])
    assert "0.700 of lr=1, the baseline lr=0 has 0.600 (n = 1)" in answer([[0.6, 0.7]])
    assert answer([[None, None]]).startswith("No answer yet: none of the 2 trials")
    assert answer([[0.6, 0.7], [None, 0.7]]).startswith("No answer yet: 1 of 4 trials")
    assert "Preliminary: 1 arm has holes" in answer([[0.6, 0.70, None], [0.6, 0.71, 0.5], [0.6, 0.72, 0.5]])


def test_missing_names_the_trials_and_the_command() -> None:
    rows = rows_of([[0.6, 0.7], [0.6, None]])
    assert answers.missing(rows, study_of(seeds=2)) == (
        "1 of 4 trials is not complete (1 missing): lr=1 seed 1. "
        "To complete the study, run the same command again: python study/run.py --study lr"
    )
    assert answers.missing(rows_of([[0.6, 0.7]]), study_of(seeds=1)) == ""


def test_protocol_of_the_miniature(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    protocol = "\n".join(answers.protocol(rows, study))
    for words in (
        "n = 3 training seeds an arm (0, 1, 2)",
        "last step, EMA weights",
        "Sampler: ddpm",
        "s = 1 in eps_u + s (eps_c - eps_u)",
        "Evaluator: stand-in; its accuracy on images that it never saw: 0.97.",
        "cannot be below 0.25",
        "test: 72 objects, chance 0.200",
        # mean .688889 of 72 objects: sqrt(.688889 x .311111 / 72) = .0546
        "one evaluation at 0.689 has a standard error of 0.055",
        "Warning: schedule=linear: The schedule ends at sqrt(alpha_bar_T) = 0.080 > 0.05: sampling",
    ):
        assert words in protocol
    assert "Warning: schedule=cosine" not in protocol
    assert "Unequal compute" not in protocol


def test_mixed_evaluators_are_warned_of(tmp_path: Path) -> None:
    synthetic_record.make(tmp_path)
    for path in sorted(tmp_path.glob("trials/*/result.json"))[:2]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"evaluator_kind": "official"}))
    protocol = answers.protocol(reader.load("schedules", tmp_path), reader.load_study("schedules", tmp_path))
    assert any("different evaluators (" in line for line in protocol)


# --- references, compute and warnings ----------------------------------------------------------------


def test_each_arm_against_its_own_reference() -> None:
    values = [[0.60, 0.70, 0.55, 0.9], [0.62, 0.73, 0.60, 0.9], [0.58, 0.69, 0.59, 0.9]]
    study = study_of(arms=4, against={"lr=1": "lr=0", "lr=2": "lr=1"})
    table = tables.summary(rows_of(values), study, METRIC)
    # lr=2 minus lr=1: -.15 -.13 -.10, p = .012904 (test_intervals), the larger of two under Holm
    assert table["difference"].tolist() == pytest.approx([np.nan, 0.106667, -0.126667, np.nan], abs=1e-6, nan_ok=True)
    assert table.loc[2, "p Holm"] == pytest.approx(0.012904, abs=1e-6)
    assert table["verdict"].tolist() == ["baseline", "better", "worse", "not compared"]
    assert tables.readable(table)["against"].tolist() == ["-", "lr=0", "lr=1", "-"]
    assert "against" not in tables.readable(tables.summary(rows_of(values), study_of(arms=4), METRIC))


def test_a_reference_that_is_not_the_baseline_is_called_so() -> None:
    values = [[0.60, 0.70, 0.55], [0.62, 0.73, 0.60], [0.58, None, 0.59]]
    study = study_of(arms=3, against={"lr=2": "lr=1"})
    found = tables.summary(rows_of(values), study, METRIC)["verdict"].tolist()
    assert found == ["baseline", "hole: 2 of 3 seeds (1 missing)", "not compared: lr=1 has 2 of 3 seeds"]
    whole = [[0.60, 0.70, 0.55], [0.62, 0.73, 0.60], [0.58, 0.69, 0.59]]
    assert tables.summary(rows_of(whole), study, METRIC)["verdict"].tolist() == ["baseline", "reference", "worse"]


def test_the_answer_of_a_ladder_says_which_steps_helped() -> None:
    values = [[0.60, 0.70, 0.55, 0.56], [0.62, 0.73, 0.60, 0.60], [0.58, 0.69, 0.59, 0.585]]
    steps = {"lr=1": "lr=0", "lr=2": "lr=1", "lr=3": "lr=2"}
    assert answer(values, against=steps) == (
        "In accuracy/validation, each row against the row before it, 1 of 3 steps helped: lr=1 by 0.107 [0.092, "
        "0.121]; 1 hurt: lr=2 by 0.127 [0.064, 0.189]; 1 step has no difference larger than 0.021 "
        "(n = 3 training seeds an arm, 95 % paired t intervals, verdicts after Holm)."
    )
    own = answer(values, against={"lr=1": "lr=0", "lr=2": "lr=1"} | {"lr=3": "lr=0"})
    assert "each arm against its own reference" in own
    assert "lr=2 is worse than lr=1 by 0.127 [0.064, 0.189]" in own


def test_thirty_arms_are_answered_in_one_short_sentence() -> None:
    values = [[0.5 + 0.01 * arm + 0.001 * ((arm * seed) % 3) for arm in range(30)] for seed in range(3)]
    found = answer(values)
    assert len(found) < 420
    assert found.count(" is better by ") == 3
    assert "more arms are separated too" in found


def compute_of(**columns: list[float]) -> pd.DataFrame:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, 0.69]])
    return rows.assign(**{name.replace("__", "/"): values * 3 for name, values in columns.items()})


def test_compute_has_a_column_where_the_arms_differ() -> None:
    rows = compute_of(parameters=[1e6, 2e6], network_evaluations=[50, 50], seconds__sample=[60.0, 61.0])
    shown = tables.readable(tables.summary(rows, study_of(), METRIC))
    assert shown["parameters"].tolist() == ["1,000,000", "2,000,000"]
    assert not {"evaluations an image", "sampling s", "GFLOP forward", "signal at T"} & set(shown.columns)
    rows = compute_of(gflop_forward=[0.5, 0.75], network_evaluations=[50, 100], seconds__sample=[60.0, 118.5])
    shown = tables.readable(tables.summary(rows, study_of(), METRIC))
    assert shown["GFLOP forward"].tolist() == ["0.5", "0.75"]
    assert shown["evaluations an image"].tolist() == ["50", "100"]
    assert shown["sampling s"].tolist() == ["60", "118.5"]


@pytest.mark.parametrize(("signal", "shown"), [([0.08, 0.006], True), ([0.04, 0.006], False), ([0.08, 0.08], False)])
def test_the_signal_that_is_left_stands_in_the_table_where_it_confounds(signal: list[float], shown: bool) -> None:
    table = tables.readable(tables.summary(compute_of(terminal_sqrt_alpha_bar=signal), study_of(), METRIC))
    assert ("signal at T" in table) == shown
    if shown:
        assert table["signal at T"].tolist() == ["0.080 !", "0.006"]


def warned(rows: pd.DataFrame, arms: int = 2) -> list[str]:
    return caveats.warnings(rows[rows["state"] == "complete"], study_of(arms=arms))


def test_unequal_compute_is_told_by_arm() -> None:
    rows = compute_of(total_images=[64_000, 64_000], train_pflop=[0.5, 0.625], network_evaluations=[50, 1000])
    assert warned(rows) == [
        "Unequal compute across the arms: training PFLOP from 0.5 (lr=0) to 0.625 (lr=1); "
        "network evaluations an image from 50 (lr=0) to 1,000 (lr=1)."
    ]


def test_sentences_of_the_runner_name_their_arms_once() -> None:
    rows = rows_of([[0.6] * 6] * 2).assign(warnings="")
    rows.loc[rows["arm"] != "lr=3", "warnings"] = "No branch.\nToo few steps."
    rows.loc[rows["arm"] == "lr=3", "warnings"] = "Too few steps."
    assert warned(rows, arms=6) == [
        "lr=0, lr=1, lr=2, lr=4 and 1 more arms: No branch.",
        "lr=0, lr=1, lr=2, lr=3 and 2 more arms: Too few steps.",
    ]


def test_many_sentences_that_differ_in_numbers_become_one() -> None:
    rows = rows_of([[0.6] * 5]).assign(warnings=[f"{index} of 50 timesteps were never drawn." for index in range(5)])
    assert warned(rows.iloc[:3], arms=5) == [f"lr={i}: {i} of 50 timesteps were never drawn." for i in range(3)]
    assert warned(rows, arms=5) == [
        "lr=0, lr=1, lr=2, lr=3 and 1 more arms: 0 of 50 timesteps were never drawn. "
        "(so for lr=0; 4 more sentences with other numbers)"
    ]


def test_arms_that_start_from_other_noise_are_not_paired() -> None:
    rows = rows_of([[0.6, 0.7, 0.8], [0.6, 0.7, 0.8]]).assign(timesteps=1000, image_size=64)
    assert warned(rows, arms=3) == []  # an older record without digests
    rows = rows.assign(**{"noise_digest/test": "a", "noise_digest/unseen": "a", "noise_digest/new_test": "a"})
    assert warned(rows, arms=3) == []
    other = rows["arm"] == "lr=2"
    rows.loc[other, ["noise_digest/test", "noise_digest/unseen"]] = "b"
    assert warned(rows, arms=3) == [
        "lr=0, lr=1, lr=2 did not all start from the same noise on test, unseen: there they are not paired, and the "
        "intervals of their differences are wider than they need be."
    ]
    assert warned(rows.assign(timesteps=rows["timesteps"].mask(other, 500)), arms=3) == []  # no one could pair these
    assert warned(rows.assign(image_size=rows["image_size"].mask(other, 32)), arms=3) == []
    rows.loc[other, ["noise_digest/test", "noise_digest/unseen"]] = None
    assert warned(rows, arms=3) == []


def test_a_factor_that_did_not_reach_the_training_is_found() -> None:
    rows = rows_of([[0.6, 0.7, 0.8], [0.6, 0.7, 0.8]])
    rows["train_key"] = rows["arm"] + rows["seed"].astype(str)
    rows["weights_sha256"] = rows["arm"].replace("lr=2", "lr=1") + rows["seed"].astype(str)
    dead = "lr=1 and lr=2 have different settings but the same weights: the factor did not reach the training."
    assert warned(rows, arms=3) == [dead]
    shared = rows.assign(train_key=rows["weights_sha256"])  # arms that differ in sampling share a training by right
    assert warned(shared, arms=3) == []


# --- published ---------------------------------------------------------------------------------------


def test_published_values_stand_beside_the_arm(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    shown = tables.readable(tables.summary(rows, study, "accuracy/test"), study, "accuracy/test")
    assert shown["published"].tolist() == ["0.600", "-", "0.880"]
    # test of linear: .58 -+ .0497; of squaredcos_cap_v2: .78 .79 .83: mean .80, sd .026458, half width .0657
    assert shown["in our CI"].tolist() == ["yes", "-", "no"]
    # .88 - .60 against 1.96 sqrt((.1056 + .24) / 72) = .1358
    assert shown["published difference"].tolist() == ["-", "-", "+0.280, outside the noise of one evaluation (±0.136)"]
    assert "published" not in tables.readable(tables.summary(rows, study, METRIC), study, METRIC)
    assert any("1.96 sqrt(p1 (1 - p1) / m" in line for line in answers.table_notes(rows, study, "accuracy/test"))
    assert not any("1.96 sqrt" in line for line in answers.table_notes(rows, study, METRIC))


def test_a_published_difference_inside_the_noise() -> None:
    rows = compute_of(objects__validation=[72, 72])
    study = study_of(published={"lr=0": {METRIC: 0.775}, "lr=1": {METRIC: 0.76}})
    shown = tables.readable(tables.summary(rows, study, METRIC), study, METRIC)
    assert shown["published difference"].tolist() == ["-", "-0.015, inside the noise of one evaluation (±0.138)"]
    alone = tables.readable(tables.summary(rows, study | {"against": {}}, METRIC), study, METRIC)
    assert "published difference" not in alone  # without a reference there is no difference


# --- crossed factors -----------------------------------------------------------------------------------


def test_crossed_factors_by_hand() -> None:
    rows, study = crossed()
    # seed 0: .60 .58 / .55 .70; seed 1: .62 .60 / .57 .74; the means over seeds: .61 .59 / .56 .72, of all .62
    effects = factorial.effects_table(rows, study, METRIC).set_index("effect")
    assert list(effects.index) == [
        "drop_probability", "guidance_scale", "drop_probability x guidance_scale", "seed (block)", "rest",
    ]  # fmt: skip
    # p: .60 and .64, s: .585 and .655: SS 8 x .02^2 and 8 x .035^2; interaction .045: 8 x .045^2; seeds: 8 x .0125^2
    squares = [0.0032, 0.0098, 0.0162, 0.00125]
    assert effects["sum of squares"][:3].tolist() == pytest.approx(squares[:3])
    # rest: the cells of seed 1 lie .02 .02 .02 .04 above those of seed 0, mean .025: 2 x (3 x .0025^2 + .0075^2)
    total = sum(squares) + 0.00015
    assert effects["eta^2"].tolist() == pytest.approx([*(value / total for value in squares), 0.00015 / total])
    # rows of p: differences of the marginal means .035 and .045: t = .04 / (.0070711 / sqrt(2)) = 8, F = 64
    assert effects.loc["drop_probability", "F"] == pytest.approx(64)
    assert factorial.line(rows, study) == (
        "Shares of the variance of accuracy/validation (eta^2): drop_probability 0.10 (p 0.079), guidance_scale 0.32 "
        "(p 0.045), drop_probability x guidance_scale 0.53 (p 0.035), seed (block) 0.04, rest 0.00."
    )


def test_marginal_means_by_hand() -> None:
    rows, study = crossed()
    levels = factorial.levels_table(rows, study, METRIC)
    assert levels["factor"].tolist() == ["drop_probability"] * 2 + ["guidance_scale"] * 2
    assert levels["level"].tolist() == ["0.0", "0.1", "1.0", "2.0"]
    assert levels["mean"].tolist() == pytest.approx([0.60, 0.64, 0.585, 0.655])
    assert levels["n"].tolist() == [2, 2, 2, 2]  # seeds, not trials
    # .035 and .045: t(.975, 1 df) = 12.7062, half width 12.7062 x .0070711 / sqrt(2) = .063531
    assert levels.loc[1, ["difference", "difference low", "difference high"]].tolist() == pytest.approx(
        [0.04, 0.04 - 0.063531, 0.04 + 0.063531], abs=1e-6
    )
    assert levels.loc[1, "p Holm"] == pytest.approx(1 - 2 / np.pi * np.arctan(8))  # one contrast in the factor
    assert levels["verdict"].tolist()[::2] == ["baseline", "baseline"]
    assert levels["verdict"][1].startswith("not separated: needs about ")
    assert levels["verdict"][3] == "better"
    other = factorial.levels_table(rows, study | {"baseline_arm": "p=0.1 s=2.0"}, METRIC)
    assert other["difference"].tolist() == pytest.approx([-0.04, np.nan, -0.07, np.nan], nan_ok=True)


def test_contrasts_are_adjusted_within_the_factor() -> None:
    cells = {(p, s): ((0.5 + p + s, 0.52 + 1.2 * p + s),) * 2 for p in (0.0, 0.1, 0.2) for s in (0.0, 0.01)}
    cells = {cell: ((*values[0], 0.51 + 0.9 * cell[0] + cell[1]),) * 2 for cell, values in cells.items()}
    rows, study = crossed(
        cells, seeds=[0, 1, 2], factors={"drop_probability": [0.0, 0.1, 0.2], "guidance_scale": [0.0, 0.01]}
    )
    study["baseline_arm"] = "p=0.0 s=0.0"
    levels = factorial.levels_table(rows, study, METRIC)
    # .10 .12 .09 and twice that: the same t and p, and Holm over two doubles both
    assert levels.loc[1, "p Holm"] == pytest.approx(2 * levels.loc[1, "p"])
    assert levels.loc[2, "p Holm"] == pytest.approx(2 * levels.loc[2, "p"])


def test_only_complete_crossed_factors_are_analysed() -> None:
    rows, study = crossed()
    shuffled = study | {"arms": study["arms"][::-1]}
    assert factorial.effects_table(rows, shuffled, METRIC).equals(factorial.effects_table(rows, study, METRIC))
    holed = rows.assign(state=["missing", *rows["state"][1:]])
    fewer, lacking = crossed({cell: values for cell, values in CELLS.items() if cell != (0.1, 2.0)})
    one = study | {"factors": {"drop_probability": [0.0, 0.1]}}
    listed = study | {"factors": {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 3.0]}}
    searched = study | {"search": {"trials": []}}
    for table, fields in ((holed, study), (fewer, lacking), (rows, one), (rows, listed), (rows, searched)):
        assert factorial.effects_table(table, fields, METRIC).empty
        assert factorial.levels_table(table, fields, METRIC).empty
        assert factorial.line(table, fields) == ""


# --- score sheet ---------------------------------------------------------------------------------------


def test_the_score_sheet_by_hand() -> None:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, None]]).rename(columns={METRIC: "accuracy/test"})
    rows = rows.assign(**{"accuracy/validation": 0.5, "accuracy_2_objects/test": 0.4, "spurious/test": 0.1})
    rows = rows.assign(**{"ceiling/test": 0.97, "ceiling_images/test": 98, "memorised": 0.05})
    rows = rows.assign(**{"x0_error/snr_2_4": 0.2, "x0_error/snr_-2_0": 0.9, "x0_error/snr_-4_-2": 0.5})
    study = study_of(metric="accuracy/test")
    table = score_sheet.table(rows, study)
    found = table.set_index(["list", "arm", "score"])
    # .60 .62 .58: half width .04968 (test_intervals)
    assert found.loc[("test", "lr=0", "accuracy"), ["mean", "ci low"]].tolist() == pytest.approx(
        [0.6, 0.55032], abs=1e-5
    )
    assert found.loc[("test", "lr=1", "accuracy"), ["n", "planned"]].tolist() == [2, 3]
    lists, trial = score_sheet.readable(table)
    assert list(lists.columns) == ["list", "arm", "n", "accuracy", "spurious", "accuracy 2 objects", "ceiling"]
    assert lists["list"].tolist() == ["test", "test", "validation", "validation"]  # the study's own list first
    assert lists["n"].tolist() == ["3", "2/3", "3", "2/3"]
    assert lists.loc[0, "accuracy"] == "0.600 [0.550, 0.650]"
    assert lists.loc[2, "spurious"] == "-"
    assert lists.loc[0, ["ceiling", "spurious"]].tolist() == ["0.970", "0.100 [0.100, 0.100]"]
    x0 = [f"x0 error/snr {edges}" for edges in ("-4 -2", "-2 0", "2 4")]  # in the order of the noise
    assert list(trial.columns) == ["arm", "n", "memorised", *x0]
    notes = "\n".join(score_sheet.notes(rows, study))
    assert "with the list's label sets (test: 98 images)" in notes
    assert "memorised: share of" in notes
    assert "colour only" not in notes
    assert score_sheet.readable(score_sheet.table(rows_of([[None]]).drop(columns=METRIC), study_of(1, 1))) == []


# --- nuisance factors --------------------------------------------------------------------------------

# (p, s) -> validation of seeds 0, 1; test is another order, so that choosing on it would take other cells.
CELLS = {
    (0.0, 1.0): ((0.60, 0.62), (0.50, 0.52)),
    (0.0, 2.0): ((0.58, 0.60), (0.70, 0.70)),
    (0.1, 1.0): ((0.55, 0.57), (0.80, 0.80)),
    (0.1, 2.0): ((0.70, 0.74), (0.60, 0.63)),
}


def crossed(cells: dict[tuple[float, float], Any] = CELLS, **changed: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    arms = {f"p={p} s={s}": (p, s) for p, s in cells}
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "state": "complete",
            METRIC: cells[cell][0][seed],
            "accuracy/test": cells[cell][1][seed],
        }
        | {"drop_probability": cell[0], "guidance_scale": cell[1], "objects/test": 72, "objects/validation": 128}
        for arm, cell in arms.items()
        for seed in range(len(cells[cell][0]))
    ]
    study = {"arms": list(arms), "seeds": [0, 1], "baseline_arm": "p=0.0 s=1.0", "metric": METRIC, "command": "-"}
    study |= {"factors": {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 2.0]}}
    return pd.DataFrame(rows), study | {"nuisance": ["guidance_scale"]} | changed


def test_each_setting_at_its_best_nuisance_value_by_hand() -> None:
    rows, study = crossed()
    table = tables.best_of_nuisance(rows, study, "accuracy/test")
    assert table["arm"].tolist() == ["drop_probability=0.0", "drop_probability=0.1"]
    # on validation p = 0 takes s = 1 (.61 > .59) and p = .1 takes s = 2 (.72 > .56); on test both would take the other
    assert table["chosen"].tolist() == ["guidance_scale=1.0", "guidance_scale=2.0"]
    assert table["candidates"].tolist() == [2, 2]
    assert table["mean"].tolist() == pytest.approx([0.51, 0.615])
    # .60 - .50 and .63 - .52: mean .105, sd .0070711, t = 21 with 1 df: p = 1 - 2 atan(21) / pi = .030292
    assert table.loc[1, "difference"] == pytest.approx(0.105)
    assert table.loc[1, "p Holm"] == pytest.approx(0.030292, abs=1e-6)
    assert table["verdict"].tolist() == ["baseline", "better"]
    line = answers.nuisance_line(rows, study)
    assert line.startswith("Each drop_probability at its best guidance_scale of 2, chosen on accuracy/validation")
    assert "flatters validation itself" in line
    assert tables.readable(table)["chosen"].tolist() == table["chosen"].tolist()


def test_the_answer_of_a_crossed_study_is_read_where_nothing_was_chosen() -> None:
    rows, study = crossed()
    assert answers.answer(rows, study).startswith(
        "In accuracy/test, with each drop_probability at its best guidance_scale (chosen on accuracy/validation), "
        "against drop_probability=0.0 (0.510), drop_probability=0.1 is better by 0.105 ["
    )
    without = study | {"nuisance": []}
    assert tables.best_of_nuisance(rows, without, METRIC).empty
    assert "p=0.1 s=2.0" in answers.answer(rows, without)


def test_a_setting_with_a_hole_among_its_candidates_is_not_compared() -> None:
    rows, study = crossed()
    holed = rows.assign(state=rows["state"].mask((rows["arm"] == "p=0.1 s=1.0") & (rows["seed"] == 1), "failed"))
    table = tables.best_of_nuisance(holed, study, METRIC)
    assert table["verdict"].tolist() == ["baseline", "hole: 1 of 2 candidates are complete"]
    assert table["chosen"].tolist() == ["guidance_scale=1.0", "-"]
    assert np.isnan(table.loc[1, ["mean", "difference"]].astype(float)).all()
    holed = rows.assign(state=rows["state"].mask(rows["arm"] == "p=0.0 s=2.0", "missing"))
    table = tables.best_of_nuisance(holed, study, METRIC)
    assert table["verdict"].tolist() == [
        "hole: 1 of 2 candidates are complete",
        "not compared: the baseline's candidates have holes",
    ]


def test_a_setting_with_fewer_candidates_is_not_compared() -> None:
    rows, study = crossed({cell: values for cell, values in CELLS.items() if cell != (0.1, 1.0)})
    found = tables.best_of_nuisance(rows, study, METRIC)["verdict"].tolist()
    assert found == ["baseline", "not compared: 1 of the 2 candidates that others choose among"]


def test_a_factor_varies_alone_where_two_arms_differ_in_nothing_else() -> None:
    def trials(*settings: tuple[float, float]) -> list[dict[str, Any]]:
        return [{"config": {"drop_probability": p, "guidance_scale": s}} for p, s in settings]

    factors = {"factors": {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 2.0]}}
    assert tables.varies_alone(factors | {"trials": trials((0.0, 1.0), (0.0, 2.0))}, "guidance_scale")
    assert not tables.varies_alone(factors | {"trials": trials((0.0, 1.0), (0.1, 2.0))}, "guidance_scale")
    searched = factors | {"trials": trials((0.0, 1.0), (0.0, 2.0)), "search": {"trials": []}}
    assert not tables.varies_alone(searched, "guidance_scale")


# --- search ------------------------------------------------------------------------------------------


def test_a_search_is_told_with_its_selection_score(tmp_path: Path) -> None:
    record = synthetic_record.search(tmp_path)
    study, rows = reader.load_study("search", record), reader.load("search", record)
    searched = search_table.table(study)
    assert list(searched.columns) == ["trial", "state", "lr", "schedule", METRIC, "pruned at images", "chosen"]
    assert searched["state"].value_counts().to_dict() == {"complete": 18, "pruned": 5, "failed": 1}
    best = searched[searched["state"] == "complete"][METRIC].max()
    assert searched.loc[searched["chosen"] == "winner", METRIC].tolist() == [best]
    shown = search_table.readable(searched, study)
    assert shown.loc[7, [METRIC, "pruned at images"]].tolist() == ["-", "-"]
    assert shown.loc[3, "pruned at images"] == "16,000"
    mean = tables.summary(rows, study, METRIC).set_index("arm").loc["winner", "mean"]
    protocol = "\n".join(answers.protocol(rows, study))
    for words in (
        "Search: 24 of 24 search trials are done (18 complete, 5 pruned, 1 failed). A trial stops when",
        f"scored {best:.3f} in accuracy/validation on seed 0, the best of 18 complete trials chosen on that score, so",
        f"it has {mean:.3f} [",
        "on fresh seeds (n = 3).",
        f"Expected optimism: the best of 18 equally good settings looks 1.82 standard deviations better than it is, "
        # expected maximum of 18 normals 1.8200 (Teichroew 1956); objects: 128
        f"here {1.8200 * (best * (1 - best) / 128) ** 0.5:.3f}, with {(best * (1 - best) / 128) ** 0.5:.3f} = sqrt(p",
        "A lower bound of that deviation",
        "Importance by fANOVA (Hutter et al. 2014) over 17 complete trials: lr 0.79, schedule 0.21 (shares of variance",
        "in 18 trials, no test).",
    ):
        assert words in protocol
    found = answers.answer(rows, study)
    assert "winner is better by 0.1" in found
    assert f"on fresh seeds; its selection score, the best of 18 and so flattered, was {best:.3f} (n = 3" in found


def test_a_search_that_is_not_finished_has_no_answer(tmp_path: Path) -> None:
    record = synthetic_record.search(tmp_path, finished=False)
    study, rows = reader.load_study("search", record), reader.load("search", record)
    assert answers.answer(rows, study) == (
        "No answer yet: 23 of 30 search trials are done (18 complete, 4 pruned, 1 failed); the best so far, trial 16, "
        "has not been trained on fresh seeds."
    )
    assert search_table.table(study_of()).empty


# --- writing -----------------------------------------------------------------------------------------

HOSTILE = pd.DataFrame({"arm": ["a|b<i>_x_ 50% & $y$ {z} \\ \x1b[31m"], "verdict": ["x"]})


def test_text_is_aligned_and_has_no_control_characters() -> None:
    lines = writing.text(HOSTILE).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].index("verdict") == lines[2].index("x", 20)


def test_markdown_escapes_cells() -> None:
    line = writing.markdown(HOSTILE).splitlines()[2]
    assert line.startswith(r"| a\|b&lt;i>\_x\_ 50% &amp; $y$")
    assert writing.markdown(HOSTILE, ["n = 3"]).endswith("\n- n = 3\n")


def test_latex_escapes_cells() -> None:
    source = writing.latex(HOSTILE, ["50 % of\nit"])
    assert r"a|b<i>\_x\_ 50\% \& \$y\$ \{z\} \textbackslash{} ?[31m & x \\" in source
    assert source.startswith("% 50 % of?it\n\\begin{tabular}{ll}\n\\toprule\n")
    assert source.endswith("\\bottomrule\n\\end{tabular}\n")


def test_metrics_begin_with_the_studys_own(miniature_record: Path) -> None:
    rows = reader.load("schedules", miniature_record)
    assert tables.metrics(rows, {"metric": "accuracy_macro/test"})[0] == "accuracy_macro/test"
    assert tables.metrics(rows, {"metric": METRIC}) == [f"accuracy/{name}" for name in tables.LISTS]


def test_the_only_arm_is_answered_beside_its_published_value(tmp_path: Path) -> None:
    record = synthetic_record.planned(tmp_path, "report_r0", seeds=3)
    study = reader.load_study("report_r0", record)
    said = answers.answer(reader.load("report_r0", record), study)
    assert said.startswith("One arm, R0, with nothing to compare it with: accuracy/validation is 0.450 [0.407, 0.493]")
    assert "(published: 0.643, outside the interval)" in said
    assert said.endswith("(n = 3 training seeds, 95 % t intervals).")
