"""Outcomes of single objects, read in the order of the list; and what a study of one training per arm may say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_record
from frames import results_of, words

from analysis.narrative import answer as answers
from analysis.narrative import protocol
from analysis.results import Results
from analysis.tables import comparison, outcomes
from runners.tasks.iclevr.labels import LABELS

METRIC = "accuracy/test"


def write(folder: Path, conditions: list[list[str]], seen: list[list[list[str]]], name: str = "test") -> Path:
    """`seen`: pass by pass, condition by condition, the labels that the evaluator named."""
    folder.mkdir(parents=True, exist_ok=True)
    array = np.array([[[label in labels for label in LABELS] for labels in one] for one in seen])
    np.savez_compressed(folder / "outcomes.npz", **{name: array})  # type: ignore[arg-type]
    (folder / "conditions.json").write_text(json.dumps({name: conditions}))
    return folder


def test_hits_by_hand(tmp_path: Path) -> None:
    conditions = [["red cube"], ["yellow cylinder", "gray cube"]]  # the last label and the first
    first = [["red cube"], ["gray cube", "red cube"]]  # a red cube in the second picture was not asked for
    second = [["blue cube"], ["yellow cylinder", "gray cube"]]
    found = outcomes.hits(write(tmp_path, conditions, [first, second]), "test")
    assert found.keys == ((0, "red cube"), (1, "yellow cylinder"), (1, "gray cube"))
    assert found.hit_KO.tolist() == [[True, False, True], [False, True, True]]
    assert found.conditions.tolist() == [0, 1, 1]


def test_conditions_that_ask_for_the_same_are_one(tmp_path: Path) -> None:
    conditions = [["red cube", "gray cube"], ["red cube"], ["gray cube", "red cube"]]
    found = outcomes.hits(write(tmp_path, conditions, [conditions]), "test")
    assert found.conditions.tolist() == [0, 0, 1, 2, 2]
    assert found.label_sets.tolist() == [0, 0, 1, 0, 0]


def damaged(folder: Path, how: str) -> None:
    path = folder / "outcomes.npz"
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:50])
    elif how == "shape":
        np.savez_compressed(path, test=np.zeros((1, 7, 24), dtype=bool))
    elif how == "kind":
        np.savez_compressed(path, test=np.zeros((1, 1, 24)))
    elif how == "pickle":
        np.savez_compressed(path, test=np.array([[print]], dtype=object))
    elif how == "label":
        (folder / "conditions.json").write_text(json.dumps({"test": [["pink cone"]]}))
    else:
        (folder / "conditions.json").write_text(json.dumps({"test": 5}))


@pytest.mark.parametrize("how", ["missing", "truncated", "shape", "kind", "pickle", "label", "no list"])
def test_damaged_outcomes_are_refused_in_one_sentence(how: str, tmp_path: Path) -> None:
    write(tmp_path, [["red cube"]], [[["red cube"]]])
    assert outcomes.hits(tmp_path, "test").hit_KO.tolist() == [[True]]
    damaged(tmp_path, how)
    with pytest.raises(ValueError, match="outcomes of 'test'"):
        outcomes.hits(tmp_path, "test")


def single(tmp_path: Path, found: dict[str, list[bool]], **study: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A study of one training per arm; each object has a picture of its own."""
    conditions = [[LABELS[index % 24]] for index in range(len(next(iter(found.values()))))]
    rows = []
    for arm, hit in found.items():
        wrong = [[LABELS[(index + 1) % 24]] for index in range(len(hit))]
        seen = [right if ok else other for right, other, ok in zip(conditions, wrong, hit, strict=False)]
        folder = write(tmp_path / arm, conditions[: len(hit)], [seen])
        row = {"arm": arm, "seed": 0, "state": "complete", "folder": str(folder), METRIC: np.mean(hit)}
        rows.append(row | {"objects/test": len(hit)})
    value = {"arms": list(found), "seeds": [0], "baseline_arm": next(iter(found)), "metric": METRIC, "factors": {}}
    return pd.DataFrame(rows), value | {"command": "-"} | study


def test_one_training_each_by_hand(tmp_path: Path) -> None:
    # of 40 objects 20 are hit by both, 8 by b alone, 1 by a alone: p = 2 (C(9,0) + C(9,1)) / 2^9 = 20 / 512 = .0390625
    a = [True] * 20 + [False] * 8 + [True] + [False] * 11
    b = [True] * 20 + [True] * 8 + [False] + [False] * 11
    rows, study = single(tmp_path, {"a": a, "b": b})
    table = comparison.summary(results_of(rows, study), METRIC).set_index("arm")
    assert table.loc["b", "difference"] == pytest.approx(7 / 40)
    assert table.loc["b", outcomes.P_OF_PICTURES] == pytest.approx(0.0390625)
    # differences of objects: 8 times +1, once -1, 31 times 0: mean .175, variance (9 / 40 - .175^2) / 40 = .0048594
    half = 1.96 * np.sqrt(0.0048594)
    assert table.loc["b", ["objects low", "objects high"]].tolist() == pytest.approx(
        [0.175 - half, 0.175 + half], abs=0.02
    )
    assert words(table) == [
        "baseline",
        "one training per arm: no interval over seeds, p 0.039 over its pictures (sign-flip)",
    ]
    shown = comparison.readable(comparison.summary(results_of(rows, study), METRIC))
    assert shown["p sign-flip over pictures"].tolist() == ["-", "0.039"]
    assert shown.loc[1, "difference [95 % CI of the pictures]"].startswith("+0.175 [+0.0")
    # what is printed for several seeds must not be there to be misread
    assert np.isnan(table.loc["b", ["difference low", "p", "p Holm"]].astype(float)).all()
    assert not {"p Holm", "difference [95 % CI]"} & set(shown)


def test_a_single_seed_study_says_what_it_compares(tmp_path: Path) -> None:
    record = synthetic_record.make(tmp_path, seeds=[0])
    results = Results.open("schedules", record)
    said = "\n".join(protocol.protocol(results))
    assert "the table compares one training with another" in said
    assert "Neither covers what another training seed would give." in said
    assert "Seeds needed" not in said
    assert answers.answer(results).startswith("One training per arm gives no interval over seeds, and so no answer")
    verdict = words(comparison.summary(results, METRIC))[1]
    assert re.fullmatch(r"one training per arm: no interval.* p [\d.]+ over its pictures \(sign-flip\)", verdict)
    assert not any("sign-flip" in verdict for verdict in words(comparison.summary(results, "accuracy_macro/test")))


@pytest.mark.parametrize("how", ["missing", "truncated", "other conditions"])
def test_a_comparison_without_outcomes_has_no_interval(how: str, tmp_path: Path) -> None:
    rows, study = single(tmp_path, {"a": [True, False, True], "b": [True, True, True], "c": [False, True, True]})
    assert "sign-flip" in words(comparison.summary(results_of(rows, study), METRIC))[1]
    if how == "other conditions":
        (tmp_path / "b" / "conditions.json").write_text(json.dumps({"test": [["red cube"]] * 3}))
    else:
        damaged(tmp_path / "b", how)
    found = words(comparison.summary(results_of(rows, study), METRIC))
    assert found[1] == "one training per arm: no interval over seeds"
    assert "sign-flip" in found[2]  # the others are still compared


def test_passes_of_an_object_are_no_further_objects(tmp_path: Path) -> None:
    """The same outcomes in 20 passes: nothing is known beyond the one pass, and the interval must not shrink."""
    conditions = [[LABELS[index % 24]] for index in range(30)]
    a, b = [[[]] * 30], [[labels if index < 12 else [] for index, labels in enumerate(conditions)]]
    tables_of = []
    for passes in (1, 20):
        rows, study = single(tmp_path / str(passes), {"a": [False] * 30, "b": [True] * 12 + [False] * 18})
        write(tmp_path / str(passes) / "a", conditions, a * passes)
        write(tmp_path / str(passes) / "b", conditions, b * passes)
        tables_of.append(
            comparison.summary(results_of(rows, study), METRIC).loc[1, list(outcomes.COLUMNS)].astype(float)
        )
    assert tables_of[0].tolist() == pytest.approx(tables_of[1].tolist())
    # twelve label sets differ, each by one object and in favour of b; six of them are asked for twice
    assert tables_of[0][outcomes.P_OF_PICTURES] == pytest.approx(2 / 2**12)


def test_objects_of_one_picture_stay_together(tmp_path: Path) -> None:
    """Ten pictures of three objects that are hit or missed together: the spread is that of ten, not of thirty."""
    conditions = [list(LABELS[index : index + 3]) for index in range(10)]
    rows, study = single(tmp_path, {"a": [True], "b": [True]})
    write(tmp_path / "a", conditions, [[[] for _ in conditions]])
    write(tmp_path / "b", conditions, [[labels if index < 5 else [] for index, labels in enumerate(conditions)]])
    low, high, p = comparison.summary(results_of(rows, study), METRIC).loc[1, list(outcomes.COLUMNS)]
    assert p == pytest.approx(2 / 2**5)  # McNemar's of 15 objects would be 2 / 2**15
    # 2.5 % points of binomial(10, .5) / 10 are .2 and .8; of binomial(30, .5) / 30 they would be .333 and .667
    assert (low, high) == pytest.approx((0.2, 0.8))
