"""What the command line says of a study before and after it runs. With the dry run it alone sees study and analysis."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli.dry_run import counted, minutes, size_of

if TYPE_CHECKING:
    from study.cli.request import Job, Request
    from study.design.plan import Plan
    from study.scheduling.scheduler import Launch

ROOT = Path(__file__).resolve().parent.parent.parent


def print_header(job: Job, record: Path, scale_was_chosen: bool) -> None:
    """The question, what it takes, and where it runs."""
    plan, estimate = job.plan, job.estimate
    chosen = " (chosen: no --scale was given)" if scale_was_chosen else ""
    print(f"{plan.study_id}: {plan.spec.question}")
    print(f"scale {plan.scale}{chosen}: {size_of(plan)}, on {job.where}; record {record}")
    if estimate.missing_trials:
        print(
            f"{counted(estimate.missing_trials, 'trial')} and "
            f"{counted(estimate.missing_trainings, 'training')} to run, about "
            f"{minutes(estimate.seconds)} ({estimate.basis})",
            flush=True,
        )
    else:
        print("every trial is in the record: nothing to run", flush=True)


def summarize(plan: Plan, record: Path, launch: Launch | None = None) -> int:
    """The answer, the table, what stands under it, the figures' place and the UI's command; the exit code.

    Without a launch nothing is written: of a record that cannot be.
    """
    from analysis import report
    from analysis.pages import unwritten
    from analysis.results import Results

    if launch:
        written = report.current(plan.study_id, record)
    else:
        results = Results.open(plan.study_id, record)
        written = report.Written(report.page_of(results), results)
    current = launch is not None or report.is_current(written.results)
    print()
    report.print_answer(written.answer)
    page = written.page
    if current:
        print(f"\nreport:    {page}\nfigures:   {page.parent / 'figures'}\ntables:    {page.parent / 'tables'}")
    else:
        print(f"\nreport:    {unwritten.where(written.results, page, current)}")
    command = [sys.executable, str(ROOT / "study" / "ui.py"), "--record", str(record)]
    print(f"MLflow UI: {shlex.join(command)}")
    rows = written.results.rows
    failures = int((rows["state"] != "complete").sum())
    status = "FAILED" if failures else "FINISHED"
    warnings, text = tuple(written.answer.warnings), report.answer_markdown(written.answer)
    for sentence in launch.close(status, page.parent, warnings, text) if launch else ():
        print(sentence)
    if failures:
        print(
            f"\n{failures} of {counted(len(rows), 'trial')} {'is' if failures == 1 else 'are'} not complete; "
            f"tracebacks are in {record}/trials/*.failed. To try them again, run the same command again."
        )
    return 1 if failures else 0


def explain(request: Request, arm: str) -> int:
    """The trials behind an arm's numbers, of every study of the command."""
    from analysis.narrative import explain
    from analysis.results import Results
    from study.record import reader

    known = reader.studies(request.record)
    for plan in request.plans:
        if known and plan.study_id not in known:
            there = f"{request.record} has {', '.join(known)} and not {plan.study_id}"
            raise ValueError(f"{there}: write the --study and the --scale of one.")
    texts = [explain.text(Results.open(plan.study_id, request.record), arm) for plan in request.plans]
    print("\n\n".join(texts))
    return 0


def draw_sheet() -> Callable[[Path], None]:
    """What draws the schedule sheet of a complete trial into its folder; of equal ones it draws the first alone."""
    drawn: dict[bytes, Path] = {}

    def draw(trial: Path) -> None:
        from analysis.figures import schedule_sheet
        from analysis.plotting import style

        files = [trial / name for name in ("schedule.csv", "noised.png")]
        if not all(path.is_file() for path in files):
            return  # of another experiment
        shown = b"".join(path.read_bytes() for path in files)
        if shown not in drawn:
            drawn[shown] = style.save(schedule_sheet.draw_trial(trial), trial / "schedule_sheet")
            return
        for suffix in (".png", ".pdf"):
            shutil.copy(drawn[shown].with_suffix(suffix), (trial / "schedule_sheet").with_suffix(suffix))

    return draw
