"""The search: suggestions, pruning, interruption; with a fake training, and once with the real one."""

from __future__ import annotations

import math
import re
import signal
import subprocess

import pytest
from launch import ROOT, UNDRAWN, command, run

from study.design import plan as planning
from study.design import scales
from study.design.space import Choice, Range
from study.design.spec import StudySpec
from study.record import reader
from study.scheduling.tpe import SearchCells

SPACE = {"lr": Range(1e-3, 1e-1, log=True), "schedule": Choice(("linear", "cosine"))}


def plan(trials: int, space=SPACE) -> planning.Plan:
    study = StudySpec(question="?", space=space, trials=trials)
    return planning.make("search", study, "smoke", scales.find("smoke"), planning.Request(seeds=1))


def score(config) -> float:
    """Best at lr = .01 and cosine."""
    return 0.9 - 0.2 * abs(math.log10(config.lr) + 2) - 0.3 * (config.schedule == "linear")


def carry_on(cells: SearchCells, count: int) -> list:
    asked = []
    for _ in range(count):
        cell = cells.next(set())
        cells.complete(cell, score(cell.trial.config))
        asked.append(cell.trial.config)
    return asked


@pytest.fixture
def record(tmp_path):
    (tmp_path / "record").mkdir()
    return tmp_path / "record"


def test_a_search_finds_the_best_setting_and_says_what_mattered(record):
    cells = SearchCells(record, plan(40), None)
    configs = carry_on(cells, 40)
    assert not cells.more()
    assert cells.next(set()) is None
    told = cells.search()
    best = max(configs, key=score)
    assert told.selection_score == pytest.approx(score(best))
    assert told.best.trial_key == best.trial_key
    assert best.schedule == "cosine"
    assert 0.003 < best.lr < 0.03
    assert told.importance["schedule"] > 0.3
    assert "fANOVA" in told.importance_evaluator
    assert "over 40 complete trials" in told.importance_evaluator


def test_going_on_draws_no_suggestion_twice(record):
    """Six launches of five: thirty different suggestions, and the same thirty in one launch."""
    parts = []
    for _ in range(6):
        parts += carry_on(SearchCells(record, plan(30), None), 5)
    keys = [config.trial_key for config in parts]
    assert len(set(keys)) == 30
    whole = record.with_name("whole")
    whole.mkdir()
    assert [config.trial_key for config in carry_on(SearchCells(whole, plan(30), None), 30)] == keys


def test_an_interrupted_trial_goes_on_with_its_suggestion(record):
    first = SearchCells(record, plan(3), None)
    cell = first.next(set())
    first.interrupt(cell)
    second = SearchCells(record, plan(3), None)
    assert second.more()
    same = second.next(set())
    assert same == cell
    second.complete(same, score(same.trial.config))
    assert len(carry_on(second, 2)) == 2
    assert [row.state for row in second.search().trials] == ["complete"] * 3


def test_a_lost_database_is_rebuilt_from_the_record(record):
    cells = SearchCells(record, plan(6), None)
    carry_on(cells, 4)
    told = cells.search()
    (record / "optuna.db").unlink()
    again = SearchCells(record, plan(6), told)
    assert again.search().trials == told.trials
    assert len(carry_on(again, 2)) == 2


def test_a_raster_without_new_points_ends(record):
    """Four points, ten suggestions: repeated ones take the known value and cost nothing."""
    space = {"schedule": Choice(("linear", "cosine")), "timesteps": Choice((500, 1000))}
    cells, run_configs = SearchCells(record, plan(10, space), None), []
    while (cell := cells.next(set())) is not None:
        run_configs.append(cell.trial.config)
        cells.complete(cell, score(cell.trial.config))
    assert len({config.trial_key for config in run_configs}) == len(run_configs) <= 4
    assert len(cells.search().trials) == 10


def test_another_space_is_refused(record):
    carry_on(SearchCells(record, plan(2), None), 1)
    with pytest.raises(ValueError, match="begun over another space"):
        SearchCells(record, plan(2, {"lr": Range(1e-3, 1e-2)}), None)


def test_pruning_reads_validation_accuracy_at_equal_images(record):
    """Not before five trials are complete, not before 30 % of the images, not at the end; then below the median."""
    cells = SearchCells(record, plan(12), None)
    for _ in range(5):
        cell = cells.next(set())
        for images, accuracy in ((200, 0.3), (400, 0.5), (1000, 0.7)):
            assert not cells.report(cell, images, 1000, accuracy)
        cells.complete(cell, score(cell.trial.config))
    worse = cells.next(set())
    assert not cells.report(worse, 200, 1000, 0.1)  # at a fifth nothing is decided
    assert cells.report(worse, 400, 1000, 0.4)
    assert not cells.report(worse, 400, 1000, 0.0)  # a replayed point counts once
    better = cells.next(set())
    assert not cells.report(better, 400, 1000, 0.6)
    assert not cells.report(better, 1000, 1000, 0.1)  # what is trained to its end is scored
    cells.prune(worse)
    cells.complete(better, 0.95)
    rows = {row.trial_key: row for row in cells.search().trials}
    pruned = rows[worse.trial.key]
    assert (pruned.state, pruned.pruned_at_images, pruned.value) == ("pruned", 400, 0.4)
    assert rows[better.trial.key].state == "complete"
    assert max(rows.values(), key=lambda row: row.value) == rows[better.trial.key]


@pytest.mark.long
def test_a_search_that_was_killed_resumes_and_trains_its_winner_on_fresh_seeds(tmp_path):
    """Five trials at smoke scale, ended by SIGKILL in the middle; the same command finishes them."""
    record = tmp_path / "record"
    arguments = ["--study", "search", "--trials", "5", "--per-device", "2"]
    launched = subprocess.Popen(command(record, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True, env=UNDRAWN)
    assert launched.stdout is not None
    for text in launched.stdout:
        if text.startswith("[2/5]"):
            break
    launched.send_signal(signal.SIGKILL)
    launched.wait()
    before = reader.load_study("search", record).search.trials
    assert 2 <= len(before) < 5
    done = run(record, *arguments[:-2], workers=2)
    assert done.returncode == 0, done.stdout + done.stderr
    told = reader.load_study("search", record).search
    after = told.trials
    assert len(after) == 5
    keys = [trial.trial_key for trial in after]
    assert len(set(keys)) == 5
    assert [trial.trial_key for trial in before] == keys[: len(before)]  # the same suggestions, none anew
    assert {trial.state for trial in after} <= {"complete", "pruned"}
    rows = reader.load("search", record)
    assert sorted(rows["arm"]) == ["baseline", "winner"]
    assert set(rows["seed"]) == {1}
    assert set(rows["state"]) == {"complete"}
    winner = told.best
    assert winner.value == told.selection_score == max(t.value for t in after if t.state == "complete")
    assert rows.set_index("arm").loc["winner", "lr"] == winner.params["lr"]
    assert re.search(r"Selection: trial \d+ scored \d\.\d+ .* on fresh seeds \(n = 1\)", done.stdout)
    again = run(record, *arguments[:-2])
    assert "nothing is run" in again.stdout
    assert reader.load_study("search", record).search == told
