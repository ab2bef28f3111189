"""What a report calls things: arms by their own names and settings, warnings once, ties as ties."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_record
from frames import results_of, rows_of, study_of

from analysis import figures
from analysis.narrative import evaluator, protocol
from analysis.narrative.warnings import warnings as warned
from analysis.plotting import labels, style
from analysis.results import Results
from analysis.tables import comparison
from analysis.tables.format import best, listed
from tests import synthetic_tasks

SAMPLERS = {
    "ddpm 2": "ddpm(steps=2)",
    "ddim 2 eta=0.0": "ddim(clipped_eps=True, steps=2)",
    "ddim 2 eta=1.0": "ddim(clipped_eps=True, eta=1.0, steps=2)",
}


def samplers(root: Path, **study: Any) -> Results:
    """Arms of one training per seed that are named otherwise than by their factor, all with one score."""
    base = replace(synthetic_record.BASELINE, sampler=SAMPLERS["ddim 2 eta=0.0"])
    arms = {arm: replace(base, sampler=sampler) for arm, sampler in SAMPLERS.items()}
    fields = {"study": "samplers", "factors": {"sampler": list(SAMPLERS.values())}, "baseline": base.to_dict()}
    synthetic_record.write(root, arms, lambda config: 0.7, **(fields | study))
    return Results.open("samplers", root)


@pytest.fixture(scope="module")
def of_samplers(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return samplers(tmp_path_factory.mktemp("samplers"))


def caption(name: str, results: Results) -> str:
    module = figures.load(name)
    return figures.caption(module, module.table(results), results)


# --- the baseline ------------------------------------------------------------------------------------


def test_the_factors_show_the_setting_of_the_baseline_arm(of_samplers: Results) -> None:
    """The arms are made of another setting than the first of them has."""
    assert of_samplers.study.baseline["sampler"] == "ddim(clipped_eps=True, steps=2)"
    assert comparison.factor_rows(of_samplers)["baseline"].tolist() == ["ddpm(steps=2)"]
    assert of_samplers.baseline_fields["sampler"] == "ddpm(steps=2)"
    assert of_samplers.baseline_fields["lr"] == of_samplers.study.baseline["lr"]


# --- ties --------------------------------------------------------------------------------------------


def test_names_of_a_sentence() -> None:
    assert best(["a", "b", "c"], [0.1, 0.3, 0.1 + 0.2]) == ["b", "c"]
    assert best(["a", "b"], [np.nan, -1.0]) == ["b"]
    assert [listed(list("abcde"[:n])) for n in (1, 2, 3, 5)] == ["a", "a and b", "a, b and c", "a, b, c and 2 more"]


def test_captions_name_all_that_tie(of_samplers: Results) -> None:
    assert "validation: ddpm 2, ddim 2 eta=0.0 and ddim 2 eta=1.0 tie at 0.700;" in caption(
        "accuracy_by_arm", of_samplers
    )
    assert "ddpm 2 0.700 [0.700, 0.700] (n = 3, tied with ddim 2 eta=0.0 and ddim 2 eta=1.0)" in caption(
        "accuracy_by_cost", of_samplers
    )


# --- warnings ----------------------------------------------------------------------------------------


def test_sentences_over_the_same_arms_become_one() -> None:
    """Seeds of every arm that met one timestep of two that was never drawn, and two."""
    rows = rows_of([[0.6] * 3, [0.6] * 3, [0.6] * 3])
    rows["warnings"] = [f"Never drew ({1 + seed % 2} of 2)." for seed in rows["seed"]]
    assert warned(results_of(rows, study_of(arms=3))) == ["lr=0, lr=1, lr=2: Never drew (1 to 2 of 2)."]
    rows.loc[rows["arm"] == "lr=2", "warnings"] = "Never drew (2 of 20)."
    assert warned(results_of(rows, study_of(arms=3))) == [
        "lr=0, lr=1: Never drew (1 to 2 of 2).",
        "lr=2: Never drew (2 of 20).",
    ]


def test_nothing_warns_from_below(tmp_path: Path) -> None:
    """A page of one sentence has no axes to lay out; an arm with one complete training has no spread."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with style.look():
            style.save(labels.blank("No trial is complete yet."), tmp_path / "blank")
        results = results_of(
            rows_of([[0.6, 0.7], [0.61, None]]), study_of(published={"lr=1": {"accuracy/validation": 0.7}})
        )
        table = comparison.summary(results, results.metric)
        assert comparison.readable(table, results, results.metric)["predicted [95 %]"].tolist() == ["-", "-"]


# --- arms --------------------------------------------------------------------------------------------


def test_arms_that_share_their_trainings_keep_their_names(of_samplers: Results, tmp_path: Path) -> None:
    """`ddpm 2` and `ddim 2` share the word 2, which names nothing."""
    assert "all 3 arms (one training): loss" in caption("learning_curves", of_samplers)
    guided = {f"guidance_scale={s}": replace(synthetic_record.BASELINE, guidance_scale=s) for s in (0.0, 1.0, 2.0)}
    own = {"lr=0.1 long name": replace(synthetic_record.BASELINE, lr=0.1)}
    factors = {"guidance_scale": [0.0, 1.0, 2.0]}
    synthetic_record.write(tmp_path, guided | own, lambda config: 0.7 - 0.01 * config.guidance_scale, factors=factors)
    results = Results.open("study", tmp_path)
    assert "guidance_scale=0.0 and 2 more (one training) 0." in caption("error_by_noise_level", results)
    assert "validation: guidance_scale=0.0 0.700 [" in caption("accuracy_by_arm", results)
    module = figures.load("denoising_strips")
    drawn = figures.draw(module, module.table(results), results)
    assert "guidance_scale=0.0" in [text.get_text() for axes in drawn.axes for text in axes.texts]


# --- the evaluator -----------------------------------------------------------------------------------


def evaluated(root: Path, task: dict[str, Any], **columns: Any) -> Results:
    results = Results.open("schedules-smoke", synthetic_record.make(root, seeds=[0], task=task))
    return results.of(results.study, results.rows.assign(**columns))


def test_an_evaluator_at_chance_is_blamed_instead_of_the_trainings(tmp_path: Path) -> None:
    """Right in none of 15 images of ten classes: its scores at chance say nothing of a training."""
    task = synthetic_tasks.classes() | {"images": {"train": 60, "held_out": 15}}
    columns = {"evaluator_held_out_accuracy": 0.0, "accuracy/validation": 0.1, "chance/validation": 0.1}
    results = evaluated(tmp_path, task, **columns)
    said = warned(results)
    assert said[0].startswith(
        "The surrogate evaluator recognises no more of the held-out images than chance (accuracy 0.000 on 15 held-out "
        "images, chance 0.100): scores mean nothing, whatever the trainings learned."
    )
    assert not any("learned nothing" in sentence for sentence in said)
    assert any("Its accuracy on 15 held-out images: 0." in line for line in protocol.protocol(results))
    good = results.of(results.study, results.rows.assign(evaluator_held_out_accuracy=0.9))
    assert warned(good)[0].startswith("No trial scores above chance")  # then the trainings are to blame


def test_an_evaluator_of_few_images_or_of_several(tmp_path: Path) -> None:
    """.25 + 1.645 sqrt(.25 x .75 / 80) = .330; of sets, chance is that of the lists, .2: .2 + 1.645 sqrt(.16 / 80)."""
    turns = evaluated(tmp_path / "turns", synthetic_tasks.unlabelled(), evaluator_held_out_accuracy=0.32)
    assert "is not shown to recognise more of the held-out images than chance (accuracy 0.320 on 80" in warned(turns)[0]
    assert not evaluator.at_chance(turns.of(turns.study, turns.rows.assign(evaluator_held_out_accuracy=0.34)))
    several = {"evaluator_held_out_accuracy": 0.9, "evaluator_1_held_out_accuracy": 0.19}
    (said,) = evaluator.at_chance(evaluated(tmp_path / "sets", synthetic_tasks.sets(), **several))
    assert said.startswith(
        "1 of 2 surrogate evaluators recognises no more of the held-out images than chance (accuracy"
    )
    assert not evaluator.at_chance(evaluated(tmp_path / "none", synthetic_tasks.classes()))
