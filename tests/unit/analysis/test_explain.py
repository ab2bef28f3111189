"""`--explain ARM`: every number of a row, traced to its trials."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import synthetic_record
from frames import METRIC, lr_results
from launch import ROOT

from analysis.narrative import explain
from analysis.results import Results
from analysis.tables import comparison


def test_the_row_can_be_made_again_from_what_is_printed(miniature_record):
    results = Results.open("schedules-smoke", miniature_record)
    text, rows = explain.text(results, "schedule=cosine"), results.rows
    for arm in ("schedule=cosine", "schedule=linear"):
        for _, trial in rows[rows["arm"] == arm].iterrows():
            line = next(line for line in text.splitlines() if trial["trial_key"] in line)
            assert f"{trial['accuracy/validation']:.6f}" in line
            assert {trial["train_key"], f"run{trial['trial_key']}", f"trials/{trial['trial_key']}"} <= set(line.split())
    table = comparison.summary(results, "accuracy/validation")
    row = table[table["arm"] == "schedule=cosine"].iloc[0]
    part = text[text.index("accuracy/validation\n") :]
    assert f"= {row['mean']:.6f}, 95 % t interval [{row['ci low']:.6f}, {row['ci high']:.6f}]" in part
    differences = f"[{row['difference low']:+.6f}, {row['difference high']:+.6f}]"
    assert f"= {row['difference']:+.6f}, 95 % t interval {differences}" in part
    (scores,) = re.findall(r"mean of \(([^)]*)\) over n = 3", part.split("\n\n")[0])
    assert np.mean([float(score) for score in scores.split(", ")]) == pytest.approx(row["mean"])


def test_a_missing_seed_is_said(tmp_path):
    record = synthetic_record.make(tmp_path, missing=[("cosine", 1)])
    text = explain.text(Results.open("schedules-smoke", record), "schedule=cosine")
    assert re.search(r"^1 +missing +nan", text, re.MULTILINE)
    assert "over n = 2" in text
    assert "not compared with schedule=linear: a seed is missing" in text


def test_the_command(miniature_record):
    line = [sys.executable, "study/run.py", "--study", "schedules", "--scale", "smoke", "--record", miniature_record]
    done = subprocess.run([*line, "--explain", "schedule=cosine"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("schedules-smoke: schedule=cosine, compared with schedule=linear")


def test_an_arm_that_is_not_there_names_the_nearest(miniature_record):
    with pytest.raises(ValueError, match="did you mean 'schedule=cosine'"):
        explain.text(Results.open("schedules-smoke", miniature_record), "schedule=cosin")


def test_differences_without_spread_have_no_error():
    """Before: "95 % t interval [+0.010000, +0.010000], paired t test p = nan before Holm"."""
    text = explain._arithmetic(lr_results([[0.50, 0.51], [0.60, 0.61], [0.55, 0.56]]), "lr=1", "lr=0", METRIC)
    assert "= +0.010000, the same in every seed: no error can be estimated" in text
    assert "nan before Holm" not in text
    assert text.count("95 % t interval") == 1  # of the arm's own mean
    alike = explain._arithmetic(lr_results([[0.50, 0.51], [0.60, 0.51], [0.55, 0.51]]), "lr=1", "lr=0", METRIC)
    assert "= 0.510000, the same in every seed: no error can be estimated" in alike
