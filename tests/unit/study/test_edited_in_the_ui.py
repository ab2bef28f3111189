"""What people do in MLflow's UI: experiments and runs deleted, renamed, restored, described, tags edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from indexed import KEYS, STUDY, index, run

from study.record import mlflow_index, reader
from study.record.mlflow_queue import Indexer


def launched(record: Path) -> list[str]:
    """What the index of a launch says that finds every trial complete."""
    indexer = Indexer(record, reader.load_study(STUDY, record), {})
    indexer.open()
    return indexer.work()


def experiments(record: Path) -> list[str]:
    return [one.name for one in index(record).client.search_experiments()]


def test_a_deleted_experiment_is_found_and_restored_by_the_doctor(record, capsys):
    before = index(record)
    known = before.indexed()
    before.client.delete_experiment(before.experiment_id)
    assert run(record) == 1
    said = capsys.readouterr().out
    assert f"wrong: {STUDY}: its experiment was deleted in MLflow" in said
    assert "1 thing is wrong" in said
    assert index(record).deleted()  # a check changes nothing
    assert run(record, "--repair") == 0
    assert run(record) == 0, capsys.readouterr().out
    assert index(record).indexed() == known


def test_a_deleted_experiment_is_restored_by_the_next_launch(record):
    """Runs that were deleted before it come back with it: of a trial that has two the latest stays."""
    before = index(record)
    key, run_id = KEYS[0], before.indexed()[KEYS[0]]
    before.client.delete_run(run_id)
    assert run(record, "--repair") == 0
    known = index(record).indexed()
    assert known[key] != run_id
    before.client.delete_experiment(before.experiment_id)
    assert launched(record) == ["the experiment was deleted in MLflow: it is restored with its runs"]
    assert index(record).indexed() == known
    assert run(record) == 0


def test_a_renamed_experiment_keeps_its_name_its_runs_and_its_place(record, tmp_path, capsys):
    """A twin was made, and after a move the old artifacts led to the old place."""
    before = index(record)
    before.client.rename_experiment(before.experiment_id, "My nice study")
    assert launched(record) == []
    assert run(record) == 0, capsys.readouterr().out
    assert experiments(record) == ["My nice study"]
    assert index(record).indexed() == before.indexed()
    copy = Path(shutil.copytree(record, tmp_path / "moved"))
    assert mlflow_index.relocate(copy) > 9
    assert mlflow_index.displaced(copy) == []
    found = index(copy)
    run_id = found.indexed()[KEYS[0]]
    assert found.client.get_run(run_id).info.artifact_uri.startswith((copy / "artifacts").as_uri())
    assert "result.json" in {item.path for item in found.client.list_artifacts(run_id)}


def test_a_study_whose_name_another_experiment_was_given_gets_one_of_its_own(record):
    first = index(record)
    first.client.rename_experiment(first.experiment_id, "other-smoke")
    other = mlflow_index.MlflowIndex(record, "other-smoke", "Another question?")
    assert other.experiment_id != first.experiment_id
    assert mlflow_index.MlflowIndex(record, "other-smoke", "?").experiment_id == other.experiment_id
    assert index(record).experiment_id == first.experiment_id
    assert set(KEYS) <= set(index(record).indexed())
    assert other.indexed() == {}


def test_an_experiment_that_was_deleted_and_renamed_is_not_made_twice(record):
    before = index(record)
    before.client.rename_experiment(before.experiment_id, "Old")
    before.client.delete_experiment(before.experiment_id)
    launched(record)
    assert experiments(record) == ["Old"]


@pytest.mark.parametrize("edit", ["another key", "no key"])
def test_a_key_that_was_edited_is_put_right(record, capsys, edit):
    """Without it the trial counted as missing, and got a second run."""
    before = index(record)
    known = before.indexed()

    def harm() -> None:
        if edit == "no key":
            before.client.delete_tag(known[KEYS[0]], "trial_key")
        else:
            before.client.set_tag(known[KEYS[0]], "trial_key", "mine")

    harm()
    assert run(record) == 1
    assert "in MLflow the tag trial_key of 1 run was edited" in capsys.readouterr().out
    assert run(record, "--repair") == 0
    assert run(record) == 0
    harm()
    launched(record)
    assert index(record).indexed() == known
    assert run(record) == 0


def test_a_description_that_somebody_wrote_stays(record):
    """That of the last launch is replaced by the next one's."""
    found, study = index(record), reader.load_study(STUDY, record)

    def described(answer: str) -> str:
        found.finish_launch(found.start_launch("launch", study, {}, {}), "FINISHED", answer=answer)
        return str(found.client.get_experiment(found.experiment_id).tags[mlflow_index.NOTE])

    assert described("This came out.").endswith("This came out.")
    assert described("That came out later.").endswith("That came out later.")
    found.client.set_experiment_tag(found.experiment_id, mlflow_index.NOTE, "Read this first!")
    assert described("It came out last.") == "Read this first!"
