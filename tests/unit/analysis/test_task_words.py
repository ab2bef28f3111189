"""The page and the tables of digits speak of digits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import synthetic_record
from report_page import Page

from analysis import figures, report
from analysis.results import Results
from analysis.tables import comparison
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
    for words in ("Ten samples of each class", "Classes confused", "Images", "validation, 10 labels"):
        assert words in page.text
    found = OTHERS.search(page.text)
    assert found is None, page.text[found.start() - 60 : found.end() + 60]
