"""A picture that cannot be drawn costs a picture: no trial, no launch, no report."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_renewal import two_arms

from analysis.plotting import style
from benchmarks.growth import Instant
from study.record import reader
from study.scheduling import events
from study.scheduling.scheduler import Launch
from study.scheduling.settings import Settings


def test_a_picture_of_a_trial_that_fails_is_said_and_stops_nothing(tmp_path: Path) -> None:
    def draw(trial: Path) -> None:
        raise RuntimeError("Failed to process string with tex because latex could not be found")

    settings = Settings("pictures", on_trial_complete=draw)
    happened = list(Launch(two_arms(), tmp_path, Instant(slots=1), settings, {}).run())
    noted = [event.text for event in happened if isinstance(event, events.Noted)]
    assert len([text for text in noted if text.startswith("no picture of it was drawn (RuntimeError: Failed")]) == 2
    assert list(reader.load("renewal", tmp_path)["state"]) == ["complete"] * 2


def test_of_a_picture_that_fails_half_way_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its PDF without its PNG, nor the ones of an earlier record."""
    with style.look():
        figure = style.figure()
        figure.subplots()
    style.save(figure, tmp_path / "picture")
    real = figure.savefig

    def savefig(path: Path, **options: object) -> None:
        if path.suffix == ".png":
            path.write_bytes(b"half")
            raise ValueError("no")
        real(path, **options)

    monkeypatch.setattr(figure, "savefig", savefig)
    with pytest.raises(ValueError, match="no"):
        style.save(figure, tmp_path / "picture")
    assert list(tmp_path.iterdir()) == []
