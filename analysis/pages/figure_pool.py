"""Draws the figures of a report, some of them in processes of their own: matplotlib uses one core.

Started as a program it is such a process: it reads one figure a line (name, study, record, folder as JSON) and answers
with one JSON line, what `draw` returned, until its input ends, as it does when the report is stopped.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, NamedTuple

from study.record import reader

FEW = 4  # figures that take no longer than the start of a process
MOST = 3  # helpers; the record is read in each


class Drawn(NamedTuple):
    """A figure of the report: its name, title, caption in numbers, PNG (None: not drawn) and place on the page."""

    name: str
    title: str
    caption: str
    png: Path | None
    place: str


def draw(name: str, study: Mapping[str, Any], record: Path, folder: Path) -> Drawn:
    """Gather and draw one figure; `folder`/`name` as PNG, PDF and, without a path of this machine, CSV."""
    from analysis import figures
    from analysis.plotting import style

    figure = figures.load(name)
    table = figure.table(study["study_id"], record)
    png = style.save(figure.draw(table, study), folder / name)
    portable = table.replace(f"^{re.escape(str(record))}/", "", regex=True)
    portable.to_csv(folder / f"{name}.csv", index=False)
    return Drawn(name, figures.title(figure), figure.caption(table, study), png, figures.place(figure))


def _draw_or_say_why(name: str, study: Mapping[str, Any], record: Path, folder: Path) -> Drawn:
    from analysis import figures

    try:
        return draw(name, study, record, folder)
    except Exception as error:  # whatever is wrong with one image or curve, the tables are still wanted
        figure = figures.load(name)
        reason = f"not drawn ({type(error).__name__}: {error})."
        return Drawn(name, figures.title(figure), reason, None, figures.place(figure))


def applying(study: Mapping[str, Any]) -> list[str]:
    """The figures that have something to say about the study, in the order of the page."""
    from analysis import figures

    return [name for name in figures.ordered() if figures.applies(figures.load(name), study)]


def spare_cores() -> int:
    """Processes that can draw beside this one."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST + 1) - 1


def worth_helping(study: Mapping[str, Any]) -> int:
    """Helpers that pay for a study's figures, where everything that draws is imported already."""
    return spare_cores() if len(applying(study)) > FEW else 0


class Helper:
    """A process that draws. It imports what it needs while this one does, so it is best started first of all."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analysis.pages.figure_pool"], stdin=PIPE, stdout=PIPE, text=True
        )

    def draw(self, name: str, study: Mapping[str, Any], record: Path, folder: Path) -> Drawn | None:
        """What `draw` returns; None where the process has died: out of memory, stopped by someone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = [name, str(study["study_id"]), str(record.resolve()), str(folder.resolve())]
        try:
            print(json.dumps(job), file=self.process.stdin, flush=True)
            title, caption, drawn, place = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return None
        return Drawn(name, title, caption, folder / f"{name}.png" if drawn else None, place)

    def end(self) -> None:
        with self.process as process, contextlib.suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def helping(count: int) -> Iterator[list[Helper]]:
    """`count` helpers, which end with the block."""
    helpers = [Helper() for _ in range(count)]
    try:
        yield helpers
    finally:
        for helper in helpers:
            helper.end()


class Figures:
    """The figures that apply to a study, drawn by this process and its helpers; `finish` returns them in order."""

    def __init__(self, study: Mapping[str, Any], record: Path, folder: Path) -> None:
        self.names, self.where = applying(study), (study, record, folder)
        self.waiting = deque(self.names)
        self.done: dict[str, Drawn] = {}

    def help(self, helper: Helper) -> None:
        """Hand the helper one figure after the other, until none waits or it dies."""
        while self.waiting:
            try:
                name = self.waiting.pop()  # `finish` takes them from the other end
            except IndexError:
                return
            if (drawn := helper.draw(name, *self.where)) is None:
                self.waiting.append(name)
                return
            self.done[name] = drawn

    def finish(self, helping: Sequence[threading.Thread]) -> list[Drawn]:
        """Draw what waits, and what the helpers could not."""
        self._draw_waiting()
        for thread in helping:
            thread.join()
        self._draw_waiting()
        return [self.done[name] for name in self.names]

    def _draw_waiting(self) -> None:
        while self.waiting:
            try:
                name = self.waiting.popleft()
            except IndexError:
                return
            self.done[name] = _draw_or_say_why(name, *self.where)


@contextmanager
def begun(
    study: Mapping[str, Any], record: Path, folder: Path, helpers: Sequence[Helper] = ()
) -> Iterator[Callable[[], list[Drawn]]]:
    """Begin to draw every figure that applies to the study; yields the function that waits for the rest.

    One that fails is named on the page and costs no other. An error inside leaves the waiting ones undrawn.
    """
    figures = Figures(study, record, folder)
    threads = [threading.Thread(target=figures.help, args=(helper,), daemon=True) for helper in helpers]
    for thread in threads:
        thread.start()
    try:
        yield lambda: figures.finish(threads)
    finally:
        figures.waiting.clear()
        for thread in threads:
            thread.join()


def collect_less_garbage() -> None:
    """For a process that draws and ends: an eighth of drawing is looking for cycles among figures that still stand."""
    gc.set_threshold(100_000, 50, 50)


def main() -> None:
    from analysis import figures

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the report's, whose end is the end of the input
    collect_less_garbage()
    figures.ordered()  # imports what they need, before the first one is asked for
    known: tuple[str, str] | None = None
    with contextlib.ExitStack() as reading:
        for line in sys.stdin:
            name, study_id, record, folder = json.loads(line)
            if known != (study_id, record):
                reading.close()
                reading.enter_context(reader.read_once())
                known = (study_id, record)
            study = reader.load_study(study_id, Path(record))
            _, title, caption, png, place = _draw_or_say_why(name, study, Path(record), Path(folder))
            print(json.dumps([title, caption, png is not None, place]), flush=True)


if __name__ == "__main__":
    main()
