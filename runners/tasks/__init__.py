"""Whose images: one task per file or folder, found by the name that a config's `data` begins with.

A task's module offers what `Module` names. A source is a call, "rendered(view='near')" or "classes(digest='...')": the
content of the images, never their path.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol, cast

from runners.config import Call, Scalar, nearest
from runners.contents import Produced
from runners.experiment import Task


class Module(Protocol):
    """What a file of this folder offers.

    `SOURCES`: the names of its sources, by default its own; `SCALES`: scale -> fields in which its baseline differs
    from that of the other tasks, none by default.
    """

    SOURCES: tuple[str, ...]
    SCALES: Mapping[str, Mapping[str, Scalar]]

    def task(self, source: str) -> Task:
        """Raises ValueError, with what to write instead, for a source that is none."""

    def stored(self, source: str) -> tuple[str, bool]:
        """What prepared images are named after, and whether older versions named the same ones otherwise."""

    def produce(self, source: str, given: Any, image_size: int) -> Produced:
        """The images. Raises ValueError for one that cannot be used, at once or when its picture is asked for."""


def names() -> list[str]:
    """The tasks: the files and folders of this folder."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


@functools.cache
def _sources() -> dict[str, str]:
    """The name of a source -> its task."""
    found: dict[str, str] = {}
    for name in names():
        module: Any = importlib.import_module(f"{__name__}.{name}")
        found |= dict.fromkeys(getattr(module, "SOURCES", (name,)), name)
    return found


def module(source: str) -> Module:
    """The task of a config's `data`. Raises ValueError, with the nearest name, for one that no task has."""
    call = Call.parse(source)
    if call.name not in _sources():
        raise ValueError(
            f"data={source!r} is not a data source{nearest(call.name, _sources())} Your own images are given with "
            "--data PATH."
        )
    return cast(Module, importlib.import_module(f"{__name__}.{_sources()[call.name]}"))


@functools.cache
def of(source: str) -> Task:
    """What a config's `data` is about. Raises ValueError as `module` and the task itself do."""
    return module(source).task(source)
