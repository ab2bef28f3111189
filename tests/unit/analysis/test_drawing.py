"""Figures that are drawn beside the report: the same ones, whatever happens to the process that draws them."""

from pathlib import Path

import pytest

from analysis import report
from analysis.pages import figure_pool as drawing
from study.record import reader


def drawn_with(helpers: list[drawing.Helper], record: Path, out: Path) -> dict[str, bytes]:
    report.build(next(iter(reader.studies(record))), record, out, helpers)
    return {path.name: path.read_bytes() for path in (out / "figures").iterdir()}


def test_helpers_draw_the_same_and_end(miniature_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = drawn_with([], miniature_record, tmp_path / "alone")
    asked = []
    own = drawing.Helper.draw
    monkeypatch.setattr(drawing.Helper, "draw", lambda *given: asked.append(given[1]) or own(*given))
    with drawing.helping(1) as helpers:
        together = drawn_with(helpers, miniature_record, tmp_path / "together")
        again = drawn_with(helpers, miniature_record, tmp_path / "again")
    assert together == again == alone
    assert asked
    assert [helper.process.poll() for helper in helpers] == [0]
    pages = {(tmp_path / name / "index.html").read_text() for name in ("alone", "together", "again")}
    assert len(pages) == 1


def test_a_helper_that_dies_costs_no_figure(miniature_record: Path, tmp_path: Path) -> None:
    with drawing.helping(1) as helpers:
        helpers[0].process.kill()
        drawn = drawn_with(helpers, miniature_record, tmp_path)
    names = drawing.applying(next(iter(reader.studies(miniature_record).values())))
    assert {f"{name}{suffix}" for name in names for suffix in (".png", ".pdf", ".csv")} == drawn.keys()
    assert "not drawn" not in (tmp_path / "index.html").read_text()


def test_few_figures_have_no_helper(miniature_record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = next(iter(reader.studies(miniature_record).values()))
    assert drawing.worth_helping(study) == drawing.spare_cores()
    monkeypatch.setattr("analysis.figures.NAMES", ("accuracy_by_arm", "grids"))
    assert drawing.worth_helping(study) == 0
