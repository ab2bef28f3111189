"""Which layout a path has, the most certain one first: arrays, a table beside the images, class sub-folders, images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runners.reading import annotated, folders, idx, npz
from runners.reading.listing import Listing
from runners.reading.names import some
from runners.reading.tree import Tree, read_tree

TABLES = ("train.csv", "train.json")
ACCEPTED = "a folder of images, a .npz file or an IDX file"


def find(path: Path, wanted: str, scratch: Path | None) -> Listing:
    """What lies under `path`, with labels and split, before any picture is decoded.

    Args:
        path: a folder or a file that the user gave.
        wanted: "classes", "sets", "images", or "" for what the layout says.
        scratch: a folder for temporary files.

    Raises:
        ValueError: one sentence that says what to write instead.
    """
    if path.is_dir():
        return _of_folder(read_tree(path), wanted, scratch)
    if not path.exists():
        raise ValueError(f"--data {path} is not there: give {ACCEPTED}.")
    if path.suffix.casefold() == ".npz":
        return npz.from_npz(path, scratch)
    if path.is_file() and idx.is_idx(path):
        names = {file.name: file for file in path.parent.iterdir() if file.is_file()}
        return idx.from_idx(path, names, [path], scratch)
    if path.suffix.casefold() in (".csv", ".json", ".jsonl", ".parquet"):
        raise ValueError(f"--data {path} is a table: give the folder that holds it.")
    if path.suffix.casefold() in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        raise ValueError(f"--data {path} is an archive, or a damaged IDX file: unpack it and give the folder.")
    raise ValueError(f"--data {path} is a file of another kind: give {ACCEPTED}.")


def _of_folder(tree: Tree, wanted: str, scratch: Path | None) -> Listing:
    if not tree.images:
        return _of_arrays(tree, scratch)
    readers: dict[str, Callable[[Tree, str], Listing]] = {}
    if tables := annotated.metadata_of(tree):
        readers[some(tables)] = annotated.from_metadata
    readers |= {
        name: reader
        for name, reader in zip(TABLES, (annotated.from_csv, annotated.from_json), strict=True)
        if name in tree.others
    }
    if not readers:
        return folders.from_folders(tree)
    chosen, *rest = readers
    found = readers[chosen](tree, wanted)
    if not rest:
        return found
    return replace(found, notes=(f"The labels are those of {chosen}, not of {some(rest)}.", *found.notes))


def _of_arrays(tree: Tree, scratch: Path | None) -> Listing:
    """A folder without images that holds one .npz file, or IDX files."""
    names = {Path(name).name: tree.root / name for name in tree.others}
    archives = [name for name in tree.others if name.casefold().endswith(".npz")]
    if len(archives) == 1:
        return npz.from_npz(tree.root / archives[0], scratch)
    if archives:
        raise ValueError(f"--data {tree.root} holds several .npz files ({some(archives)}): give one of them.")
    if files := idx.image_files(names):
        return idx.from_idx(tree.root, names, files, scratch)
    held = f" but {some(tree.others)}" if tree.others else ""
    raise ValueError(
        f"--data {tree.root} holds no images{held}: put PNG, JPEG, WebP, BMP, GIF or TIFF files there, "
        "a .npz file or IDX files."
    )
