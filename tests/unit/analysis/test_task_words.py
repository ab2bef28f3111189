"""The page and the tables of digits speak of digits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import synthetic_record
from report_page import Page

from analysis import figures, report
from analysis.figures import failures
from analysis.results import Results
from analysis.tables import comparison, scores
from tests import synthetic_tasks

STUDY = "schedules-smoke"
OTHERS = re.compile(r"\b(objects?|pictures?|colours?|shapes?|cubes?|spheres?)\b", re.IGNORECASE)


def test_tables_of_one_training(tmp_path: Path) -> None:
    root = synthetic_record.make(tmp_path, task=synthetic_tasks.classes(), seeds=[0])
    results = Results.open(STUDY, root)
    shown = comparison.readable(comparison.summary(results, "accuracy/test"), results, "accuracy/test")
    assert {"difference [95 % CI of the images]", "p sign-flip over images"} <= set(shown)
    assert "over its images (sign-flip)" in str(shown["verdict"].iloc[1])


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = synthetic_record.make(tmp_path / "record", task=synthetic_tasks.classes())
    monkeypatch.setattr(figures, "NAMES", ("class_grid", "confusion"))  # all are in test_figures_tasks
    page = Page(report.build(STUDY, root, tmp_path / "out").read_text(encoding="utf-8"))
    for words in ("Ten samples of each class", "Classes confused", "Images", "validation, 10 classes"):
        assert words in page.text
    found = OTHERS.search(page.text)
    assert found is None, page.text[found.start() - 60 : found.end() + 60]


# --- images without labels -----------------------------------------------------------------------------

SHOWN = ("accuracy_by_arm", "differences", "grids", "interpolation", "learning_curves", "same_noise_grids")


def test_the_report_of_images_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that is no share: no accuracy, chance, condition or margin, no number that there is not."""
    fields = {"task": synthetic_tasks.unlabelled(), "metric": "kid/validation", "published": {}}
    root = synthetic_record.make(tmp_path / "record", **fields)
    for path in root.glob("trials/*/result.json"):
        more = {"images/test": 40, "kid_standard_error/test": 0.004, "evaluator_held_out_accuracy": 0.9}
        path.write_text(json.dumps(json.loads(path.read_text()) | more | {"kid": 0.02}))
    monkeypatch.setattr(figures, "NAMES", SHOWN)
    page = Page(report.build(STUDY, root, tmp_path / "out").read_text(encoding="utf-8"))
    for words in (
        "KID by arm",
        "Same noise, every arm",
        "columns the first 8 samples of test",
        "Samples of test",
        "Every image of test, in the list's order",
        "test: 40 images. The standard error of one KID of test is 0.004, of drawing the images anew.",
        "KID/validation (the study's metric)",
        "Diverged: seeds whose training diverged",
        "no margin is known for KID, which is no share: a study's margin= is a difference of shares.",
        "it is right in 0.9 of the turns of 80 held-out images",
    ):
        assert words in page.text, words
    found = re.search(
        r"\bnan\b|\bkid\b|[Aa]ccuracy|[Aa]t chance|as large as the margin|one condition|and guidance:", page.text
    )
    assert found is None, page.text[found.start() - 60 : found.end() + 60]
    tables = tmp_path / "out" / "tables"
    for path in tables.glob("*.md"):
        assert not re.search(r"\bnan\b|\bkid\b", path.read_text(encoding="utf-8")), path.name
    assert "kid/validation" in (tables / "trials.csv").read_text(encoding="utf-8").split("\n")[0]


# --- images of labels ----------------------------------------------------------------------------------


def test_the_report_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label is what is asked for: there are no labels of a label, no classes and, of one list, no lists."""
    root = synthetic_record.make(tmp_path / "record", task=synthetic_tasks.sets(), seeds=[0])
    for path in root.glob("trials/*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy_1_objects/test": 0.5}))
    monkeypatch.setattr(figures, "NAMES", ("accuracy_by_class", "failures", "grids"))
    text = report.build(STUDY, root, tmp_path / "out").read_text(encoding="utf-8")
    page = Page(text)
    for words in (
        "Recall: of the times that a label was asked for, the share in which it was found",
        "Accuracy by label",
        "pooled over the lists (each label was asked for 18 to 42 times per training).",
        "Over these arms the best label is tag",
        "accuracy 1 label",
        "Labels",
        "validation, 6 labels",
    ):
        assert words in page.text, words
    for words in ("class", "labels of a label", "per label", "both test", "lists' order", "accuracy 1 labels", "top5"):
        assert words not in page.text.lower(), words
    head = (tmp_path / "out" / "tables" / "accuracy_test.csv").read_text(encoding="utf-8").split("\n")[0]
    assert {"labels", "pictures low", "p sign-flip over pictures"} <= set(head.split(","))


def test_tables_of_digits_are_called_what_the_page_calls_them(tmp_path: Path) -> None:
    root = synthetic_record.make(tmp_path / "record", task=synthetic_tasks.classes(), seeds=[0])
    results = Results.open(STUDY, root)
    report.write_tables(results, tmp_path / "tables")
    head = (tmp_path / "tables" / "accuracy_test.csv").read_text(encoding="utf-8").split("\n")[0].split(",")
    assert {"images", "images low", "images high", "p sign-flip over images"} <= set(head)
    assert not [name for name in head if OTHERS.search(name)]
    assert (tmp_path / "tables" / "classes.csv").read_text(encoding="utf-8").startswith("list,arm,class,n,asked,")
    older = synthetic_record.make(tmp_path / "older", seeds=[0])
    report.write_tables(Results.open(STUDY, older), tmp_path / "old")
    head = (tmp_path / "old" / "accuracy_test.csv").read_text(encoding="utf-8").split("\n")[0].split(",")
    assert {"objects", "objects low", "p sign-flip over pictures"} <= set(head)


def test_only_columns_that_are_there_are_explained(tmp_path: Path) -> None:
    results = Results.open(STUDY, synthetic_record.make(tmp_path, task=synthetic_tasks.classes()))
    notes = "\n".join(scores.notes(results))
    assert "accuracy: share of the images" in notes
    assert "top5" not in notes
    more = results.rows.assign(**{"kid": 0.1, "accuracy_top5/test": 0.9})
    notes = "\n".join(scores.notes(results.of(results.study, more)))
    assert "accuracy top5: it is among the first five." in notes
    assert "KID: kernel distance" in notes
    assert "standard error" not in notes


def test_what_goes_wrong_counts_the_images_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_tasks, "LISTS", {"validation": 20, "test": 7})
    results = Results.open(STUDY, synthetic_record.make(tmp_path, task=synthetic_tasks.sets()))
    assert failures.caption(failures.table(results), results).startswith("The 7 images of test with the most labels")
