"""Carry out a command: locks and signals around the studies of a request, their launches on the screen."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runners.process import output
from runners.process.command import INTERRUPTED
from study.cli import indexes
from study.cli import request as requests

if TYPE_CHECKING:
    from runners.process.locks import Held
    from study.cli.request import Job, Request
    from study.design.plan import Plan
    from study.executors.local import LocalExecutor
    from study.scheduling.scheduler import Launch

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = requests.parser().parse_args(argv)
    try:
        if arguments.list:
            return output.printed(print_list())
        request = requests.read(arguments)
        if arguments.dry_run or arguments.json:
            from study.cli.dry_run import dry_run

            requests.print_found(request)
            return output.printed(dry_run(request, arguments))
        if arguments.explain is not None:
            from study.cli.summary import explain

            return output.printed(explain(request, arguments.explain))
        return run(request, shlex.join(["python", "study/run.py", *argv]))
    except ValueError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def interpreter() -> str:
    """What starts this Python again: "python" where the shell finds it under that name, else its path."""
    return "python" if shutil.which("python") == sys.executable else sys.executable


def print_list() -> int:
    from study.design import registry

    width = max(map(len, registry.names())) + 2
    for name in registry.names():
        print(f"{name:<{width}}{registry.find(name).question}")
    return 0


def run(request: Request, command: str) -> int:
    """The studies of a command, one after another."""
    from runners.process import scratch
    from runners.process.locks import Held, lock
    from study.cli.probe import probe
    from study.executors.local import LocalExecutor
    from study.record import access, layout
    from study.scheduling import devices

    record, slots = request.record, request.slots
    jobs = [requests.job_of(plan, request, slots) for plan in request.plans]
    images = request.images
    for each in images:
        each.decode()
    requests.print_found(request)
    if reason := access.unwritable(record, *(job.plan.study_id for job in jobs)):
        return read_only(jobs, request, reason)
    if request.auto and any(job.estimate.missing_trials for job in jobs):
        slots = devices.benchmarked(request.plans, slots)
        jobs = [requests.job_of(plan, request, slots) for plan in request.plans]
    needed = sum(each.bytes for each in images) + max(job.estimate.disk_bytes for job in jobs)
    for sentence in [*probe(record, needed), *filter(None, [scratch.settle(layout.cache_folder(record))])]:
        print(sentence)
    indexes.renew(record, "mlflow.db", "optuna.db")
    executor = LocalExecutor(slots, layout.logs_folder(record), request.worker_timeout)
    codes = []
    try:
        with lock(layout.record_lock(record), shared=True):
            relocate(record)
            for each in images:
                each.write()
            for job in jobs:
                codes.append(locked(job, request, executor, command))
                if codes[-1] == INTERRUPTED:
                    break
    except Held as held:
        raise ValueError(f"The record {record} is being repaired {held}: wait for it.") from None
    finally:
        executor.cancel()
    return max(codes)


def read_only(jobs: Sequence[Job], request: Request, reason: str) -> int:
    """What a record that cannot be written, for this `reason`, says of studies that are complete in it."""
    from runners.process.locks import Held, glance
    from study.cli.summary import print_header, summarize
    from study.record import layout

    record, codes = request.record, []
    try:
        with glance(layout.record_lock(record), shared=True):
            for job in jobs:
                plan = _complete_plan(job, record)
                if plan is None:
                    do = "give --record DIR, a folder that you may write to"
                    raise ValueError(f"The record {record} cannot be written ({reason}): {do}.")
                print_header(job, record, request.scale_was_chosen)
                print(
                    f"The record cannot be written ({reason}): it is opened for reading only, and nothing is changed.",
                    flush=True,
                )
                codes.append(summarize(plan, record))
    except Held as held:
        raise ValueError(f"The record {record} is being repaired {held}: wait for it.") from None
    return max(codes)


def _complete_plan(job: Job, record: Path) -> Plan | None:
    """The plan of the last stage of a study that has all that was asked for, in study.json too; else None."""
    from study.record import reader
    from study.scheduling import standing

    plan, known = job.plan, reader.find_study(job.plan.study_id, record)
    if known is None or job.estimate.missing_trials:
        return None
    for following in (standing.with_finalists, standing.with_winner) if plan.space else ():
        plan = following(plan, record)
    asked = {(trial.arm, trial.key) for trial in plan.trials}
    return plan if asked == {(trial.arm, trial.trial_key) for trial in known.trials} else None


def relocate(record: Path) -> None:
    from study.record.mlflow_index import relocate

    if count := relocate(record):
        paths = "1 path in mlflow.db now leads" if count == 1 else f"{count} paths in mlflow.db now lead"
        print(f"The record was moved or copied: {paths} to {record}.")


def locked(job: Job, request: Request, executor: LocalExecutor, command: str) -> int:
    """Carry a study out, if no other process does."""
    from runners.process.locks import Held, lock
    from study.cli.summary import print_header
    from study.record import layout

    print_header(job, request.record, request.scale_was_chosen)
    try:
        with lock(layout.study_lock(request.record, job.plan.study_id)):
            return stoppable(partial(carry_out, job, request, executor, command), request.record, executor, command)
    except Held as held:
        raise _in_use(job, request.record, held) from None


def _in_use(job: Job, record: Path, held: Held) -> ValueError:
    study = f"The study {job.plan.study_id} of {record}"
    return ValueError(f"{study} is being run {held}: wait for it, or give another --record DIR.")


def stoppable(work: Callable[[], int], record: Path, executor: LocalExecutor, command: str) -> int:
    """The exit code of `work`; a Ctrl-C, a hang-up, a full disk and a locked database end it with a sentence."""
    from study.cli.stopping import handled
    from study.record import errors

    try:
        with handled(executor):
            return work()
    except KeyboardInterrupt:
        again = command.replace("python", shlex.quote(interpreter()), 1)
        output.said(f"\nStopped. To resume, run the same command again:\n    {again}")
        return INTERRUPTED
    except Exception as error:
        reason = errors.sentence(error, record)
        if not reason and not isinstance(error, OSError | RuntimeError):
            raise
        text = f"stopped, because {reason} and run the same command again."
        if not reason:
            text = f"{error}\nCompleted work is saved. Fix the problem and rerun the same command."
        print(f"\nrun.py: {text}", file=sys.stderr)
        return 1


def carry_out(job: Job, request: Request, executor: LocalExecutor, command: str) -> int:
    """Run the plan with the progress on the terminal; then the table, the figures and where they are."""
    from study.cli.progress import Display
    from study.cli.summary import draw_sheet, summarize
    from study.record import reader
    from study.scheduling import preparation, retention, standing
    from study.scheduling.scheduler import Launch
    from study.scheduling.settings import Settings

    plan, record, display = job.plan, request.record, Display()
    before = reader.find_study(plan.study_id, record)
    settings = Settings(
        command=command,
        curve_points=job.scale.curve_points,
        retries=request.retries,
        inputs=request.inputs(plan),
        files=_study_files(request, plan),
        on_trial_complete=draw_sheet(),
    )

    def launched(plan: Plan) -> Launch:
        done = standing.complete(plan, record)
        launch = Launch(plan, record, executor, settings, done)
        total, already = len(plan.due), len(done)
        if plan.stage == "search":
            total, already = plan.searched, standing.searched(plan, record)
        display.begin(total, already, len(executor.slots), plan.metric)
        for event in launch.run():
            display.show(event)
        return launch

    try:
        if job.estimate.missing_trials:
            for event in preparation.prepare(plan, record, executor, settings):
                display.show(event)
        for following in (standing.with_finalists, standing.with_winner) if plan.space else ():
            stage = launched(plan)
            for sentence in stage.close("FAILED" if stage.failures else "FINISHED"):
                print(sentence)
            plan = following(plan, record)
        launch = launched(plan)
        if plan.space:
            retention.release_former(before, plan, record)
        if job.plan is request.plans[-1]:
            executor.cancel()  # nothing is left for them, and the processes that draw the report want memory
    finally:
        display.end()
    return summarize(plan, record, launch)


def _study_files(request: Request, plan: Plan) -> dict[str, str]:
    """The texts of a study's own file, of its modules and of its own experiment, which no commit of the project has."""
    from study.record import provenance

    files = next((list(one.files) for one in request.named if one.name == plan.study), [])
    return provenance.texts((f"launch/{name}", path) for name, path in files)
