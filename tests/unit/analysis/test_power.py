"""What a design can see before it is paid for."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import synthetic_record
from launch import ROOT
from scipy import stats

from analysis.stats import planning, power
from study.design import plan, registry, scales

METRIC = "accuracy/validation"


def test_the_spread_is_pooled_over_the_arms(miniature_record):
    """Differences from linear, seed by seed: cosine .10 .11 .11, squaredcos .20 .19 .27."""
    found = power.spread("schedules-smoke", "smoke", METRIC, miniature_record)
    squares = [np.var(paired, ddof=1) for paired in ((0.10, 0.11, 0.11), (0.20, 0.19, 0.27))]
    assert found.sd == pytest.approx(np.sqrt(np.mean(squares)))
    assert (found.pairs, found.source) == (6, "schedules-smoke")


def test_another_study_of_the_scale_is_a_pilot(miniature_record):
    found = power.spread("guidance-smoke", "smoke", METRIC, miniature_record)
    assert found.source == "schedules-smoke"
    assert power.spread("guidance-laptop", "laptop", METRIC, miniature_record) is None


def test_one_seed_is_no_pilot(tmp_path):
    assert power.spread("schedules-smoke", "smoke", METRIC, synthetic_record.make(tmp_path, seeds=[0])) is None


def test_missing_trials_are_left_out(tmp_path):
    record = synthetic_record.make(tmp_path, missing=[("cosine", 1), ("cosine", 2)])
    found = power.spread("schedules-smoke", "smoke", METRIC, record)
    assert found.pairs == 3
    assert found.sd == pytest.approx(np.std((0.20, 0.19, 0.27), ddof=1))


def test_a_difference_of_that_size_is_found_in_eight_of_ten():
    """The power of the t test there, from the non-central t distribution."""
    sd, n, comparisons = 0.04, 5, 2
    known = power.Spread(sd, 1000, "a large pilot")  # its spread is as good as the true one
    difference = power.detectable(known, n, comparisons)
    critical = stats.t.ppf(1 - 0.05 / comparisons / 2, n - 1)
    noncentral = stats.nct(n - 1, difference / sd * np.sqrt(n))
    assert noncentral.sf(critical) + noncentral.cdf(-critical) == pytest.approx(0.8, abs=1e-4)
    assert power.detectable(known, 5, 1) == pytest.approx(1.68 * sd, rel=0.01)
    assert np.isnan(power.detectable(known, 1, 1))
    assert power.detectable(power.Spread(sd, 6, "a small one", df=3.2), n, comparisons) > 1.1 * difference


def dry_run(*arguments: object) -> str:
    line = [sys.executable, "study/run.py", "--dry-run", *map(str, arguments)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dry_run_says_what_the_design_sees_and_what_a_seed_more_buys(miniature_record):
    arguments = ["--study", "schedules", "--scale", "smoke", "--seeds", "3", "--record", miniature_record]
    text = dry_run(*arguments)
    said = json.loads(dry_run(*arguments, "--json"))
    spread = power.spread("schedules-smoke", "smoke", METRIC, miniature_record)
    assert said["detectable_difference"] == pytest.approx(power.detectable(spread, 3, 2))
    assert said["detectable_with_another_seed"] == pytest.approx(power.detectable(spread, 4, 2))
    assert said["seconds_of_another_seed"] > 0
    assert f"Smallest difference in {METRIC} that 3 seeds detect with 80 % power: " in text
    low, high = spread.interval
    worst = planning.detectable_difference(high, 3, comparisons=2)
    upper = f"{said['detectable_difference']:.3f}, and {worst:.3f} if the spread is at the upper end of its interval"
    assert f"{upper}; 4 seeds (" in text
    assert f"(sd of paired differences {spread.sd:.3f}, 95 % CI {low:.3f} to {high:.3f}, from 6 pairs of" in text


def test_a_confirmatory_study_takes_five_seeds():
    row, study = scales.find("laptop"), registry.find("schedules")

    def make(seeds, confirmatory):
        asked = plan.Request(seeds=seeds, confirmatory=confirmatory)
        return plan.make("schedules", study, "laptop", row, asked)

    assert len(make(None, False).seeds) == 3
    assert len(make(None, True).seeds) == 5
    assert len(make(7, True).seeds) == 7
    assert "Exploratory: 3 training seeds per arm." in make(None, False).notes
    assert "Confirmatory: 5 training seeds per arm." in make(None, True).notes
    with pytest.raises(ValueError, match="--seeds 5 or more"):
        make(4, True)
