"""What a person sees while a study runs: which trials, how far, how fast, how long still."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.scheduling.scheduler import Event

TRAINING_SHARE = 0.9  # of a trial's time; the rest is sampling and scoring


class Status:
    """One line that is rewritten on a terminal, and elsewhere printed every ten seconds."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.shown = time.monotonic()

    def show(self, text: str, force: bool = False) -> None:
        now = time.monotonic()
        if now - self.shown < (0.2 if self.terminal else 10.0) and not force:
            return
        self.shown = now
        print(f"\r\033[K{text}" if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def line(self, text: str) -> None:
        """A line that stays."""
        print(f"\r\033[K{text}" if self.terminal else text, flush=True)


class Display:
    """The events of a launch: a status line, and a line for each trial that starts or ends."""

    def __init__(self) -> None:
        self.total = 0
        self.slots = 1
        self.status = Status()
        self.done = 0
        self.before = 0
        self.running: dict[int, tuple[str, float, float]] = {}  # slot -> name, fraction, images a second
        self.slot_of: dict[str, int] = {}
        self.since: dict[int, float] = {}  # slot -> when its trial began
        self.spent = 0.0  # seconds of workers on trials that have ended
        self.first = True  # nothing was said about stopping yet

    def begin(self, total: int, already: int, slots: int) -> None:
        """A launch of `total` trials, of which the record has some, on so many slots."""
        self.total, self.done, self.before, self.slots, self.spent = total, already, already, slots, 0.0

    def show(self, event: Event) -> None:
        info = event.info
        if event.what == "preparing":
            rate = f", {info['images_per_second']:,.0f} images/s" if "images_per_second" in info else ""
            finished = info["done"] >= info["total"]
            self.status.show(f"{info['what']}: {info['done']:,} of {info['total']:,}{rate}", force=finished)
        elif event.what == "note":
            self.status.line(info["text"])
        elif event.what == "stopping":
            wait = f"{info['workers']} at their checkpoints, at most {info['seconds']:.0f} s"
            self.status.show(f"stopping: {wait}; Ctrl-C again stops now", self.first)
            self.first = False
        elif event.trial is None:
            return
        elif event.what == "started":
            self.since[info["slot"]] = time.monotonic()
            self.running[info["slot"]] = (event.trial.name, 0.0, 0.0)
            self.slot_of[event.trial.name] = info["slot"]
            self.status.line(f"started   {event.trial.name} on {info['device']}")
        elif event.what == "progress" and info["event"] == "note":
            self.status.line(f"{event.trial.name}: {info['text']}")
        elif event.what == "progress":
            self._progress(event.trial.name, info)
            self.status.show(self._summary())
        elif event.what == "scored":
            self._ended(event.trial.name)
            self.status.line(
                f"[{self.done}/{self.total}] {event.trial.name}: validation accuracy {info['accuracy']:.3f}"
            )
        elif event.what == "pruned":
            self._ended(event.trial.name)
            self.status.line(
                f"[{self.done}/{self.total}] {event.trial.name}: pruned after {info['images']:,} images at validation "
                f"accuracy {info['accuracy']:.3f}"
            )
        elif event.what == "retried":
            self._left(info["slot"])
            again = f"tried again, time {info['tries']}"
            self.status.line(f"{event.trial.name}: {info['status']}: {info['error']}; {again}")
        elif event.what == "failed":
            self._ended(event.trial.name)
            self.status.line(f"[{self.done}/{self.total}] {event.trial.name}: {info['status']}: {info['error']}")

    def end(self) -> None:
        if self.status.terminal:
            print("\r\033[K", end="", flush=True)

    def _progress(self, name: str, info: dict[str, object]) -> None:
        slot = self.slot_of[name]
        _, fraction, rate = self.running[slot]
        reports = [line for line in info.get("lines", ()) if "loss" in line]  # type: ignore[attr-defined]
        if reports:
            line = reports[-1]
            fraction = TRAINING_SHARE * line["images"] / info["total_images"]
            rate = line["images_per_second"]
        elif info["event"] == "sampling":
            fraction = TRAINING_SHARE + (1 - TRAINING_SHARE) * info["done"] / info["total"]  # type: ignore[operator]
        self.running[slot] = (name, fraction, rate)

    def _ended(self, name: str) -> None:
        self._left(self.slot_of[name])
        self.done += 1

    def _left(self, slot: int) -> None:
        if self.running.pop(slot, None):
            self.spent += time.monotonic() - self.since[slot]

    def _summary(self) -> str:
        parts = [f"{name} {fraction:.0%}" for name, fraction, _ in self.running.values()]
        rate = sum(rate for _, _, rate in self.running.values())
        left = self._seconds_left()
        wait = f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
        return f"{self.done} of {self.total} done | {', '.join(parts)} | {rate:,.0f} images/s | {wait}"

    def _seconds_left(self) -> float:
        """Deal the remaining trials to the slots, each as long as a worker took for one so far on average. A slot
        without a trial, which is at the evaluator or between two trials, counts as free."""
        now = time.monotonic()
        fractions = [fraction for _, fraction, _ in self.running.values()]
        work = self.done - self.before + sum(fractions)
        if work <= 0:
            return 0.0
        each = (self.spent + sum(now - self.since[slot] for slot in self.running)) / work
        ends = sorted([1 - fraction for fraction in fractions] + [0.0] * (self.slots - len(fractions)))
        for _ in range(self.total - self.done - len(fractions)):
            ends = sorted([ends[0] + 1, *ends[1:]])
        return each * ends[-1]
