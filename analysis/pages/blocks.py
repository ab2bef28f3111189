"""What a page is made of: plain values, which `templates/blocks.html.j2` lays out and escapes."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

WIDE = 28  # letters of a cell that stay on one line: an interval, not a sentence
Anchors = Mapping[str, str]  # name -> the anchor that it leads to


# --- blocks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heading:
    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Caption:
    """A line over figures of one kind."""

    kind: ClassVar[str] = "caption"
    text: str


@dataclass(frozen=True)
class Paragraph:
    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Notes:
    """Lines in small letters under a table."""

    kind: ClassVar[str] = "notes"
    lines: Sequence[str]


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    lines: Sequence[str]


@dataclass(frozen=True)
class Warnings:
    """What limits the answer, each in a box of its own."""

    kind: ClassVar[str] = "warnings"
    lines: Sequence[str]


@dataclass(frozen=True)
class Link:
    """A text that leads to an anchor of the page; to nothing without one."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Cell:
    """One or more links; `long` text may break, `code` is set in a typewriter's letters."""

    links: tuple[Link, ...]
    long: bool = False
    code: bool = False


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    anchor: str = ""


@dataclass
class Group:
    """Rows that lie together; an arm's, where they have its anchor."""

    anchor: str = ""
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    kind: ClassVar[str] = "table"
    heads: Sequence[Link]
    groups: Sequence[Group]


@dataclass(frozen=True)
class Picture:
    """A figure with its PNG as base64, "" where it was not drawn; `description`: what it shows, for who cannot see."""

    kind: ClassVar[str] = "picture"
    name: str
    title: str
    description: str
    caption: str
    data: str


@dataclass(frozen=True)
class Fold:
    """Content that is one click away."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Block]


Block = Heading | Caption | Paragraph | Notes | Items | Warnings | Table | Picture | Fold


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


# --- how they are made ---------------------------------------------------------------------------------


def table(
    shown: pd.DataFrame,
    code: Collection[str] = (),
    links: Anchors | None = None,
    groups: Anchors | None = None,
    heads: Anchors | None = None,
) -> Table:
    """`shown` with the columns `code` in a typewriter's letters.

    `links`: arm -> the anchor that its name leads to, in the column `arm` and in tuples of arms; `heads`: the same for
    names of columns. `groups`: arm -> the anchor of its rows; each row has the anchor of its arm and seed.
    """
    columns, anchors = list(map(str, shown.columns)), links or {}
    made: dict[str, Group] = {}
    for values in shown.itertuples(index=False, name=None):
        row = dict(zip(columns, values, strict=True))
        arm = str(row.get("arm", "")) if groups else ""
        group = made.setdefault(arm, Group(groups[arm] if groups else ""))
        own = f"{group.anchor}-seed-{row['seed']}" if groups else ""
        group.rows.append(Row([_cell(row[name], name, name in code, anchors) for name in columns], own))
    return Table([Link(name, (heads or {}).get(name, "")) for name in columns], list(made.values()))


def _cell(value: Any, column: str, code: bool, links: Anchors) -> Cell:
    if isinstance(value, tuple):
        return Cell(tuple(Link(name, links.get(name, "")) for name in value), long=True)
    text = str(value)
    anchor = links.get(text, "") if column == "arm" else ""
    return Cell((Link(text, anchor),), long=len(text) > WIDE and not (code or anchor), code=code)


def encoded(png: Path | None) -> str:
    """The file as base64; "" without one."""
    return "" if png is None else base64.b64encode(png.read_bytes()).decode("ascii")


def render(template: str, **values: Any) -> str:
    """A template of `templates/`, filled; every value is escaped, and one that is missing is an error."""
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def folded(title: str, blocks: Iterable[Block], fold: bool = True) -> list[Block]:
    """The blocks under a heading, or one click away."""
    return [Fold(title, list(blocks))] if fold else [Heading(title), *blocks]
