"""The report of a record that cannot be written: the answer on the terminal, and the page that is there if it is
today's."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from study.record import access, layout, reader

if TYPE_CHECKING:
    from analysis.report import Written
    from analysis.results import Results


def standing(study: str, record: Path) -> Written:
    """The report of a study as it stands in its record: nothing is written."""
    from analysis import report
    from analysis.results import Results

    results = Results.open(study, record)
    return report.Written(report.page_of(results), results)


def where(results: Results) -> str:
    """Where the page is; or that it is of other results, and how one is written elsewhere."""
    from analysis import report

    if report.is_current(results):
        return str(report.page_of(results))
    again = ["--study", results.study.study_id, "--record", str(results.record), "--out"]
    return f"none of today's results; write one with `python -m analysis.report {shlex.join(again)} DIR`"


def shown(study: str, record: Path) -> int | None:
    """None where the study's report can be written; else the exit code of a command that has printed the answer, and
    where the page is: 1 where there is none of today's results."""
    from analysis import report

    study_id = reader.load_study(study or report.latest(record), record).study_id
    if not access.closed(layout.report_folder(record, study_id)):
        return None
    written = standing(study_id, record)
    report.print_answer(written.answer)
    print(f"\nReport: {where(written.results)}")
    return 0 if report.is_current(written.results) else 1


def refuse(record: Path, out: Path | None) -> None:
    """ValueError where the reports of all studies are to go to their record, and it cannot be written."""
    for study_file in layout.study_files(record) if out is None else ():
        if reason := access.closed(layout.report_folder(record, study_file.parent.name)):
            raise ValueError(f"The record cannot be written ({reason}): write --out DIR, a folder for the reports.")
