"""Folders without a table: one sub-folder for each class (torchvision's ImageFolder), or images alone."""

from __future__ import annotations

from pathlib import PurePosixPath

from runners.reading.annotated import left_out
from runners.reading.listing import FileStore, Item, Listing
from runners.reading.names import label_text, some
from runners.reading.tree import HELD_OUT, TRAIN, Tree


def from_folders(tree: Tree) -> Listing:
    """The class of an image is the sub-folder that it lies in, at any depth; below train/ and test/, the second one.

    Images of which none lies in such a sub-folder have no labels.
    """
    level = 1 if _below_split(tree) else 0
    names = {name: _class(name, level) for name in tree.images}
    classes = {folder: label_text(folder, "The sub-folder", "name") for folder in sorted(set(names.values()) - {""})}
    items = [
        Item(place, (classes[names[name]],) if names[name] else (), held_out=tree.held_out(name))
        for place, name in enumerate(tree.images)
    ]
    return Listing(
        path=tree.root,
        store=FileStore(tree.root, tree.images),
        items=items,
        what="the sub-folders",
        labelled=bool(classes),
        wrapper=_wrapper(tree) if len(classes) == 1 else "",
        notes=(*tree.notes, *(_empty(tree, level) if classes else ()), *left_out(tree.others)),
    )


def _below_split(tree: Tree) -> bool:
    """Whether the classes lie below train/ and test/, or below train/ alone."""
    folders = tree.first_folders
    return tree.is_split or (len(folders) == 1 and folders[0].casefold() in TRAIN | HELD_OUT)


def _class(name: str, level: int) -> str:
    """The folder at this depth that an image lies in; "" for one above it."""
    folders = name.split("/")[:-1]
    return folders[level] if len(folders) > level else ""


def _empty(tree: Tree, level: int) -> tuple[str, ...]:
    """A note on sub-folders that would be classes, had they images."""
    filled = {parent.as_posix() for name in tree.images for parent in PurePosixPath(name).parents}
    empty = [folder for folder in tree.folders if folder.count("/") == level and folder not in filled]
    return (f"Sub-folders without images are left out: {some(empty)}.",) if empty else ()


def _wrapper(tree: Tree) -> str:
    """The one sub-folder that holds everything, where classes seem to lie below it; else ""."""
    first = tree.first_folders
    below = {name.split("/")[1] for name in tree.images if name.count("/") > 1}
    return first[0] if len(first) == 1 and len(below) > 1 and all("/" in name for name in tree.images) else ""
