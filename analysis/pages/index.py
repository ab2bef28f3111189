"""The index of a record's reports: one row per study, with its question, its answer and a link to its page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from analysis.narrative import answer as answers
from analysis.pages import blocks
from analysis.results import Results
from study.record.schema import Study

THUMBNAIL = (360, 200)  # pixels at most


@dataclass(frozen=True)
class Entry:
    """A study of the index; `page` and `thumbnail` are its report's index.html and its picture, if there is one."""

    study: Study
    answer: str
    complete: int
    planned: int
    page: Path
    thumbnail: Path | None


def entry(results: Results, page: Path) -> Entry:
    """The row of a study whose report is `page`."""
    picture = page.parent / "figures" / "accuracy_by_arm.png"
    thumbnail = picture if picture.is_file() else None
    complete, planned = len(results.complete), len(results.rows)
    return Entry(results.study, answers.answer(results), complete, planned, page, thumbnail)


def render(entries: Sequence[Entry], folder: Path) -> str:
    """The page, for a file in `folder`; the links to the reports are relative to it."""
    rows = [
        {
            "id": one.study.study_id,
            "address": quote(one.page.resolve().relative_to(folder.resolve()).as_posix()),
            "question": one.study.question,
            "answer": one.answer,
            "scale": one.study.scale or "-",
            "seeds": len(one.study.seeds),
            "trials": f"{one.complete} of {one.planned}",
            "picture": _small(one.thumbnail),
        }
        for one in entries
    ]
    return blocks.render("index.html.j2", title=f"{len(rows)} {'study' if len(rows) == 1 else 'studies'}", rows=rows)


def _small(thumbnail: Path | None) -> str:
    """The picture in few pixels and colours, as base64; "" without one."""
    if thumbnail is None:
        return ""
    with Image.open(thumbnail) as image:
        small = image.convert("RGB")
    small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.quantize(64).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
