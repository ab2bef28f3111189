"""What limits an answer although nobody asked: unequal compute, dead factors, noise that is not shared."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import synthetic_record
from frames import METRIC, results_of, rows_of, study_of

from analysis.narrative.warnings import warnings
from analysis.results import Results


def compute_of(**columns: list[float]) -> pd.DataFrame:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, 0.69]])
    return rows.assign(**{name.replace("__", "/"): values * 3 for name, values in columns.items()})


def warned(rows: pd.DataFrame, arms: int = 2) -> list[str]:
    return warnings(results_of(rows, study_of(arms=arms)))


def test_unequal_compute_is_told_by_arm() -> None:
    rows = compute_of(total_images=[64_000, 64_000], train_pflop=[0.5, 0.625], network_evaluations=[50, 1000])
    assert warned(rows) == [
        "Unequal compute across the arms: training PFLOP from 0.5 (lr=0) to 0.625 (lr=1); "
        "network evaluations per image from 50 (lr=0) to 1,000 (lr=1)."
    ]


def test_a_study_that_learned_nothing_is_warned_of() -> None:
    """Nine trainings at chance are equal, and were called equivalent without a word."""
    rows = rows_of([[0.10, 0.12], [0.11, 0.10], [0.09, 0.11]]).assign(
        **{"chance/validation": 0.104, "objects/validation": 144}
    )
    assert warned(rows)[0].startswith("No trial scores above chance in accuracy/validation")
    assert warned(rows.assign(**{METRIC: rows[METRIC].where(rows["seed"] != 0, 0.6)})) == []


def test_sentences_of_the_runner_name_their_arms_once() -> None:
    rows = rows_of([[0.6] * 6] * 2).assign(warnings="")
    rows.loc[rows["arm"] != "lr=3", "warnings"] = "No branch.\nToo few steps."
    rows.loc[rows["arm"] == "lr=3", "warnings"] = "Too few steps."
    assert warned(rows, arms=6) == [
        "lr=0, lr=1, lr=2, lr=4 and 1 more arm: No branch.",
        "lr=0, lr=1, lr=2, lr=3 and 2 more arms: Too few steps.",
    ]


def test_many_sentences_that_differ_in_numbers_become_one() -> None:
    rows = rows_of([[0.6] * 5]).assign(warnings=[f"{index} of 50 timesteps were never drawn." for index in range(5)])
    assert warned(rows.iloc[:3], arms=5) == [f"lr={i}: {i} of 50 timesteps were never drawn." for i in range(3)]
    assert warned(rows, arms=5) == [
        "lr=0, lr=1, lr=2, lr=3 and 1 more arm: 0 of 50 timesteps were never drawn. "
        "(numbers of lr=0; 4 more such sentences with other numbers)"
    ]


def test_arms_that_start_from_other_noise_are_not_paired() -> None:
    rows = rows_of([[0.6, 0.7, 0.8], [0.6, 0.7, 0.8]]).assign(timesteps=1000, image_size=64)
    assert warned(rows, arms=3) == []  # an older record without digests
    rows = rows.assign(**{"noise_digest/test": "a", "noise_digest/unseen": "a", "noise_digest/new_test": "a"})
    assert warned(rows, arms=3) == []
    other = rows["arm"] == "lr=2"
    rows.loc[other, ["noise_digest/test", "noise_digest/unseen"]] = "b"
    assert warned(rows, arms=3) == [
        "lr=0, lr=1, lr=2 did not all start from the same initial noise on test, unseen: differences there are not "
        "paired by noise, and their intervals are wider than necessary."
    ]
    assert warned(rows.assign(timesteps=rows["timesteps"].mask(other, 500)), arms=3) == []  # no one could pair these
    assert warned(rows.assign(image_size=rows["image_size"].mask(other, 32)), arms=3) == []
    rows.loc[other, ["noise_digest/test", "noise_digest/unseen"]] = None
    assert warned(rows, arms=3) == []


def test_a_schedule_that_was_edited_between_trials_is_found() -> None:
    """Its trials are found by the schedule's name: an arm must not average two formulas unnoticed."""
    betas = ["d8c827d9aaa3", "472b1507697d"]
    (found,) = warned(compute_of(**{"treatment/beta_digest": betas}).assign(schedule="own(beta=0.02)", timesteps=1000))
    assert found.startswith("Trials with schedule=own(beta=0.02) and timesteps=1000 were trained with 2 different sets")
    assert not warned(compute_of(**{"treatment/beta_digest": betas}).assign(schedule=["a", "b"] * 3, timesteps=1000))


def test_a_factor_that_did_not_reach_the_training_is_found() -> None:
    rows = rows_of([[0.6, 0.7, 0.8], [0.6, 0.7, 0.8]])
    rows["train_key"] = rows["arm"] + rows["seed"].astype(str)
    rows["weights_sha256"] = rows["arm"].replace("lr=2", "lr=1") + rows["seed"].astype(str)
    dead = "lr=1 and lr=2 have different settings but the same weights: the factor did not reach the training."
    assert warned(rows, arms=3) == [dead]
    shared = rows.assign(train_key=rows["weights_sha256"])  # arms that differ in sampling share a training by right
    assert warned(shared, arms=3) == []


def test_a_limit_that_nobody_reached_is_a_caveat() -> None:
    """Two gradient-norm limits above every norm are one setting: a defect of nothing."""
    rows = rows_of([[0.6, 0.7], [0.6, 0.7]]).assign(clip_norm=[10.0, 20.0] * 2, lr=1e-3)
    rows["train_key"], rows["weights_sha256"] = rows["arm"] + rows["seed"].astype(str), rows["seed"].astype(str)
    rows["training_seed"] = rows["seed"]
    caveat = "lr=0 and lr=1 have the same weights: clip_norm made no difference to these trainings."
    assert warned(rows) == [caveat]
    (dead,) = warned(rows.assign(lr=[1e-3, 2e-3] * 2))  # the learning rate is no such limit
    assert dead.endswith("the factor did not reach the training.")
    (dead,) = warned(rows.assign(training_seed=[0, 1000, 1, 1001]))  # nor is the seed
    assert dead.endswith("the factor did not reach the training.")


def test_arms_that_were_trained_on_different_devices_are_marked() -> None:
    """A training that another trial made belongs to the device that trained it."""
    rows = rows_of([[0.6, 0.7, 0.8], [0.6, 0.7, 0.8]])
    assert warned(rows, arms=3) == []  # an older record
    alike = rows.assign(**{"device/train": "NVIDIA H100", "device/sample": "NVIDIA H100"})
    assert warned(alike, arms=3) == []
    assert warned(alike.assign(**{"device/train": [""] * 5 + ["NVIDIA H100"]}), arms=3) == []
    other = rows["arm"] == "lr=2"
    trained = alike.assign(**{"device/train": alike["device/train"].mask(other, "NVIDIA A100")})
    where = "different devices (NVIDIA H100: lr=0, lr=1; NVIDIA A100: lr=2): their seconds are not comparable"
    assert warned(trained, arms=3) == [
        f"The trials were trained on {where}, and on GPUs of different models arms of one seed did not see the same "
        "noise."
    ]
    assert warned(trained.assign(**{"device/sample": trained["device/train"]}), arms=3) == warned(trained, arms=3)
    sampled = alike.assign(**{"device/sample": trained["device/train"]})
    assert warned(sampled, arms=3) == [f"The trials were sampled on {where}, and their images may differ by rounding."]
    by_seed = alike.assign(**{"device/train": ["NVIDIA H100"] * 3 + ["NVIDIA A100"] * 3})
    assert warned(by_seed, arms=3) == [
        "The trials were trained on different devices (NVIDIA H100: lr=0, lr=1, lr=2; NVIDIA A100: lr=0, lr=1, lr=2): "
        "their seconds are not comparable; the arms of each seed share a device."
    ]


def test_a_result_of_an_older_version_has_the_device_of_its_environment(miniature_record: Path) -> None:
    rows = Results.open("schedules", miniature_record).rows
    assert set(rows["device/sample"]) == {"cpu"}
    assert "device/train" not in rows


def test_mixed_evaluators_are_warned_of(tmp_path: Path) -> None:
    synthetic_record.make(tmp_path)
    for path in sorted(tmp_path.glob("trials/*/result.json"))[:2]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"evaluator_kind": "official"}))
    assert any("different evaluators (" in line for line in warnings(Results.open("schedules", tmp_path)))
