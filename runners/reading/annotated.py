"""Folders with a table beside the images: metadata.csv (.jsonl, .parquet), train.csv, or train.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from runners import user_texts
from runners.config import nearest
from runners.reading.listing import FileStore, Item, Listing
from runners.reading.names import counted, has, natural, shown, some
from runners.reading.tables import Row, Table, labels_of, read_table
from runners.reading.tree import Tree, leaves

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
HELD_OUT_TABLES = ("val.csv", "test.csv")
LISTS = ("test", "new_test")  # of conditions, in JSON files beside train.json
# Where the images of a table may lie, beside the table itself.
FOLDERS = {
    "train.csv": ("data/", "images/", "train/"),
    "val.csv": ("val/", "data/", "images/", "train/"),
    "test.csv": ("test/", "data/", "images/", "train/"),
    "train.json": ("images/", "iclevr/", "data/", "train/"),
}


def metadata_of(tree: Tree) -> list[str]:
    """The metadata tables at any depth; each names images relative to its own folder (Hugging Face's imagefolder)."""
    return [name for name in tree.others if PurePosixPath(name).name in METADATA]


def from_metadata(tree: Tree, wanted: str) -> Listing:
    """Raises ValueError for two tables in one folder, and what `read_table` and `_joined` raise."""
    names = metadata_of(tree)
    folders = [str(PurePosixPath(name).parent) for name in names]
    if len(set(folders)) < len(folders):
        raise ValueError(f"--data {tree.root} has several tables in one folder, {some(names)}: leave one of them.")
    tables = [read_table(tree.root / name, name, wanted == "sets") for name in names]
    prefixes = ["" if folder == "." else f"{folder}/" for folder in folders]
    return _joined(tree, [(table, prefix, False) for table, prefix in zip(tables, prefixes, strict=True)], wanted)


def from_csv(tree: Tree, wanted: str) -> Listing:
    """train.csv, and val.csv or test.csv with the held-out images."""
    parts = []
    for name in ("train.csv", *HELD_OUT_TABLES):
        if name in tree.others:
            table = read_table(tree.root / name, name, wanted == "sets")
            parts.append((table, _folder(tree, table.rows, name), name in HELD_OUT_TABLES))
    return _joined(tree, parts, wanted)


def from_json(tree: Tree, wanted: str) -> Listing:
    """train.json with {file: [labels]}; objects.json may name the labels, test.json and new_test.json conditions."""
    content = _read_json(tree, "train.json")
    if not isinstance(content, dict) or not content:
        raise ValueError("train.json must map file names to lists of labels: {'a.png': ['red cube']}.")
    rows = [Row(file, labels_of(value, f"train.json, {shown(file)},")) for file, value in content.items()]
    table = Table("train.json", tuple(rows), labelled=True, several=True)
    known, notes = _objects(tree) if "objects.json" in tree.others else ((), ())
    lists = {name: _conditions(tree, f"{name}.json") for name in LISTS if f"{name}.json" in tree.others}
    permitted = set(known or (label for row in rows for label in row.labels))
    for name, where, labels in _labels_of_all(rows, lists):
        for label in labels:
            if label not in permitted:
                hint = nearest(label, permitted) if len(permitted) <= 30 else ": write a label of the training images."
                raise ValueError(f"{name}, {where}, has the unknown label {shown(label)!r}{hint}")
    beside = ("objects.json", *(f"{name}.json" for name in LISTS))
    found = _joined(tree, [(table, _folder(tree, rows, "train.json"), False)], wanted, beside)
    return replace(found, known=known, lists=lists, notes=(*found.notes, *notes))


# --- tables and images brought together ----------------------------------------------------------------


@dataclass
class _Join:
    """What is found while rows are matched with images."""

    rows: dict[str, tuple[Row, str, bool]] = field(default_factory=dict)  # image -> row, table, held out
    missing: list[str] = field(default_factory=list)


def _joined(tree: Tree, parts: Sequence[tuple[Table, str, bool]], wanted: str, beside: Iterable[str] = ()) -> Listing:
    """The images of the tree with the rows of its tables.

    Args:
        parts: tables, each with the folder that its file names start from ("data/") and whether it is held out.
        wanted: the task that the user asked for, "" for none.
        beside: other files that belong to the layout.

    Raises:
        ValueError: for file names that leave the folder, that are not there, or that are named twice, and for tables
            without labels where images alone are not what the user asked for.
    """
    names = [table.name for table, _, _ in parts]
    labelled = any(table.labelled for table, _, _ in parts)
    if not labelled and wanted != "images":
        raise ValueError(
            f"{some(names)} {has(len(names))} no column label or labels: add one, or write --task images to train "
            "without labels."
        )
    join = _Join()
    for table, folder, held_out in parts:
        _match(tree, table, folder, held_out, join)
    if join.missing:
        lost = len(join.missing)
        raise ValueError(
            f"{some(names)} {'names' if len(names) == 1 else 'name'} {counted(lost, 'image')} that "
            f"{'is' if lost == 1 else 'are'} not in --data {tree.root} ({some(join.missing)}): "
            "add the files or remove the rows."
        )
    items = []
    for place, image in enumerate(tree.images):
        if image in join.rows:
            row, _, held_out = join.rows[image]
            items.append(Item(place, row.labels, row.group, held_out or tree.held_out(image)))
        else:
            items.append(Item(place, held_out=tree.held_out(image)))
    known = {*names, *beside}
    notes = [note for table, _, _ in parts for note in table.notes]
    return Listing(
        path=tree.root,
        store=FileStore(tree.root, tree.images),
        items=items,
        what=some(names),
        labelled=labelled,
        several=any(table.several for table, _, _ in parts),
        notes=(*tree.notes, *notes, *left_out(name for name in tree.others if name not in known)),
    )


def _match(tree: Tree, table: Table, folder: str, held_out: bool, join: _Join) -> None:
    for row in table.rows:
        if leaves(row.file):
            raise ValueError(
                f"{table.name} names the file {shown(row.file)!r}, which leaves the folder: write paths inside it."
            )
        image = tree.image(folder + row.file)
        if not image:
            join.missing.append(row.file)
        elif image in join.rows:
            before, other, _ = join.rows[image]
            differ = ", with different labels" if set(before.labels) != set(row.labels) else ""
            where = f"twice in {table.name}" if other == table.name else f"in {other} and again in {table.name}"
            raise ValueError(f"The image {shown(row.file)} is named {where}{differ}: leave one row for each image.")
        else:
            join.rows[image] = (row, table.name, held_out)


def _folder(tree: Tree, rows: Iterable[Row], name: str) -> str:
    """Where the images of a table lie: the folder in which most of them are found."""
    files = [row.file for row in rows if not leaves(row.file)]
    return max(("", *FOLDERS[name]), key=lambda folder: sum(bool(tree.image(folder + file)) for file in files))


def left_out(names: Iterable[str]) -> tuple[str, ...]:
    """A note on files that are no images."""
    listed = list(names)
    if not listed:
        return ()
    what = "file is no image and is" if len(listed) == 1 else "files are no images and are"
    return (f"{len(listed):,} {what} left out: {some(listed)}.",)


# --- i-CLEVR's JSON files ------------------------------------------------------------------------------


def _read_json(tree: Tree, name: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ValueError(f"it names {shown(twice)!r} twice")
        return found

    return user_texts.read_json(tree.root / name, name, once)


def _objects(tree: Tree) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels that objects.json permits, and a note where its order is not ours."""
    value = _read_json(tree, "objects.json")
    if isinstance(value, dict) and sorted(map(repr, value.values())) == sorted(map(repr, range(len(value)))):
        value = sorted(value, key=value.__getitem__)
    if not isinstance(value, list) or not value:
        raise ValueError("objects.json must be a list of labels, or map each label to its index from 0.")
    labels = labels_of(value, "objects.json")
    if list(labels) == sorted(labels, key=natural):
        return labels, ()
    return labels, ("Labels are numbered in natural order, not as objects.json numbers them.",)


def _conditions(tree: Tree, name: str) -> tuple[tuple[str, ...], ...]:
    values = _read_json(tree, name)
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name} must be a list of lists of labels: [['red cube', 'blue sphere']].")
    found = []
    for position, value in enumerate(values):
        where = f"{name}, entry {position},"
        if not isinstance(value, list) or not (labels := labels_of(value, where)):
            raise ValueError(f"{where} must be a list of labels: ['red cube'].")
        found.append(labels)
    return tuple(found)


def _labels_of_all(
    rows: Iterable[Row], lists: dict[str, tuple[tuple[str, ...], ...]]
) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """File, place in it, labels: of every image and every condition."""
    for row in rows:
        yield "train.json", shown(row.file), row.labels
    for name, conditions in lists.items():
        for position, condition in enumerate(conditions):
            yield f"{name}.json", f"entry {position}", condition
