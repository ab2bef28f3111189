"""The report of a record that cannot be written: the page that is there, if it is of today's results."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from study.record import access, layout

if TYPE_CHECKING:
    from analysis.results import Results


def where(results: Results, page: Path, current: bool) -> str:
    """Where the page is; or that it is of other results, and how one is written elsewhere."""
    if current:
        return str(page)
    again = ["--study", results.study.study_id, "--record", str(results.record), "--out"]
    return f"none of today's results; write one with `python -m analysis.report {shlex.join(again)} DIR`"


def show(results: Results, page: Path, current: bool) -> int:
    """Print where the page is; the exit code, 1 where there is none of today's results."""
    print(f"\nReport: {where(results, page, current)}")
    return 0 if current else 1


def refuse(record: Path, out: Path | None) -> None:
    """ValueError where the reports of all studies are to go to their record, and it cannot be written."""
    for study_file in layout.study_files(record) if out is None else ():
        if reason := access.closed(layout.report_folder(record, study_file.parent.name)):
            raise ValueError(f"The record cannot be written ({reason}): write --out DIR, a folder for the reports.")
