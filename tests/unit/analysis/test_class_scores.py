"""Scores by class: means over trainings by hand, incomplete arms, and what a wide study shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic_record
from frames import results_of

from analysis.results import Results
from analysis.tables import classes

STUDY: dict[str, Any] = {"arms": ["a", "b"], "seeds": [0, 1, 2], "baseline_arm": "b", "metric": "accuracy/test"}


def rows_of(folder: Path, hits: dict[tuple[str, int], tuple[int, int]]) -> pd.DataFrame:
    """Trials whose list `test` asks 4 times for a red cube and never for a gray one; (hits, named unasked) of each."""
    rows = []
    for (arm, seed), (found, unasked) in hits.items():
        trial = folder / f"{arm}{seed}"
        trial.mkdir()
        lines = ["list,label,asked,hits,named_unasked", f"test,red cube,4,{found},{unasked}", "test,gray cube,0,0,2"]
        (trial / "classes.csv").write_text("\n".join(lines) + "\n")
        rows.append({"arm": arm, "seed": seed, "state": "complete", "folder": str(trial)})
    return pd.DataFrame(rows)


def test_recall_by_hand(tmp_path: Path) -> None:
    hits = {("b", 0): (4, 0), ("a", 0): (2, 1), ("a", 1): (3, 3), ("a", 2): (1, 2)}
    rows = rows_of(tmp_path, hits)
    rows.loc[rows["seed"] == 2, "state"] = "failed"
    results = results_of(rows, STUDY)
    table = classes.table(results)
    assert list(table.columns) == list(classes.COLUMNS)
    assert table["label"].unique().tolist() == ["red cube"]  # of what nobody asked for there is no recall
    line = table.set_index("arm").loc["a"]
    # .5 .75: mean .625, sd .176777, half width 12.7062 x .176777 / sqrt(2) = 1.588
    assert line[["n", "asked", "recall", "named unasked"]].tolist() == pytest.approx([2, 4, 0.625, 2])
    assert line[["ci low", "ci high"]].tolist() == pytest.approx([0.625 - 1.58828, 0.625 + 1.58828], abs=1e-4)
    assert table["arm"].tolist() == ["a", "b"]  # the order of the study
    shown = classes.readable(table, results)["test"]
    assert shown.to_dict("records") == [
        {"label": "red cube", "asked": "4", "b (n = 1)": "1.000", "a (n = 2)": "0.625"}  # the baseline first
    ]


def test_many_arms_and_none(tmp_path: Path) -> None:
    record = synthetic_record.many(tmp_path, arms=12, seeds=2)
    results = Results.open("many", record)
    table = classes.table(results)
    assert table["arm"].nunique() == 12
    assert list(table["list"].unique()) == ["validation", "test", "new_test", "unseen"]
    sheets = classes.readable(table, results)
    assert all(len(sheet.columns) == 2 + classes.MOST_ARMS for sheet in sheets.values())
    assert classes.note(table, results).endswith("Only 8 of 12 arms are shown.")
    assert classes.table(results.of(results.study, results.rows.assign(state="missing"))).empty
