"""The index of a record's reports: one row a study, with its question, its answer and a link to its page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from analysis.narrative import answer as answers
from analysis.pages import page
from analysis.tables import comparison as tables

Study = Mapping[str, Any]

THUMBNAIL = (360, 200)  # pixels at most
CSS = """
.studies td { padding-bottom: .8rem; }
.studies td:nth-child(2) { white-space: normal; min-width: 18rem; }
.studies td:last-child { min-width: 14rem; }
.studies img { max-width: 100%; }
.studies .scroll { max-height: none; }
"""


@dataclass(frozen=True)
class Entry:
    """A study of the index; `page` and `thumbnail` are its report's index.html and its picture, if there is one."""

    study: Study
    answer: str
    complete: int
    planned: int
    page: Path
    thumbnail: Path | None


def entry(rows: pd.DataFrame, study: Study, index: Path) -> Entry:
    """The row of a study whose report is `index`."""
    picture = index.parent / "figures" / "accuracy_by_arm.png"
    complete = len(tables.complete_rows(rows))
    return Entry(study, answers.answer(rows, study), complete, len(rows), index, picture if picture.is_file() else None)


def render(entries: Sequence[Entry], folder: Path) -> str:
    """The page, for a file in `folder`; the links to the reports are relative to it."""
    title = f"{len(entries)} {'study' if len(entries) == 1 else 'studies'}"
    head = "<tr><th>study</th><th>question and answer</th><th>scale</th><th>n</th><th>trials</th><th></th></tr>"
    body = "\n".join(_row(entry, folder) for entry in entries)
    return page.document(
        title,
        f"<style>{CSS}</style>\n<h1>{title}</h1>\n"
        f'<div class="studies"><div class="scroll" tabindex="0"><table>\n<thead>{head}</thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div></div>",
    )


def _row(entry: Entry, folder: Path) -> str:
    study = entry.study
    address = page.text(entry.page.resolve().relative_to(folder.resolve()).as_posix())
    cells = [
        f'<a href="{address}">{page.text(study["study_id"])}</a>',
        f"<b>{page.text(study['question'])}</b><br>{page.text(entry.answer)}",
        page.text(study.get("scale", "-")),
        str(len(study["seeds"])),
        f"{entry.complete} of {entry.planned}",
        _picture(entry, address),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _picture(entry: Entry, address: str) -> str:
    if entry.thumbnail is None:
        return ""
    with Image.open(entry.thumbnail) as image:
        small = image.convert("RGB")
    small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.quantize(64).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<a href="{address}"><img alt="accuracy by arm" src="data:image/png;base64,{data}"></a>'
