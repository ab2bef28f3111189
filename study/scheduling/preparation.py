"""What happens before the first trial: the data and the evaluator, which all trials of a record share."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from runners.experiment import Note, Progress
from runners.process.protocol import Done, Failed, Stopped
from study.design.plan import Plan
from study.executors import Executor
from study.scheduling import events
from study.scheduling.settings import RETRIED, Settings, context, job, refuse_full_disk


def prepare(plan: Plan, record: Path, executor: Executor, settings: Settings) -> Generator[events.Event, None, None]:
    """Let the first slot make what all trials of a record share (data, the evaluator), where it is not there yet.

    Raises ValueError where the user's input is at fault, RuntimeError where it cannot be made.
    """
    slot, tries = executor.slots[0], 0
    while True:
        executor.submit(slot, job("prepare", plan, plan.baseline, context(record, slot, settings)))
        failed = yield from _preparing(executor)
        if failed is None:
            return
        moved = refuse_full_disk(failed, record)
        if not (moved or failed.status in RETRIED) or tries == settings.retries:
            raise RuntimeError(f"The study could not be prepared:\n{failed.traceback}")
        if moved:
            yield events.Noted(moved)
        if moved or failed.status == "crashed":
            executor.renew(slot)
        tries += 1
        yield events.Noted(f"preparing the study: {failed.status}: {failed.error}; it is tried again")


def _preparing(executor: Executor) -> Generator[events.Event, None, Failed | None]:
    """The events of a job of preparation until its end; how it failed, if it did."""
    while True:
        answer = executor.poll(1.0)
        match answer and answer[1]:
            case Progress(what, done, total, rate):
                yield events.Preparing(what, done, total, rate)
            case Note(text):
                yield events.Noted(text)
            case Failed() as failed:
                return failed
            case Stopped():
                return Failed("crashed", "the worker was asked to end by SIGTERM", "ended by SIGTERM")
            case Done():
                return None
