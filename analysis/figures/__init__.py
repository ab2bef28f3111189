"""One figure a file: `table(study_id, record)` gathers a plain DataFrame from the record, `draw(table, study)`
draws it, `caption(table, study)` says in numbers what is seen. The file name is the registry. A figure that makes
sense for some studies only has `applies(study)`; one that answers the question or is made of pictures says so with
`PLACE = "answer"` or `PLACE = "pictures"`, the others stand among the diagnostics."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

# Where on the page a figure stands, its module's PLACE: what answers the question, pictures, diagnostics.
PLACES = ("answer", "pictures", "diagnostics")
NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class FigureModule(Protocol):
    """What a file of this folder offers; its docstring's first line is the figure's title."""

    __doc__: str | None

    def table(self, study_id: str, record: Path) -> DataFrame: ...

    def draw(self, table: DataFrame, study: Mapping[str, Any]) -> Figure: ...

    def caption(self, table: DataFrame, study: Mapping[str, Any]) -> str: ...


def load(name: str) -> FigureModule:
    """The figure `name`, one of NAMES."""
    if name not in NAMES:
        raise ValueError(f"No figure {name!r}: write one of {', '.join(NAMES)}.")
    return cast(FigureModule, importlib.import_module(f"{__name__}.{name}"))


def place(figure: FigureModule) -> str:
    """One of PLACES: what the figure says, else "diagnostics"."""
    found = getattr(figure, "PLACE", PLACES[-1])
    if found not in PLACES:
        raise ValueError(f"PLACE = {found!r} of a figure: write one of {', '.join(PLACES)}.")
    return str(found)


def ordered() -> list[str]:
    """NAMES in the order of the page: by place, then by name."""
    return sorted(NAMES, key=lambda name: (PLACES.index(place(load(name))), name))


def title(figure: FigureModule) -> str:
    """The first line of the figure's docstring, without its full stop."""
    return (figure.__doc__ or "").strip().splitlines()[0].rstrip(".")


def applies(figure: FigureModule, study: Mapping[str, Any]) -> bool:
    """Whether the figure has something to say about the study; true for one that does not ask."""
    asks = getattr(figure, "applies", None)
    return asks is None or bool(asks(study))
