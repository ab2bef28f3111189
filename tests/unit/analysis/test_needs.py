"""Figures say what they are made of, and are left out where no trial has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import figures
from analysis.needs import Needs
from analysis.results import Results


@pytest.fixture
def results(miniature_record: Path) -> Results:
    return Results.open("schedules", miniature_record)


@pytest.mark.parametrize(
    ("needs", "met"),
    [
        (Needs(), True),
        (Needs(files=("schedule.csv", "outcomes.npz")), True),
        (Needs(files=("schedule.csv", "tsne.npz")), False),
        (Needs(files=("grid_*.png",)), True),
        (Needs(files=("map_*.png",)), False),
        (Needs(fields=("schedule",)), True),
        (Needs(fields=("hidden",)), False),
        (Needs(columns=("x0_error/snr_*", "parameters")), True),
        (Needs(columns=("domain_accuracy/*",)), False),
        (Needs(curves=("loss",)), True),
        (Needs(curves=("lambda",)), False),
    ],
)
def test_what_is_recorded_decides(results: Results, needs: Needs, met: bool) -> None:
    assert needs.met(results) is met


def test_before_a_trial_is_complete_its_fields_are_known_and_nothing_else(results: Results) -> None:
    begun = results.of(results.study, results.rows.assign(state="missing"))
    assert Needs(fields=("schedule",), files=("tsne.npz",), columns=("domain_accuracy/*",)).met(begun)
    assert not Needs(fields=("hidden",)).met(begun)


@pytest.mark.parametrize("name", figures.NAMES)
def test_every_figure_that_reads_pictures_or_arrays_says_so(name: str) -> None:
    text = (Path(figures.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    if any(suffix in text for suffix in ('.png"', '.npz"', '.csv"')):
        assert "NEEDS = Needs(files=" in text or "NEEDS = Needs(fields=" in text
