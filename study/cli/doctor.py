"""Check and repair a record: its files, and whether MLflow and Optuna agree with its trial folders.

    python -m study.doctor --record DIR             say what is wrong; the exit code is 1 if something is
    python -m study.doctor --record DIR --repair    quarantine what is damaged; the study's command makes it anew

Every action says what it did and can be repeated. None runs while a study of the record is running.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runners import docstrings
from runners.experiment import Progress
from runners.process import output, scratch
from runners.process.command import INTERRUPTED
from study.cli.progress import Screen, preparing, watched
from study.record import access, database_copies, errors, importer, integrity, mlflow_index, repair
from study.record.integrity import Trouble
from study.record.layout import (
    DEFAULT_RECORD,
    cache_folder,
    given_path,
    record_lock,
    require_open,
    trials_folder,
)

ABOUT = docstrings.of(sys.modules[__name__])
BAD_INPUT = 2


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m study.doctor", description=ABOUT, formatter_class=formatter)
    parser.add_argument("--record", metavar="DIR", type=given_path, default=DEFAULT_RECORD, help="the record [mlruns]")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--check", action="store_true", help="verify files, digests and both databases; the default")
    add("--repair", action="store_true", help="check and repair; nothing is deleted, damaged files go to quarantine")
    add("--relocate", action="store_true", help="correct MLflow's paths after the record was moved or copied")
    add("--rebuild-mlflow", action="store_true", help="a new mlflow.db from the trial folders and study.json alone")
    add(
        "--import",
        dest="source",
        metavar="OTHER",
        type=given_path,
        help="add another record's trials, trainings, studies",
    )
    add("--prune-checkpoints", action="store_true", help="delete the weights that no missing trial needs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    record = Path(os.path.realpath(arguments.record))  # of links in a circle, `resolve` makes a RuntimeError
    try:
        for option, path in (("--record", arguments.record), ("--import", arguments.source)):
            if path is not None:
                require_open(path, option)
        if not is_record(record):
            if arguments.relocate:
                return say(["nothing is recorded yet"])
            if not (arguments.source and is_record(arguments.source.resolve()) and is_unused(record)):
                raise ValueError(f"{record} is not a record: write --record DIR with the folder of a study.")
            trials_folder(record).mkdir(parents=True)
        return act(arguments, record)
    except ValueError as error:
        print(f"doctor.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nStopped. What was done is whole; to go on, run the same command again.")
        return INTERRUPTED
    except Exception as error:
        reason = errors.sentence(error, record)
        if not reason:
            raise
        print(f"doctor.py: stopped, because {reason} and run the same command again.", file=sys.stderr)
        return 1


def is_record(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in ("studies", "trials", "cache"))


def is_unused(folder: Path) -> bool:
    """Whether another record may be imported into a folder that is none yet: mlruns of a fresh clone has a README."""
    return not folder.exists() or {path.name for path in folder.iterdir()} <= {"README.md"}


def act(arguments: argparse.Namespace, record: Path) -> int:
    """The action that was asked for."""
    from runners.process.locks import Held, glance, lock

    reason = access.unwritable(record)
    if reason and changes(arguments):
        raise ValueError(
            f"The record {record} cannot be written ({reason}): copy it to a folder that you may write to."
        )
    if arguments.relocate and not mlflow_index.displaced(record):  # also while a study is running
        return say([f"MLflow's paths lead to {record}"])
    try:
        if reason:
            with glance(record_lock(record)), database_copies.stand_in(record) as seen:
                return check(record, seen)
        if sentence := scratch.settle(cache_folder(record)):
            print(sentence)
        with lock(record_lock(record)):
            if arguments.relocate:
                count = mlflow_index.relocate(record)
                paths = "1 path in mlflow.db now leads" if count == 1 else f"{count} paths in mlflow.db now lead"
                return say([f"{paths} to {record}"])
            if arguments.prune_checkpoints:
                return prune(record)
            if arguments.rebuild_mlflow:
                return say(watched(repair.rebuild(record)))
            if arguments.source:
                return take(arguments.source.resolve(), record)
            return repair_all(record) if arguments.repair else output.printed(check(record))
    except Held as held:
        raise ValueError(f"The record {record} is in use {held}: wait until that has ended.") from None


def changes(arguments: argparse.Namespace) -> bool:
    """Whether the action writes to the record; a check does not."""
    names = ("repair", "relocate", "rebuild_mlflow", "prune_checkpoints", "source")
    return any(getattr(arguments, name) for name in names)


def say(lines: Sequence[str]) -> int:
    print("\n".join(lines))
    return 0


def found(steps: Iterable[Progress | Trouble]) -> Iterator[Trouble]:
    """What is wrong; how far the search is goes to the screen."""
    screen = Screen()
    try:
        for step in steps:
            if isinstance(step, Trouble):
                screen.clear()
                yield step
            else:
                screen.show(preparing(step.what, step.done, step.total, step.rate))
    finally:
        screen.clear()


def check(record: Path, seen: Path | None = None) -> int:
    """Print what is wrong; 1 if something is. `seen`: what is read in the place of a record that cannot be written."""
    count = 0
    for trouble in found(integrity.findings(seen or record)):
        count += 1
        print(f"wrong: {trouble.text}")
    print(f"{_things(count)} wrong: --repair puts {'it' if count == 1 else 'them'} right" if count else _sound(record))
    return 1 if count else 0


def repair_all(record: Path) -> int:
    """Put right what is wrong, and say so. What went to quarantine is made anew by the study's command."""
    count = 0
    for trouble in found(integrity.findings(record)):
        count += 1
        print(f"{trouble.text}: {watched(repair.apply(record, trouble))}")
    print(f"{'1 thing was' if count == 1 else f'{count} things were'} put right" if count else _sound(record))
    return 0


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"


def _sound(record: Path) -> str:
    return f"{record}: nothing is wrong"


def prune(record: Path) -> int:
    from study.scheduling import retention

    count, size, wanted = retention.prune(record, integrity.sound_studies(record).values())
    gone = "1 training" if count == 1 else f"{count} trainings"
    kept = "1 training is" if wanted == 1 else f"{wanted} trainings are"
    return say([f"deleted the weights of {gone}, {size / 2**20:,.1f} MiB; {kept} still wanted"])


def take(source: Path, record: Path) -> int:
    """Import another record, print what happened, and tell MLflow; 1 when something was not taken."""
    refused, screen = 0, Screen()
    for step in importer.take(source, record):
        if isinstance(step, Progress):
            screen.show(preparing(step.what, step.done, step.total, step.rate))
            continue
        screen.clear()
        refused += len(step.refused)
        print("\n".join([*step.refused, f"{step.what}: {step.new} new, {step.same} already here"]))
    for trouble in integrity.useless_databases(record):
        print(f"{trouble.text}: {watched(repair.apply(record, trouble))}")
    for study in integrity.sound_studies(record).values():
        for trouble in integrity.differing_mlflow(record, study, integrity.complete_trials(record, study)):
            print(f"{trouble.text}: {watched(repair.apply(record, trouble))}")
    return 1 if refused else 0
