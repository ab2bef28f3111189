"""One figure per file; the file name is the registry.

`table(results)` gathers a plain DataFrame from the record, `draw(table, results)` draws it, `caption(table, results)`
says in numbers what is seen. The docstring's first line is the title, the rest describes the figure to who cannot see
it. Optional: `NEEDS`, the files and columns that it is made of (`analysis.needs`): without them it is left out;
`applies(results)` for a figure that makes sense for some studies only; `lacking(table, results)`, a
sentence on why there is nothing to draw (without it: for an empty table); `title(results)` and `description(results)`
where they depend on the task; `PLACE`, "answer" for a figure that answers the question and "pictures" for one that is
made of images, the others stand among the diagnostics.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from runners import docstrings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from analysis.results import Results

# Where on the page a figure stands, its module's PLACE: what answers the question, images, diagnostics.
PLACES = ("answer", "pictures", "diagnostics")
NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class FigureModule(Protocol):
    """What a file of this folder offers."""

    __name__: str

    def table(self, results: Results) -> DataFrame: ...

    def draw(self, table: DataFrame, results: Results) -> Figure: ...

    def caption(self, table: DataFrame, results: Results) -> str: ...


def load(name: str) -> FigureModule:
    """The figure `name`, one of NAMES."""
    if name not in NAMES:
        raise ValueError(f"No figure {name!r}: write one of {', '.join(NAMES)}.")
    return cast(FigureModule, importlib.import_module(f"{__name__}.{name}"))


# --- what a figure says of itself --------------------------------------------------------------------


def place(figure: FigureModule) -> str:
    """One of PLACES: what the figure says, else "diagnostics"."""
    found = getattr(figure, "PLACE", PLACES[-1])
    if found not in PLACES:
        raise ValueError(f"PLACE = {found!r} of a figure: write one of {', '.join(PLACES)}.")
    return str(found)


def ordered() -> list[str]:
    """NAMES in the order of the page: by place, then by name."""
    return sorted(NAMES, key=lambda name: (PLACES.index(place(load(name))), name))


def title(figure: FigureModule, results: Results | None = None) -> str:
    """The first line of the figure's docstring, without its full stop, or what it is called in a study's task; of one
    without a docstring, its name."""
    asks = getattr(figure, "title", None)
    if asks is not None and results is not None:
        return str(asks(results))
    said = docstrings.of(cast(ModuleType, figure)).strip().splitlines()
    return said[0].rstrip(".") if said else figure.__name__.rsplit(".", 1)[-1].replace("_", " ").capitalize()


def description(figure: FigureModule, results: Results | None = None) -> str:
    """The rest of its docstring, or what it says of a study: what is drawn, for a reader who cannot see it."""
    asks = getattr(figure, "description", None)
    if asks is not None and results is not None:
        return str(asks(results))
    return " ".join(docstrings.of(cast(ModuleType, figure)).strip().partition("\n")[2].split())


def applies(figure: FigureModule, results: Results) -> bool:
    """Whether the trials have what the figure is made of, and it has something to say about the study; true for one
    that does not ask."""
    needs, asks = getattr(figure, "NEEDS", None), getattr(figure, "applies", None)
    return (needs is None or bool(needs.met(results))) and (asks is None or bool(asks(results)))


# --- drawing -----------------------------------------------------------------------------------------


def lacking(figure: FigureModule, table: DataFrame, results: Results) -> str:
    """Why there is nothing to draw, in a sentence; empty where there is something."""
    asks = getattr(figure, "lacking", None)
    if asks is not None:
        return str(asks(table, results))
    return "No trial is complete yet." if table.empty else ""


def draw(figure: FigureModule, table: DataFrame, results: Results) -> Figure:
    """The figure in the one look of all figures; a sentence where there is nothing to draw."""
    from analysis.plotting import fonts, labels, style

    with style.look():
        sentence = lacking(figure, table, results)
        return fonts.settle(labels.blank(sentence) if sentence else figure.draw(table, results))


def caption(figure: FigureModule, table: DataFrame, results: Results) -> str:
    """What is seen, in numbers, or why nothing is."""
    return lacking(figure, table, results) or figure.caption(table, results)
