"""Tables that name images and their labels: CSV, JSON lines, Parquet. pyarrow is imported for Parquet alone."""

from __future__ import annotations

import ast
import csv
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runners import readable, user_texts
from runners.reading.names import SEPARATORS, label_text, parts_of, quoted, shown, some

FILE_COLUMNS = ("file_name", "image_name", "filename")
COLUMNS = (*FILE_COLUMNS, "label", "labels", "group")
Record = tuple[int, Mapping[str, Any]]  # line or row, column in lower case -> value


class Row(NamedTuple):
    """An image of a table. `labels`: () where it has none."""

    file: str
    labels: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """`labelled`: it has a column of labels; `several`: that column is `labels`."""

    name: str
    rows: tuple[Row, ...]
    labelled: bool
    several: bool
    notes: tuple[str, ...] = ()


def read_table(path: Path, name: str, sets: bool = False) -> Table:
    """Read the columns file_name (image_name, filename), label or labels, and group of a table.

    Args:
        path: a .csv, .jsonl or .parquet file.
        name: names it in sentences.
        sets: of the columns label and labels, where both are there, read labels.

    Raises:
        ValueError: one sentence for a table that cannot be read, lacks a column, or holds what is no name or label.
    """
    seen: dict[str, None] = {}
    picked: list[tuple[int, Any, Any, Any, Any]] = []
    for number, record in READERS[path.suffix.casefold()](path, name):
        seen.update(dict.fromkeys(record))
        file = next((record[column] for column in FILE_COLUMNS if column in record), None)
        picked.append((number, file, record.get("label"), record.get("labels"), record.get("group")))
    if not picked:
        raise ValueError(f"{name} has no rows: write one for each image, with the columns file_name and label.")
    if not set(seen) & set(FILE_COLUMNS):
        raise ValueError(f"{name} has the columns {some(seen)}: name the images in a column file_name.")
    both = {"label", "labels"} <= set(seen)
    several = "labels" in seen and (sets or not both)
    used, other = ("labels", "label") if several else ("label", "labels")
    notes = (f"{name} has the columns label and labels: {used} is read, {other} is not.",) if both else ()
    rows = []
    for number, file, label, labels, group in picked:
        where = f"{name}, {'row' if path.suffix.casefold() == '.parquet' else 'line'} {number},"
        if not isinstance(file, str) or not file.strip():
            raise ValueError(f"{where} names no file: write the path of an image into the column file_name.")
        read = labels_of(labels, where) if several else _one_label(label, where)
        rows.append(Row(file, read, label_text(group, where, "group")))
    if not several:
        _refuse_joined(rows, name)
    return Table(name, tuple(rows), bool({"label", "labels"} & set(seen)), several, notes)


# --- labels --------------------------------------------------------------------------------------------


def labels_of(value: Any, where: str) -> tuple[str, ...]:
    """The labels of a list, or of a text that separates them by commas or semicolons or holds a JSON list.

    Raises:
        ValueError: for a label that is none, and for one that is named twice.
    """
    if isinstance(value, str):
        listed = _list_in(value)
        value = SEPARATORS.split(value) if listed is None else listed
    if not isinstance(value, list | tuple):
        value = [value]
    labels = tuple(label for one in value if (label := label_text(one, where)))
    if len(set(labels)) < len(labels):
        twice = next(label for position, label in enumerate(labels) if label in labels[:position])
        raise ValueError(f"{where} names the label {shown(twice)!r} twice: write each label once.")
    return labels


def _one_label(value: Any, where: str) -> tuple[str, ...]:
    """The label of a column `label`."""
    if isinstance(value, str) and (listed := _list_in(value)) is not None:
        value = listed
    if isinstance(value, list | tuple):
        labels = labels_of(value, where)
        if len(labels) > 1:
            raise ValueError(f"{where} has {len(labels)} labels in the column label: call the column labels.")
        return labels
    label = label_text(value, where)
    return (label,) if label else ()


def _list_in(text: str) -> list[Any] | None:
    """The list that a text such as '["a", "b"]' or "['a', 'b']" (as pandas writes it) holds; None for another text."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list) else None
    return None


def _refuse_joined(rows: list[Row], name: str) -> None:
    """ValueError for two labels in one cell of a column `label`: "cat, dog" where cat and dog are labels too."""
    known = {label for row in rows for label in row.labels}
    for row in rows:
        for label in row.labels:
            if parts := parts_of(label, known):
                raise ValueError(
                    f"{name} gives {shown(row.file)} the labels {quoted(parts)} in the column label: "
                    "call the column labels."
                )


# --- formats -------------------------------------------------------------------------------------------


def _csv(path: Path, name: str) -> Iterator[Record]:
    """Lines of a table that separates its columns by commas, semicolons or tabs; the first line names them."""
    try:
        with user_texts.opened(path, name) as file:
            header = file.readline(2**16)
            cells = {mark: [cell.strip(' "\r\n').casefold() for cell in header.split(mark)] for mark in ",;\t"}
            mark = next((mark for mark in cells if set(cells[mark]) & set(FILE_COLUMNS)), ",")
            file.seek(0)
            reader = csv.reader(file, delimiter=mark, strict=True)
            columns = [cell.strip().casefold() for cell in next(reader, [])]
            for cells_N in reader:
                if len(cells_N) > len(columns):
                    raise ValueError(
                        f"{name}, line {reader.line_num}, has {len(cells_N)} values for {len(columns)} columns: "
                        "put a value that holds a comma in double quotes."
                    )
                if cells_N:
                    yield reader.line_num, dict(zip(columns, cells_N, strict=False))
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as CSV ({shown(str(error))}): save it again as UTF-8.") from error


def _json_lines(path: Path, name: str) -> Iterator[Record]:
    """Lines that hold a JSON object each."""
    with user_texts.opened(path, name) as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix("\ufeff")  # within a file, where files were put together
            if not text.strip():
                continue
            try:
                value = json.loads(text)
                if not isinstance(value, dict):
                    raise ValueError("it is no object")
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{name}, line {number}, cannot be read as JSON ({shown(user_texts.reason_of(error))}): "
                    'write lines such as {"file_name": "a.png", "label": "cat"}.'
                ) from error
            yield number, {key.strip().casefold(): one for key, one in value.items()}


def _parquet(path: Path, name: str) -> Iterator[Record]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ValueError(f"{name} needs pyarrow: run `pip install pyarrow`, or save the table as CSV.") from error
    if fault := readable.fault(path, binary=True):
        raise ValueError(fault.sentence(name, "save it again"))
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = {column: column.strip().casefold() for column in file.schema_arrow.names}
            wanted = [column for column in names if names[column] in COLUMNS]
            # A column of pictures is not read; but the columns of a table without ours are named in the sentence.
            for batch in file.iter_batches(batch_size=4096, columns=wanted or list(names)[:8]):
                for record in batch.to_pylist():
                    row += 1
                    yield row, {names[column]: value for column, value in record.items()}
    except Exception as error:  # pyarrow has errors of its own
        raise ValueError(f"{name} cannot be read as Parquet ({shown(str(error))[:200]}): save it again.") from error


READERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
