"""What a person sees while a study runs: which trials, how far, how fast, how long still.

On a terminal the running trials are redrawn in place (rich); elsewhere a plain line is printed every ten seconds. What
is shown decides nothing: a closed or full output, and an error of the display itself, end the display, not the study.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from runners.experiment import Progress, metric_name
from runners.process.status import can_redraw
from study.scheduling import events

TRAINING_SHARE = 0.9  # of a trial's time; the rest is sampling and scoring
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal
REDRAW_SECONDS = 0.2  # between two drawings on a terminal
BAR, SHORT_BAR, NAME = 24, 6, 20  # columns: of a bar where there is room, of the shortest one, of a name beside it
T = TypeVar("T")


class Screen:
    """Lines that stay, and below them what is redrawn; on no terminal, and on one that cannot redraw, lines only.

    Nothing is redrawn for a reader who is behind. An error of the display ends the display.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file or sys.stdout
        self.terminal = can_redraw(self.file)
        # Of what FORCE_COLOR and the like say to programs that colour their output, nothing counts here.
        self.console = Console(file=self.file, highlight=False, force_terminal=self.terminal)
        self.live: Live | None = None
        self.shown = time.monotonic()
        self.drawn = 0.0

    def line(self, text: str) -> None:
        """A line that stays, however wide: whoever reads a log wants it whole."""
        if self.terminal:
            self._say(lambda: self.console.print(Text(text), soft_wrap=True))
        else:
            self._say(lambda: print(text, file=self.file, flush=True))

    def show(self, text: str, rows: Sequence[Row] = (), force: bool = False) -> None:
        """What is going on: `rows` are drawn on a terminal above `text`, which elsewhere is all that is printed."""
        now = time.monotonic()
        if not force and getattr(self.file, "behind", False):
            return
        if self.terminal:
            if force or self.live is None or now - self.drawn >= REDRAW_SECONDS:
                self.drawn = now
                self._say(lambda: self._draw(Group(_table(rows, self.console.width), Text(text, overflow="fold"))))
        elif force or now - self.shown >= PLAIN_SECONDS:
            self.shown = now
            self._say(lambda: print(text, file=self.file, flush=True))

    def clear(self) -> None:
        """Nothing is going on any more."""
        if self.live is not None:
            live, self.live = self.live, None
            live.update(Group())  # rows beyond the height of the terminal would stay behind
            self._say(live.stop)

    def _draw(self, drawn: Group) -> None:
        if self.live is None:
            self.live = Live(
                console=self.console,
                transient=True,
                auto_refresh=False,
                # What goes to a file does not go to the terminal.
                redirect_stdout=can_redraw(sys.stdout),
                redirect_stderr=can_redraw(sys.stderr),
            )
            self.live.start()
        self.live.update(drawn, refresh=True)

    def _say(self, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception:
            live, self.live, self.terminal = self.live, None, False
            with contextlib.suppress(Exception):
                if live is not None:
                    live.stop()  # gives the streams back


@dataclass(frozen=True)
class Row:
    """A running trial: its name, the share of it that is done, its training images per second."""

    name: str
    share: float
    rate: float


def _table(rows: Sequence[Row], width: int) -> Table:
    """One line per row in `width` columns: names are cut, and where that is not enough, bars are left out."""
    share, rate, gap = 4, 15, 2
    left = width - share - rate - 2 * gap
    bar = min(BAR, left - gap - NAME)
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(1, left - (bar + gap if bar >= SHORT_BAR else 0)))
    if bar >= SHORT_BAR:
        table.add_column(width=bar)
    table.add_column(justify="right", no_wrap=True, overflow="crop", width=share)
    table.add_column(justify="right", no_wrap=True, overflow="crop", width=rate)
    for row in rows:
        bars = [ProgressBar(total=1.0, completed=row.share, width=bar)] if bar >= SHORT_BAR else []
        speed = f"{row.rate:,.0f} images/s" if row.rate else ""
        table.add_row(Text(row.name), *bars, f"{row.share:.0%}", speed)
    return table


def watched(steps: Generator[Progress, None, T], screen: Screen | None = None) -> T:
    """The value of steps that say how far they are, which is shown."""
    screen = screen or Screen()
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                value: T = end.value
                return value
            screen.show(preparing(step.what, step.done, step.total, step.rate), force=step.done >= step.total)
    finally:
        screen.clear()


def preparing(what: str, done: int, total: int, rate: float) -> str:
    """`rendering images: 300 of 18,009, 1,200 images/s`."""
    return f"{what}: {done:,} of {total:,}" + (f", {rate:,.0f} images/s" if rate else "")


class Display:
    """The events of a launch: what is running, and a line for each trial that starts or ends."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.total = self.done = self.before = 0
        self.slots = 1
        self.score = "score"  # in words
        self.running: dict[int, Row] = {}  # slot -> its trial
        self.since: dict[int, float] = {}  # slot -> when its trial began
        self.spent = 0.0  # seconds of workers on trials that have ended
        self.first = True  # nothing was said about stopping yet
        self.failed = False

    def begin(self, total: int, already: int, slots: int, metric: str = "accuracy/validation") -> None:
        """A launch of `total` trials, of which the record has some, on so many slots; they are scored in `metric`."""
        self.total, self.done, self.before, self.slots, self.spent = total, already, already, slots, 0.0
        self.score = " ".join(reversed(metric_name(metric).split("/")))

    def end(self) -> None:
        self.screen.clear()

    def show(self, event: events.Event) -> None:
        """Show an event. Raises nothing: what cannot be shown is no reason to stop a study."""
        if self.failed:
            return
        try:
            self._show(event)
        except Exception as error:
            self.failed = True
            self.screen.clear()
            self.screen.line(f"The display ended ({type(error).__name__}: {error}); the study goes on.")

    def _show(self, event: events.Event) -> None:
        match event:
            case events.Preparing(what, done, total, rate):
                self.screen.show(preparing(what, done, total, rate), force=done >= total)
            case events.Noted(text, about):
                self.screen.line(f"{about}: {text}" if about else text)
            case events.Stopping(workers, seconds):
                places = "its checkpoint" if workers == 1 else "their checkpoints"
                wait = f"{workers} at {places}, at most {seconds:.0f} s"
                self.screen.show(f"stopping: {wait}; Ctrl-C again stops now", force=self.first)
                self.first = False
            case events.Started(trial, slot, device):
                self.since[slot] = time.monotonic()
                self.running[slot] = Row(trial.name, 0.0, 0.0)
                self.screen.line(f"started   {trial.name} on {device}")
            case events.Training(trial, slot, lines, total):
                self._trained(trial.name, slot, lines, total)
            case events.Sampling(trial, slot, done, total):
                share = TRAINING_SHARE + (1 - TRAINING_SHARE) * done / total
                self._at(slot, Row(trial.name, share, self.running[slot].rate))
            case _:
                self._ended(event)

    def _ended(self, event: events.Event) -> None:
        match event:
            case events.Scored(trial, slot, value):
                self._finished(slot, f"{trial.name}: {self.score} {value:.3f}")
            case events.Pruned(trial, slot, images, value):
                text = f"{trial.name}: pruned after {images:,} images at {self.score} {value:.3f}"
                self._finished(slot, text)
            case events.Failed(trial, slot, status, error):
                self._finished(slot, f"{trial.name}: {status}: {error}")
            case events.Retried(trial, slot, status, error, tries):
                self._left(slot)
                self.screen.line(f"{trial.name}: {status}: {error}; retry {tries}")

    def _trained(self, name: str, slot: int, lines: Sequence[Mapping[str, float]], total: int) -> None:
        reports = [line for line in lines if "loss" in line] or [line for line in lines if "images" in line]
        row = self.running[slot]
        if reports:
            rate = reports[-1].get("images_per_second", row.rate)
            row = Row(name, TRAINING_SHARE * reports[-1]["images"] / max(1, total), rate)
        self._at(slot, row)

    def _at(self, slot: int, row: Row) -> None:
        self.running[slot] = row
        self.screen.show(self._summary(), list(self.running.values()))

    def _finished(self, slot: int, text: str) -> None:
        self._left(slot)
        self.done += 1
        self.screen.line(f"[{self.done}/{self.total}] {text}")

    def _left(self, slot: int) -> None:
        if self.running.pop(slot, None):
            self.spent += time.monotonic() - self.since[slot]

    def _summary(self) -> str:
        left = self._seconds_left()
        wait = f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
        if self.screen.terminal:  # the trials stand above it
            return f"{self.done} of {self.total} done | {wait}"
        parts = ", ".join(f"{row.name} {row.share:.0%}" for row in self.running.values())
        rate = sum(row.rate for row in self.running.values())
        speed = f" | {rate:,.0f} images/s" if rate else ""
        return f"{self.done} of {self.total} done | {parts}{speed} | {wait}"

    def _seconds_left(self) -> float:
        """Deal the remaining trials to the slots, each as long as a worker took for one so far on average. A slot
        without a trial, which is between two trials, counts as free."""
        now = time.monotonic()
        shares = [row.share for row in self.running.values()]
        work = self.done - self.before + sum(shares)
        if work <= 0:
            return 0.0
        each = (self.spent + sum(now - self.since[slot] for slot in self.running)) / work
        ends = sorted([1 - share for share in shares] + [0.0] * (self.slots - len(shares)))
        waiting = self.total - self.done - len(shares)
        rounds, rest = divmod(max(0, waiting), max(1, self.slots))
        ends = [end + rounds for end in ends]  # every slot takes so many more, and the first ones one more yet
        for index in range(rest):
            ends[index] += 1
        return each * max(ends, default=0.0)
