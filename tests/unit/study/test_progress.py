"""How long still: from the time that workers took, whatever the other slots are at."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from study.cli import progress
from study.scheduling import events


@dataclass
class Named:
    name: str


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def started(display: progress.Display, name: str, slot: int) -> None:
    display.show(events.Started(Named(name), slot, "cpu"))


def trained(display: progress.Display, name: str, slot: int, share: float) -> None:
    line = {"loss": 0.1, "images": share * 900, "images_per_second": 10.0}
    display.show(events.Training(Named(name), slot, (line,), 810))


def test_a_slot_at_the_evaluator_is_soon_free_for_trials(clock) -> None:
    """After 60 s the only trial is half done: 120 s each, 8 more on two slots are 4 each."""
    display = progress.Display()
    display.begin(9, 0, slots=2)
    started(display, "a", 1)
    clock[0] += 60
    trained(display, "a", 1, 0.5)
    assert display._seconds_left() == pytest.approx(120 * 4.5)
    assert display._summary() == "0 of 9 done | a 50% | 10 images/s | 9 min left"


def test_trials_that_ended_count_with_the_time_their_workers_took(clock) -> None:
    display = progress.Display()
    display.begin(4, 1, slots=2)
    started(display, "a", 0)
    clock[0] += 30  # the other slot comes later
    started(display, "b", 1)
    clock[0] += 30
    display.show(events.Scored(Named("a"), 0, 0.5))
    started(display, "c", 0)
    clock[0] += 15
    trained(display, "b", 1, 0.75)
    trained(display, "c", 0, 0.25)
    # 60 + 45 + 15 s for 1 + .75 + .25 trials: 60 s each; c needs three quarters of that.
    assert display._seconds_left() == pytest.approx(45)


def test_before_anything_is_done_it_promises_nothing(clock) -> None:
    display = progress.Display()
    display.begin(3, 0, slots=2)
    started(display, "a", 0)
    assert display._seconds_left() == 0.0


@pytest.mark.parametrize(("workers", "places"), [(1, "1 at its checkpoint"), (3, "3 at their checkpoints")])
def test_stopping_says_how_many_it_waits_for(workers: int, places: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress.Display().show(events.Stopping(workers, 30.0))
    assert f"stopping: {places}, at most 30 s" in capsys.readouterr().out


def test_a_score_is_called_what_it_is_called_in_reports(capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.Display()
    display.begin(1, 0, 1, "kid/validation")
    started(display, "a", 0)
    display.show(events.Scored(Named("a"), 0, 0.01))
    assert "a: validation KID 0.010" in capsys.readouterr().out
