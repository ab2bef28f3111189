"""The task of a record: read from its trials, i-CLEVR's without; and tables in the words of the task."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic_record
from frames import results_of, rows_of, study_of

from analysis import recorded_task
from analysis.results import Results
from analysis.tables import classes, outcomes, scores
from runners.tasks.iclevr.labels import ABOUT, LABELS
from runners.tasks.iclevr.scenes import COLOURS
from tests import synthetic_tasks


def test_the_task_of_older_records_is_i_clevr_s() -> None:
    task = recorded_task.iclevr()
    assert tuple(task["labels"]) == LABELS
    assert task["facets"] == {name: list(values) for name, values in ABOUT.facets.items()}
    assert {name: tuple(bytes.fromhex(code[1:])) for name, code in task["palette"].items()} == COLOURS
    assert tuple(task["shown"]["strip"]) == ABOUT.shown.strip
    assert [one["name"] for one in task["lists"]] == ["validation", "test", "new_test", "unseen"]
    assert recorded_task.two_facets(task) == ("colour", "shape")


def test_a_study_has_the_task_of_its_trials(tmp_path: Path) -> None:
    """One task.json that cannot be read costs nothing while another can."""
    results = Results.open("schedules-smoke", synthetic_record.make(tmp_path, task=synthetic_tasks.classes(4)))
    assert recorded_task.task_of(results)["labels"] == list("0123")
    first, *others = (Path(folder) for folder in results.complete["folder"])
    (first / "task.json").write_text("{")
    assert recorded_task.task_of(Results.open("schedules-smoke", tmp_path))["labels"] == list("0123")
    with pytest.raises(ValueError, match="outcomes of 'test'"):
        outcomes.hits(first, "test")
    for folder in others:
        (folder / "task.json").write_text("[")
    unread = recorded_task.task_of(Results.open("schedules-smoke", tmp_path))
    assert unread == recorded_task.UNKNOWN | {"name": "classes", "kind": "class"}


@pytest.mark.parametrize(
    ("data", "known"), [("rendered(view='near')", True), ("folder(digest='0')", True), ("digits", False), (None, True)]
)
def test_before_a_trial_is_complete(data: str | None, known: bool) -> None:
    study = study_of(baseline={"data": data} if data else {})
    task = recorded_task.task_of(results_of(rows_of([[None, None]] * 3), study))
    assert task == (recorded_task.iclevr() if known else recorded_task.UNKNOWN | {"name": "digits", "kind": "class"})


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (recorded_task.iclevr(), ("objects", "an object", "label", "labels", "picture")),
        (synthetic_tasks.classes(), ("images", "an image", "class", "classes", "image")),
        (synthetic_tasks.sets(), ("labels", "a label", "label", "labels", "picture")),
    ],
)
def test_words(task: recorded_task.Task, words: tuple[str, ...]) -> None:
    of = (recorded_task.nouns, recorded_task.one, recorded_task.label_word, recorded_task.label_words)
    assert (*(word(task) for word in of), recorded_task.picture(task)) == words


# --- tables ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = synthetic_record.make(tmp_path_factory.mktemp("digits"), task=synthetic_tasks.classes())
    return Results.open("schedules-smoke", root)


def with_scores(results: Results, **values: float) -> Results:
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return results.of(results.study, results.rows.assign(**named))


def test_the_score_sheet_of_digits(digits: Results) -> None:
    results = with_scores(digits, accuracy_1_objects__test=0.5, colour_only__test=0.1)
    assert "accuracy_1_objects" not in scores.scores(results, "test")  # every image has one class
    assert "colour_only" not in scores.scores(results, "test")
    notes = "\n".join(scores.notes(results))
    assert "accuracy: share of the images of which the evaluator's first class is the one that was asked for" in notes
    assert "spurious, missing: classes per image that are seen" in notes
    assert not {"object", "objects", "picture", "pictures", "colour"} & set(notes.replace(".", " ").split())


def test_the_score_sheet_of_labels(tmp_path: Path) -> None:
    results = Results.open("schedules-smoke", synthetic_record.make(tmp_path, task=synthetic_tasks.sets()))
    results = with_scores(results, accuracy_1_objects__test=0.5, accuracy_2_objects__test=0.25)
    (lists, _) = scores.readable(scores.table(results), results)
    assert {"accuracy 1 label", "accuracy 2 labels"} <= set(lists)


def test_a_facet_has_its_own_misses(tmp_path: Path) -> None:
    task = synthetic_tasks.classes() | {"facets": {"parity": ["even", "odd"] * 5}}
    results = Results.open("schedules-smoke", synthetic_record.make(tmp_path, task=task))
    results = with_scores(results, parity_only__test=0.1, colour_only__test=0.1)
    assert "parity_only" in scores.scores(results, "test")
    assert "colour_only" not in scores.scores(results, "test")


def test_classes_of_many_labels_are_cut_short(tmp_path: Path, digits: Results) -> None:
    assert classes.note(classes.table(digits), digits).startswith(
        "Recall: of the images of a class that were asked for, the share that the evaluator names so, as a mean"
    )
    root = synthetic_record.make(tmp_path, task=synthetic_tasks.classes(200))
    results = Results.open("schedules-smoke", root)
    many = classes.recorded(results)
    for folder in results.complete["folder"]:  # every class is asked for, and found the more often the later it stands
        lines = [f"test,species no. {index:03d},200,{index},0" for index in range(200)]
        (Path(folder) / "classes.csv").write_text("\n".join(["list,label,asked,hits,named_unasked", *lines, ""]))
    results = Results.open("schedules-smoke", root)
    assert len(many) != len(classes.recorded(results))
    table = classes.table(results)
    assert len(table) == 600
    sheet = classes.readable(table, results)["test"]
    kept = [*range(20), *range(195, 200)]
    assert sheet["class"].tolist() == [f"species no. {index:03d}" for index in kept]
    assert sheet.iloc[:, 2].tolist() == [f"{index / 200:.3f}" for index in kept]
    assert classes.note(table, results).endswith(
        "Of a list of more than 100 classes only the 20 worst and the 5 best are shown."
    )


def test_one_training_of_digits(digits: Results, miniature_record: Path) -> None:
    assert "p sign-flip over images" in outcomes.note(digits)
    assert "all images of a condition and all its passes stay together" in outcomes.note(digits)
    older = outcomes.note(Results.open("schedules-smoke", miniature_record))
    assert "p sign-flip over pictures" in older
    assert "the objects of a condition, all its pictures and all its passes stay together" in older
