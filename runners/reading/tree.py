"""Every file under a folder, listed once: nothing else of it is opened, so no name in a table can lead out of it.

Standard library only.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from runners import readable
from runners.reading.names import shown, some
from runners.reading.pictures import SUFFIXES

IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"})  # and whatever begins with a dot
TRAIN = frozenset({"train", "training"})
HELD_OUT = frozenset({"test", "testing", "val", "valid", "validation", "dev", "eval"})


@dataclass(frozen=True)
class Tree:
    """The files under `root`, by their paths relative to it, written with "/", sorted."""

    root: Path
    images: tuple[str, ...]  # with a suffix of an image
    others: tuple[str, ...]
    notes: tuple[str, ...] = ()
    folders: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Image by its name as a table may write it: as it is, and composed (macOS decomposes accents)."""
        composed = {unicodedata.normalize("NFC", name): name for name in self.images}
        return composed | {name: name for name in self.images}

    def image(self, name: str) -> str:
        """The image that a table names by a path relative to the root; "" where there is none."""
        found = self._by_name
        if name in found:
            return found[name]
        written = PurePosixPath(name.strip().replace("\\", "/")).as_posix()
        return found.get(written) or found.get(unicodedata.normalize("NFC", written), "")

    @cached_property
    def first_folders(self) -> tuple[str, ...]:
        """The folders of the first level that hold images at any depth."""
        return tuple(sorted({name.split("/", 1)[0] for name in self.images if "/" in name}))

    @cached_property
    def is_split(self) -> bool:
        """Whether the first level is the user's own split: train/ and one of test/, val/, ..., nothing else.

        Raises:
            ValueError: for held-out images without training images.
        """
        names = {name.casefold() for name in self.first_folders}
        if len(names) < 2 or not names <= TRAIN | HELD_OUT:
            return False
        if not names & TRAIN:
            raise ValueError(
                f"--data {self.root} has the folders {some(sorted(names))}, but no train: add the training images."
            )
        return bool(names & HELD_OUT)

    def held_out(self, name: str) -> bool:
        """Whether an image lies on the held-out side of the user's own split."""
        return self.is_split and "/" in name and name.split("/", 1)[0].casefold() in HELD_OUT


def leaves(name: str) -> bool:
    """Whether a path that a table names is absolute, leads up, or is none."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or bool(PureWindowsPath(name).drive) or ".." in path.parts or "\0" in name


def read_tree(root: Path) -> Tree:
    """List every file under `root` but hidden ones, and those that systems leave (Thumbs.db).

    Raises:
        ValueError: for a folder that cannot be listed, and for a link that leads out of it.
    """
    inside = root.resolve()
    images: list[str] = []
    others: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(inside / folder) as listing:
                entries = [entry for entry in listing if not _ignored(entry.name)]
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_symlink() and not _stays(Path(entry.path), inside):
                    raise ValueError(
                        f"The link {shown(name)} leads out of --data {root} or nowhere: put the file itself there."
                    )
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                    folders.append(name)
                elif entry.is_dir():
                    links.append(name)
                elif entry.is_file():
                    (images if PurePosixPath(name).suffix.casefold() in SUFFIXES else others).append(name)
        except OSError as error:
            at = inside / folder if error.filename is None else Path(error.filename)
            raise ValueError(f"The folder {readable.of_error(at, error).sentence(at, 'restore it')}") from error
    notes = (f"Links to folders are not followed: {some(sorted(links))}.",) if links else ()
    return Tree(root, tuple(sorted(images)), tuple(sorted(others)), notes, tuple(sorted(folders)))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.casefold() in IGNORED


def _stays(link: Path, root: Path) -> bool:
    """Whether a link ends inside `root`; one that leads nowhere does not."""
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return False
