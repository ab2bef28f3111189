"""The search: suggestions, pruning, interruption; with a fake training, and once with the real one."""

from __future__ import annotations

import dataclasses
import math
import warnings

import pytest

from study.design import plan as planning
from study.design import scales
from study.design.space import Choice, Range
from study.design.spec import StudySpec
from study.record import optuna_store
from study.scheduling import tpe
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


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch):
    """The importance is another file's subject, and each shuffle takes a tenth of a second."""
    monkeypatch.setattr(tpe, "SHUFFLES", 3)


@pytest.fixture
def record(tmp_path):
    (tmp_path / "record").mkdir()
    return tmp_path / "record"


def test_a_search_finds_the_best_setting_and_says_what_mattered(record):
    """The winner is not known yet: only its finalists' fresh seeds choose it."""
    cells = SearchCells(record, plan(40), None)
    configs = carry_on(cells, 40)
    assert not cells.more()
    assert cells.next(set()) is None
    told = cells.search()
    best = max(configs, key=score)
    assert (told.winner, told.selection_score, told.selection_seeds) == (None, None, (1,))
    assert told.leading(1, True)[0].trial_key == best.trial_key
    assert best.schedule == "cosine"
    assert 0.003 < best.lr < 0.03
    assert told.importance["schedule"] > 0.3
    assert "fANOVA" in told.importance_evaluator
    assert "over 40 complete trials" in told.importance_evaluator
    assert set(told.importance_null) == set(told.importance_limit) == set(told.importance)
    assert told.importance_shuffles == 3
    assert told.answer_metric == "accuracy/test"  # the first list that is only reported


def test_tpe_reads_what_is_running_as_bad_and_says_so(record, monkeypatch):
    """Defaults that Optuna has changed before are written down, without a warning of any of its versions."""
    cells, given = SearchCells(record, plan(2), None), {}
    real = optuna_store.optuna.samplers.TPESampler

    def sampler(**settings):
        given.update(settings)
        warnings.warn("constant_liar is experimental", optuna_store.optuna.exceptions.ExperimentalWarning, stacklevel=2)
        return real(**settings)

    monkeypatch.setattr(optuna_store.optuna.samplers, "TPESampler", sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cells.next(set())
    assert (given["constant_liar"], given["multivariate"]) == (True, True)


def test_one_complete_trial_has_no_importance(record):
    """The estimator would give each parameter the same share of no variance at all."""
    cells = SearchCells(record, plan(1), None)
    carry_on(cells, 1)
    told = cells.search()
    assert (told.importance, told.importance_shuffles) == ({}, 0)
    assert "over 1 complete trials: not computed (1 complete trials have no variance)" in told.importance_evaluator


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


def test_a_failed_trial_is_suggested_again_under_its_number(record):
    """Beside what was complete or pruned, whose curves the median pruner still reads; one that diverged stays."""
    cells, given = SearchCells(record, plan(4), None), []
    for _ in range(4):
        given.append(cells.next(set()))
        cells.report(given[-1], 400, 1000, 0.5)
    for cell, end in zip(
        given, (cells.fail, cells.prune, cells.fail, lambda cell: cells.complete(cell, 0.7)), strict=True
    ):
        end(cell)
    folder = record / "trials" / f"{given[2].trial.key}.failed"
    folder.mkdir(parents=True)
    (folder / "traceback.txt").write_text("FloatingPointError: the loss is nan")
    told = cells.search()
    again = SearchCells(record, plan(4), told)
    assert again.more()
    cell = again.next(set())
    assert cell.trial == given[0].trial
    assert not again.more()
    assert [trial.state for trial in again.search().trials] == ["running", "pruned", "failed", "complete"]
    again.complete(cell, 0.9)
    stored = {row.key: row for row in optuna_store.rows(record, "search-smoke")}
    assert {row.key: row.number for row in stored.values()} == {cell.trial.key: n for n, cell in enumerate(given)}
    assert stored[given[0].trial.key].value == 0.9
    assert dict(stored[given[1].trial.key].reports) == dict(stored[given[3].trial.key].reports) == {400: 0.5}
    assert again.search().trials[3] == told.trials[3]


def test_a_setting_that_was_suggested_twice_and_failed_runs_once(record):
    """The second one has the result of the first, and waits for it."""
    space = {"schedule": Choice(("linear", "cosine"))}
    cells = SearchCells(record, plan(6, space), None)
    while (cell := cells.next(set())) is not None:
        cells.fail(cell)
    assert [trial.state for trial in cells.search().trials] == ["failed"] * 6
    again, run = SearchCells(record, plan(6, space), cells.search()), []
    while (cell := again.next(set())) is not None:
        run.append(cell)
    assert len({cell.trial.key for cell in run}) == len(run) <= 2
    assert again.more()
    for cell in run:
        again.complete(cell, score(cell.trial.config))
    assert again.next(set()) is None
    assert not again.more()
    assert [trial.state for trial in again.search().trials] == ["complete"] * 6


def test_a_lost_database_is_rebuilt_from_the_record(record):
    cells = SearchCells(record, plan(6), None)
    carry_on(cells, 4)
    told = cells.search()
    (record / "optuna.db").unlink()
    again = SearchCells(record, plan(6), told)
    assert again.search().trials == told.trials
    assert len(carry_on(again, 2)) == 2


def test_a_lost_database_costs_no_pruned_trial_its_place(record):
    """Its curve is gone with the database, but study.json says how far it came."""
    cells = SearchCells(record, plan(2), None)
    carry_on(cells, 1)
    cell = cells.next(set())
    cells.report(cell, 400, 1000, 0.4)
    cells.prune(cell)
    told = cells.search()
    (record / "optuna.db").unlink()
    assert SearchCells(record, plan(2), told).search() == told
    assert told.of("pruned")[0].pruned_at_images == 400


def test_a_finished_search_is_weighed_once(record, monkeypatch):
    """The next command takes what study.json says, finalists and winner included; a search that grows starts anew."""
    cells = SearchCells(record, plan(4), None)
    carry_on(cells, 4)
    assert cells.unweighed
    told = cells.search().model_copy(update={"winner": 2, "selection_score": 0.7})
    assert not cells.unweighed
    monkeypatch.setattr(optuna_store.OptunaStudy, "importances", lambda *_: pytest.fail("it is known"))
    assert SearchCells(record, plan(4), told).search() == told
    grown = SearchCells(record, plan(5), told).search()
    assert (grown.winner, grown.importance, grown.planned) == (None, {}, 5)


def test_a_search_that_was_killed_before_it_was_weighed_is_weighed_then(record):
    cells = SearchCells(record, plan(4), None)
    carry_on(cells, 4)
    known = cells.search().model_copy(update={"importance": {}, "importance_evaluator": "", "importance_shuffles": 0})
    assert SearchCells(record, plan(4), known).search().importance_shuffles == 3


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


def test_another_baseline_is_refused(record):
    """Suggestions of a record whose scale had other numbers are not those of today: their keys are of other trials."""
    carry_on(SearchCells(record, plan(2), None), 1)
    today = plan(2)
    other = dataclasses.replace(today, baseline=today.baseline.replace(weight_decay_on="all"))
    with pytest.raises(ValueError, match=r"begun from another baseline: give another --record DIR, or delete"):
        SearchCells(record, other, None)


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
