"""Draws the figures of a report, some of them in processes of their own: matplotlib uses one core.

Started as a program (`drawing.py STUDY RECORD FOLDER`) it is such a process: it reads one figure's name a line and
answers with one JSON line, what `draw` returned, until its input ends, as it does when the report is stopped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path[0] = str(Path(__file__).resolve().parent.parent) if __name__ == "__main__" else sys.path[0]

from study import record as reader  # noqa: E402

FEW = 6  # figures that take no longer than the start of a process
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
    from analysis import figures, style

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


class Figures:
    """The figures `names` of a study, drawn by this process and its helpers; `finish` returns them in their order."""

    def __init__(self, names: Sequence[str], study: Mapping[str, Any], record: Path, folder: Path) -> None:
        self.names, self.study, self.record, self.folder = list(names), study, record, folder
        self.waiting = deque(self.names)
        self.done: dict[str, Drawn] = {}

    def help(self) -> None:
        """Start a process and hand it one figure after the other, until none waits or it dies."""
        given = [str(self.study["study_id"]), str(self.record.resolve()), str(self.folder.resolve())]
        command = [sys.executable, str(Path(__file__)), *given]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as helper:
            assert helper.stdin
            assert helper.stdout
            while self.waiting:
                try:
                    name = self.waiting.pop()  # `finish` takes them from the other end
                except IndexError:
                    break
                try:
                    print(name, file=helper.stdin, flush=True)
                    title, caption, drawn, place = json.loads(helper.stdout.readline())
                except (OSError, ValueError):  # it died: out of memory, stopped by someone
                    self.waiting.append(name)
                    break
                self.done[name] = Drawn(name, title, caption, self.folder / f"{name}.png" if drawn else None, place)
            helper.stdin.close()

    def finish(self, helpers: Sequence[threading.Thread] = ()) -> list[Drawn]:
        """Draw what waits, and what the helpers could not."""
        self._draw_waiting()
        for helper in helpers:
            helper.join()
        self._draw_waiting()
        return [self.done[name] for name in self.names]

    def _draw_waiting(self) -> None:
        while self.waiting:
            try:
                name = self.waiting.popleft()
            except IndexError:
                return
            self.done[name] = _draw_or_say_why(name, self.study, self.record, self.folder)


@contextmanager
def begun(study: Mapping[str, Any], record: Path, folder: Path, helpers: int = 0) -> Iterator[Any]:
    """Begin to draw every figure that applies to the study; yields the function that waits for the rest.

    One that fails is named on the page and costs no other. An error inside leaves the waiting ones undrawn.
    """
    figures = Figures(applying(study), study, record, folder)
    helpers = helpers if len(figures.names) > FEW else 0
    threads = [threading.Thread(target=figures.help, daemon=True) for _ in range(helpers)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: figures.finish(threads)
    finally:
        figures.waiting.clear()
        for thread in threads:
            thread.join()


def main() -> None:
    name, record, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    study = reader.load_study(name, record)
    with reader.read_once():
        for line in sys.stdin:
            _, title, caption, png, place = _draw_or_say_why(line.strip(), study, record, folder)
            print(json.dumps([title, caption, png is not None, place]), flush=True)


if __name__ == "__main__":
    main()
