"""The question answered in one sentence, what is missing for it, and the protocol under the tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import synthetic_record
from frames import METRIC, lr_results, results_of, rows_of, study_of, words

from analysis.narrative import answer as answers
from analysis.narrative import protocol
from analysis.narrative.warnings import warnings
from analysis.results import Results
from analysis.tables import comparison
from analysis.tables.format import decimal


def answer(values: list[list[float | None]], **fields: Any) -> str:
    return answers.answer(results_of(rows_of(values), study_of(arms=len(values[0]), seeds=len(values), **fields)))


def test_answers() -> None:
    better = answer([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])
    assert "lr=1 is better by 0.110 [0.085, 0.135]" in better
    assert "n = 3" in better
    worse = answer([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])
    assert "lr=1 is worse by 0.110 [0.085, 0.135]" in worse
    unclear = answer([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])
    assert unclear.startswith(
        "Inconclusive: in accuracy/validation no arm is shown to be better or worse than lr=0 (0.600)"
    )
    assert "+0.030 [-0.121, +0.181]" in unclear
    assert "One training per arm gives no interval over seeds, and so no answer" in answer([[0.6, 0.7]])
    assert "lr=1 with 0.700, the baseline lr=0 has 0.600 (n = 1)" in answer([[0.6, 0.7]])
    assert answer([[None, None]]).startswith("No answer yet: none of the 2 trials")
    assert answer([[0.6, 0.7], [None, 0.7]]).startswith("No answer yet: 1 of 4 trials")
    assert "Preliminary: 1 arm is incomplete" in answer([[0.6, 0.70, None], [0.6, 0.71, 0.5], [0.6, 0.72, 0.5]])


def test_equivalent() -> None:
    # .01 -.01 .003: mean .001, sd .0101489, standard error .0058595; one-sided .05 at 2 df takes t = 2.919986
    equal = [[0.6, 0.61], [0.6, 0.59], [0.6, 0.603]]
    # so a margin of .001 + 2.919986 x .0058595 = .018110 is the smallest
    for margin, verdict in (
        (0.0182, "equivalent (within ±0.0182)"),
        (0.0180, "inconclusive ("),
    ):
        table = comparison.summary(lr_results(equal, margin=margin), METRIC)
        assert words(table)[1].startswith(verdict)
    own = "\n".join(protocol.protocol(lr_results(equal, margin=0.02)))
    assert "at .05, Holm-corrected over the family, exclude a difference of ±0.02, the study's margin for" in own
    reasoned = protocol.protocol(lr_results(equal, margin=0.02, margin_reason="a fiftieth"))
    assert any("the study's margin for accuracy/validation: a fiftieth." in line for line in reasoned)
    assert "exclude a difference of ±0.05, the default margin for accuracy." in "\n".join(
        protocol.protocol(lr_results(equal))
    )
    seconds = lr_results(equal, metric="seconds/train")  # no margin is known for seconds
    assert words(comparison.summary(seconds, "seconds/train"))[1] == "inconclusive"
    assert answer(equal) == (
        "Equivalent: in accuracy/validation the difference of every arm from lr=0 (0.600) is smaller than ±0.05; no 95 "
        "% CI extends beyond ±0.027 (n = 3 training seeds per arm, 95 % paired t intervals, Holm-corrected verdicts)."
    )
    unclear = [[*line, value] for line, value in zip(equal, (0.7, 0.6, 0.59), strict=True)]
    assert "with 80 % power; 1 arm is equivalent (n = 3" in answer(unclear)


def test_what_is_detected_is_said_at_the_level_of_the_family() -> None:
    values = [[0.6, 0.7, 0.5], [0.6, 0.6, 0.6], [0.6, 0.59, 0.61]]
    # sd of .1 0 -.01 is .0608276; were it the true one, one comparison of 3 seeds would see 3.264 of it, two 4.613
    for shown, arms, known in ((0.308, 2, 3.264), (0.368, 3, 4.613)):
        found = answer([line[:arms] for line in values])
        assert f"3 seeds detect differences of {shown:.3f} or more with 80 % power" in found
        assert shown > known * 0.0608276
    lines = protocol.protocol(lr_results(values))
    assert any("80 % power at .05 / 2, the first step of Holm's procedure" in line for line in lines)


def test_missing_names_the_trials_and_the_command() -> None:
    rows = rows_of([[0.6, 0.7], [0.6, None]])
    assert answers.missing(results_of(rows, study_of(seeds=2))) == (
        "1 of 4 trials is not complete (1 missing): lr=1 seed 1. "
        "To complete the study, run the same command again: python study/run.py --study lr"
    )
    assert answers.missing(results_of(rows_of([[0.6, 0.7]]), study_of(seeds=1))) == ""


def test_protocol_of_the_miniature(miniature_record: Path) -> None:
    results = Results.open("schedules", miniature_record)
    said = "\n".join(protocol.protocol(results))
    for expected in (
        "Unit of analysis: training run, n = 3 seeds per arm (0, 1, 2). Objects and 1 sampling pass are averaged",
        "last step, EMA weights",
        "Sampler: ddpm",
        "s = 1 in eps_u + s (eps_c - eps_u)",
        "Evaluator: surrogate. Its accuracy on 300 held-out images: 0.97.",
        "with 3 seeds its p is at least 0.25, 0.5 after Holm over 2 comparisons: it cannot confirm a verdict here",
        "test: 72 objects, chance level 0.200",
        # mean .688889 of 72 objects: sqrt(.688889 x .311111 / 72) = .0546
        "One evaluation at 0.689 has a standard error of 0.055",
        "Better and worse mean: on average over training seeds, for this evaluator, data split and list.",
    ):
        assert expected in said
    (warning,) = [line for line in warnings(results) if "The schedule ends" in line]
    assert warning.startswith("schedule=linear: The schedule ends at sqrt(alpha_bar_T) = 0.080 > 0.05: sampling")
    assert not any("Unequal compute" in line for line in warnings(results))


def test_the_answer_of_a_ladder_says_which_steps_helped() -> None:
    values = [[0.60, 0.70, 0.55, 0.56], [0.62, 0.73, 0.60, 0.60], [0.58, 0.69, 0.59, 0.585]]
    steps = {"lr=1": "lr=0", "lr=2": "lr=1", "lr=3": "lr=2"}
    assert answer(values, against=steps) == (
        "In accuracy/validation, each row against the row before it, 1 of 3 steps helped: lr=1 by 0.107 [0.092, "
        "0.121]; 1 hurt: lr=2 by 0.127 [0.064, 0.189]; 1 step is equivalent "
        "(n = 3 training seeds per arm, 95 % paired t intervals, Holm-corrected verdicts)."
    )
    own = answer(values, against={"lr=1": "lr=0", "lr=2": "lr=1"} | {"lr=3": "lr=0"})
    assert "each arm against its own reference" in own
    assert "lr=2 is worse than lr=1 by 0.127 [0.064, 0.189]" in own


def test_thirty_arms_are_answered_in_one_short_sentence() -> None:
    values = [[0.5 + 0.01 * arm + 0.001 * ((arm * seed) % 3) for arm in range(30)] for seed in range(3)]
    found = answer(values)
    assert len(found) < 440
    assert found.count(" is better by ") == 3
    assert "more arms are better or worse" in found


def test_the_only_arm_is_answered_beside_its_published_value(tmp_path: Path) -> None:
    record = synthetic_record.planned(tmp_path, "report_r0", seeds=3)
    said = answers.answer(Results.open("report_r0", record))
    assert said.startswith("One arm, R0, with nothing to compare it with: accuracy/validation is 0.4")
    interval = r"the prediction interval of one training, ([\d.]+) to ([\d.]+)"
    predicted = re.search(rf"\(published: 0.643, (inside|outside) {interval}\)", said)
    assert predicted is not None
    assert (float(predicted[2]) <= 0.643 <= float(predicted[3])) == (predicted[1] == "inside")
    assert said.endswith("(n = 3 training seeds, 95 % t intervals).")


@pytest.mark.parametrize(
    ("arms", "seeds", "said"),
    [
        (2, 6, "with 6 seeds its p is at least 0.0312."),
        (2, 5, "with 5 seeds its p is at least 0.0625: it cannot confirm a verdict here, which takes 6 seeds."),
        (3, 6, "0.0312, 0.0625 after Holm over 2 comparisons: it cannot confirm a verdict here, which takes 7 seeds."),
        (3, 7, "0.0156, 0.0312 after Holm over 2 comparisons."),
    ],
)
def test_what_the_sign_flip_test_can_show_depends_on_the_family(arms: int, seeds: int, said: str) -> None:
    values: list[list[float | None]] = [[0.5 + 0.01 * arm * seed for arm in range(arms)] for seed in range(seeds)]
    (line,) = [line for line in protocol.protocol(lr_results(values)) if line.startswith("Exact sign-flip test")]
    assert line.endswith(said)


def test_one_is_no_plural() -> None:
    """`1 comparisons`, `with 1 seeds`, `the baseline baseline has` and `-0.000` were printed."""
    said = "\n".join(protocol.protocol(lr_results([[0.5, 0.6], [0.5, 0.7]])))
    assert "Family: the 1 comparison on accuracy/validation." in said
    two = "\n".join(protocol.protocol(lr_results([[0.5, 0.6, 0.7], [0.5, 0.7, 0.8]])))
    assert "Family: the 2 comparisons on accuracy/validation." in two
    assert "1 of 4 trials is complete" in "\n".join(protocol.protocol(lr_results([[0.5, None], [None, None]])))
    rows = rows_of([[0.5, 0.6]]).replace({"arm": {"lr=0": "baseline"}})
    alone = results_of(rows, study_of(seeds=1, arms=2) | {"arms": ["baseline", "lr=1"], "baseline_arm": "baseline"})
    assert "with 0.600, the baseline has 0.500 (n = 1)" in answers.answer(alone)
    assert "-0.000" not in answer([[0.5001, 0.50], [0.5, 0.4998], [0.4999, 0.5]])
    assert decimal(-0.0001) == "0.000"
    assert (decimal(-0.0001, "+"), decimal(-0.0006, "+"), decimal(-12.0)) == ("+0.000", "-0.001", "-12")


def test_arms_that_tie_are_all_the_best() -> None:
    said = answer([[0.6, 0.6, 0.6]])
    assert "in accuracy/validation lr=0, lr=1 and lr=2 tie as the best arms with 0.600 (n = 1)." in said
    assert "lr=1 and lr=2 tie as the best arms with 0.700, the baseline lr=0 has 0.600" in answer([[0.6, 0.7, 0.7]])
    assert "the best arm is lr=1 with 0.700, the baseline lr=0 has 0.600" in answer([[0.6, 0.7, 0.65]])
