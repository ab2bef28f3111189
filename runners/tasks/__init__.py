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

    `SOURCES`: the names of its sources, by default its own; `OF_FILES`: those whose images the user gives, none by
    default; `SCALES`: scale -> fields in which its baseline differs
    from that of the other tasks, none by default.
    """

    SOURCES: tuple[str, ...]
    OF_FILES: tuple[str, ...]
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
        found |= dict.fromkeys(getattr(_module(name), "SOURCES", (name,)), name)
    return found


def module(source: str) -> Module:
    """The task of a config's `data`. Raises ValueError, with the nearest name, for one that no task has."""
    call = Call.parse(source)
    own = [name for name, task in _sources().items() if name in getattr(_module(task), "OF_FILES", ())]
    if call.name not in _sources():
        built_in = _sources().keys() - set(own)
        raise ValueError(
            f"data={source!r} is not a data source{nearest(call.name, built_in)} Your own images are given with "
            "--data PATH."
        )
    if call.name in own and "digest" not in dict(call.arguments):
        raise ValueError(f"data={source!r} stands for images of your own: give them with --data PATH.")
    return cast(Module, _module(_sources()[call.name]))


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


@functools.cache
def of(source: str) -> Task:
    """What a config's `data` is about. Raises ValueError as `module` and the task itself do."""
    return module(source).task(source)
