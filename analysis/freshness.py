"""Whether the report of a record says what the record says now. No clock is asked: files of a copied record have new
times, and machines that share a record have different ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.process.files import read_json, sha256, write_json

if TYPE_CHECKING:
    from analysis.results import Results

BUILT_FROM = "built_from.json"
WRITTEN_BY = 5  # raised when the same record gives another report, so that older pages are made again
PARTS = ("index.html", "tables/*", "figures/*")


def begin(out: Path) -> None:
    """Before the parts of a report are written: one that is cut short is not taken for a current one."""
    (out / BUILT_FROM).unlink(missing_ok=True)


def end(results: Results, out: Path) -> None:
    """Note what a whole report was built from, and what it is: each of its files by its digest."""
    files = {path.relative_to(out).as_posix(): sha256(path) for path in _parts(out)}
    write_json(out / BUILT_FROM, built_from(results) | {"files": files})


def is_current(results: Results, page: Path) -> bool:
    """Whether the report with the index.html `page` was built from what the record says now, and is there as it was
    written."""
    try:
        found = read_json(page.with_name(BUILT_FROM))
        files = found.pop("files")
        unchanged = all(sha256(page.parent / name) == digest for name, digest in files.items())
        return unchanged and page.name in files and bool(found == built_from(results))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def built_from(results: Results) -> dict[str, Any]:
    """Digests of what a page shows: the study, and the states and results of its trials."""
    from analysis.tables import search

    return {
        "written_by": WRITTEN_BY,
        "study": _digest(json.dumps(results.study.to_json(), sort_keys=True)),
        "trials": _digest(results.rows.drop(columns="folder").to_csv(index=False)),
        "finalists": _digest(search.finalists(results).to_csv(index=False)),
    }


def _parts(out: Path) -> list[Path]:
    return sorted(path for part in PARTS for path in out.glob(part) if path.is_file())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
