"""Draws the figures of a report, some of them in processes of their own: matplotlib uses one core."""

from __future__ import annotations

import gc
import multiprocessing
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from analysis.results import Results
from runners.process import apart
from runners.process.cores import limit_libraries, usable

FEW = 4  # figures that take no longer than the start of a process
MOST = 3  # processes beside this one; each reads the record
Pool = ProcessPoolExecutor


class Drawn(NamedTuple):
    """A figure of the report: its name, title, caption in numbers, PNG (None: not drawn), place on the page, and what
    is drawn, for a reader who cannot see it."""

    name: str
    title: str
    caption: str
    png: Path | None
    place: str
    description: str


def draw(name: str, results: Results, folder: Path) -> Drawn:
    """Gather and draw one figure; `folder`/`name` as PNG, PDF and, without a path of this machine, CSV."""
    from analysis import figures
    from analysis.plotting import fonts, style

    figure = figures.load(name)
    fonts.lacking.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries warn their callers of; the caption says what limits a figure
        table = figure.table(results)
        png = style.save(figures.draw(figure, table, results), folder / name)
    portable = table.replace(f"^{re.escape(str(results.record))}/", "", regex=True)
    portable.to_csv(folder / f"{name}.csv", index=False)
    return _drawn(name, results, figures.caption(figure, table, results) + fonts.sentence(), png)


def draw_or_say_why(name: str, results: Results, folder: Path) -> Drawn:
    """As `draw`; a figure that fails says why in its caption."""
    try:
        return draw(name, results, folder)
    except Exception as error:  # whatever is wrong with one image or curve, the tables are still wanted
        return _drawn(name, results, f"not drawn ({type(error).__name__}: {error}).", None)


def _drawn(name: str, results: Results, caption: str, png: Path | None) -> Drawn:
    from analysis import figures

    figure = figures.load(name)
    title, description = figures.title(figure, results), figures.description(figure, results)
    return Drawn(name, title, caption, png, figures.place(figure), description)


def applying(results: Results) -> list[str]:
    """The figures that have something to say about the study, in the order of the page."""
    from analysis import figures

    return [name for name in figures.ordered() if figures.applies(figures.load(name), results)]


# --- the pool --------------------------------------------------------------------------------------------


def spare_cores() -> int:
    """Processes that can draw beside this one."""
    return min(usable(), MOST + 1) - 1


@contextmanager
def opened(processes: int) -> Iterator[Pool | None]:
    """A pool of so many processes, which start when they are needed and end with the block; None for no process, and
    where there is no room for their semaphores or no right to make some (/dev/shm): one process draws all."""
    collect_less_garbage()
    with ExitStack() as stack:
        pool: Pool | None = None
        with suppress(OSError):
            if processes > 0:
                limit_libraries()
                # Spawned: a fork after numerical threads may wait for ever.
                made = Pool(processes, multiprocessing.get_context("spawn"), initializer=_begin)
                pool = stack.enter_context(made)
        yield pool


@contextmanager
def begun(results: Results, folder: Path, pool: Pool | None = None) -> Iterator[Callable[[], list[Drawn]]]:
    """Begin to draw every figure that applies to the study; yields the function that waits for them.

    One that fails is named on the page and costs no other, and neither does a process that dies. An error inside the
    block leaves the waiting ones undrawn.
    """
    names = applying(results)
    asked = _asked(pool, names, results, folder) if pool is not None and len(names) > FEW else {}
    try:
        yield lambda: _finished(names, asked, results, folder)
    finally:
        for future in asked.values():
            future.cancel()


def _asked(pool: Pool, names: list[str], results: Results, folder: Path) -> dict[str, Future[Drawn]]:
    where = (results.study.study_id, str(results.record.resolve()), str(folder.resolve()))
    try:
        return {name: pool.submit(_draw_there, name, *where) for name in names}
    except BrokenProcessPool:
        return {}


def _finished(names: list[str], asked: dict[str, Future[Drawn]], results: Results, folder: Path) -> list[Drawn]:
    """Draw here what no process has begun, from the end of the queue, and what the processes could not."""
    done: dict[str, Drawn] = {}
    for name in reversed(names):
        if name not in asked or asked[name].cancel():
            done[name] = draw_or_say_why(name, results, folder)
    for name in names:
        if name not in done:
            try:
                done[name] = asked[name].result()
            except BrokenProcessPool:
                done[name] = draw_or_say_why(name, results, folder)
    return [done[name] for name in names]


# --- in a process of the pool ----------------------------------------------------------------------------


def _begin() -> None:
    apart.follow()
    collect_less_garbage()


@lru_cache(maxsize=1)
def _results(study_id: str, record: str) -> Results:
    return Results.open(study_id, Path(record))


def _draw_there(name: str, study_id: str, record: str, folder: str) -> Drawn:
    return draw_or_say_why(name, _results(study_id, record), Path(folder))


def collect_less_garbage() -> None:
    """For a process that draws and ends: an eighth of drawing is looking for cycles among figures that still stand."""
    gc.set_threshold(100_000, 50, 50)
