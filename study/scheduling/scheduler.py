"""The coordinator: asks for cells, gives them to workers, tells both indexes. A generator of events.

It alone touches Optuna's and MLflow's databases. The trial folders are the truth: what is complete there is not
run again, and both indexes are made to agree with them before anything starts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.ddpm.trial import Place
from runners.process.files import append_lines, read_json, write_json
from runners.process.locks import lock
from runners.tasks.iclevr import data
from study.design.plan import Plan, Trial, images_ahead
from study.executors.local import ENDS, LocalExecutor, Slot
from study.record import errors as storage
from study.record import layout, provenance
from study.record import optuna_store as search
from study.record import reader as record
from study.record.mlflow_queue import Indexer, Run

FLUSH_SECONDS = 10.0  # learning curves reach MLflow in batches
STOP_SECONDS = 60.0  # for the checkpoints of the workers after a Ctrl-C
RETRIED = ("crashed", "hung", "out of memory")  # an exception would only be raised again


@dataclass(frozen=True)
class Paths:
    """The record, and the evaluator's file: the user's, or where the stand-in is or will be."""

    record: Path
    evaluator: Path


@dataclass(frozen=True)
class Source:
    """The user's folder, and its images where they had to be decoded to check them; neither for rendered scenes."""

    folder: data.Folder | None
    pixels_NHWC: NDArray[np.uint8] | None


@dataclass
class Running:
    """A trial on a slot, its MLflow run, the curve lines that MLflow does not have yet, and those seen so far."""

    trial: Trial
    number: int
    run: Run
    tries: int
    lines: list[dict[str, float]] = field(default_factory=list)
    seen: list[dict[str, float]] = field(default_factory=list)
    accuracy: float = 0.0
    stopping: bool = False


@dataclass(frozen=True)
class Event:
    """What happened: preparing, started, progress, scored, pruned, retried, failed, note, stopping, finished.

    `info`: for display.
    """

    what: str
    trial: Trial | None = None
    info: dict[str, Any] = field(default_factory=dict)


def complete(plan: Plan, root: Path) -> dict[str, float]:
    """trial_key -> metric of the plan's complete trials."""
    found = {}
    for trial in plan.trials:
        folder = layout.trial_folder(root, trial.config.trial_key)
        if layout.state(folder) == "complete":
            found[trial.config.trial_key] = float(read_json(folder / "result.json")[plan.spec.metric])
    return found


def prepare(plan: Plan, source: Source, paths: Paths) -> Iterator[Event]:
    """The data, if they are not there yet."""
    cores = os.cpu_count() or 1
    config = plan.baseline
    # Two launches on one record: the second waits here and then finds what the first has made.
    with lock(paths.record / "cache" / "prepare.lock", wait=True):
        cache = paths.record / "cache"
        for progress in data.prepare(config.data, source.folder, config.image_size, cache, cores, source.pixels_NHWC):
            yield Event("preparing", info=asdict(progress))


def launch(
    plan: Plan, paths: Paths, executor: LocalExecutor, command: str, curve_points: int, retries: int = 1
) -> Generator[Event, None, None]:
    """Run what is missing. Yields an event for everything that happens.

    After `scored` the caller may add files to the trial's folder; what is there when the generator goes on is what
    MLflow gets. Failed trials do not stop the others; one whose worker crashed, hung or ran out of memory is tried
    `retries` times more. A KeyboardInterrupt of the executor gives the workers time for a checkpoint. On any
    exception, and when the generator is closed, workers are ended and runs closed as KILLED.
    """
    return _Launch(plan, paths, executor, command, curve_points, retries).events()


class _Launch:
    """What a launch knows while it runs."""

    def __init__(
        self, plan: Plan, paths: Paths, executor: LocalExecutor, command: str, curve_points: int, retries: int
    ) -> None:
        self.plan, self.paths, self.root = plan, paths, paths.record
        self.executor, self.command = executor, command
        self.launched = datetime.now(UTC).isoformat(timespec="seconds")
        self.curve_points, self.retries = curve_points, retries
        self.finished = complete(plan, self.root)
        self.images_ahead = images_ahead(plan, self.root)
        self.known = _study_json(plan, self.root)
        with lock(self.root / "index.lock", wait=True):  # two processes must not create one database
            self.cells = search.cells(
                self.root, plan, self.finished, (self.known.get("search") or {}).get("trials", [])
            )
        tags = {"study": plan.study, "scale": plan.scale, **provenance.tags()}
        run_ids = {trial["trial_key"]: trial["run_id"] for trial in self.known.get("trials", [])}
        self.index = Indexer(self.root, plan.study_id, plan.spec.question, tags, run_ids)
        self.running: dict[int, Running] = {}
        self.again: list[tuple[int, Trial, int]] = []  # number, trial and tries so far of what is to be tried again
        self.judging: int | None = None  # the slot that trains the stand-in evaluator, while others train already
        self.judge_tries = 0
        self.failures = 0
        self.flushed = time.monotonic()

    def events(self) -> Generator[Event, None, None]:
        try:
            self._write_study()
            self.index.open()
            done = [trial for trial in self.plan.trials if trial.config.trial_key in self.finished]
            name = f"launch {datetime.now():%Y-%m-%d %H:%M}"
            self.index.catch_up(done, name, lambda: provenance.files(self.command))
            yield from self._write_index()
            self._write_study()
            forget(self.plan, self.root)
            while self.cells.more() or self.again or self.running:
                yield from self._deal()
                answer = self.executor.poll(1.0)
                yield from self._write_index()
                if answer is not None:
                    yield from self._take(*answer)
            yield from map(_note, self.index.drain())
            self._write_study()
        except BaseException as error:
            yield from self._end(error)
            raise
        yield Event("finished", info={"index": self.index, "failures": self.failures})

    # --- giving out ------------------------------------------------------------------------------------

    def _deal(self) -> Iterator[Event]:
        """The stand-in evaluator to the first slot, while there is none; a trial to every idle one."""
        if self.judging is None and not self.paths.evaluator.exists():
            slot = next((slot for slot in self.executor.slots if slot.number not in self.running), None)
            if slot is not None:
                self.judging = slot.number
                place = _place(self.paths, slot, self.plan)
                self.executor.submit(
                    slot, {"kind": "evaluator", "config": self.plan.baseline.to_dict(), "place": place}
                )
        for slot in self.executor.slots:
            if slot.number in self.running or slot.number == self.judging:
                continue
            cell = self._next()
            if cell is None:
                break
            number, trial, tries = cell
            self.running[slot.number] = Running(trial, number, self.index.start(trial), tries)
            self._write_study()
            job = {"kind": "trial", "config": trial.config.to_dict()}
            place = _place(self.paths, slot, self.plan, self.curve_points)
            place["images_ahead"] = self.images_ahead[trial.config.step_key] // len(self.executor.slots)
            self.executor.submit(slot, job | {"place": place})
            yield Event("started", trial, {"slot": slot.number, "device": slot.device})
            yield from self._write_index()

    def _next(self) -> tuple[int, Trial, int] | None:
        """The next trial. A finished training may be sampled by several slots, an unfinished one is one slot's."""
        keys = {current.trial.config.train_key for current in self.running.values()}
        busy = {key for key in keys if not layout.has_weights(self.root, key)}
        for held in self.again:
            if held[1].config.train_key not in busy:
                self.again.remove(held)
                return held
        cell = self.cells.next(busy)
        return None if cell is None else (*cell, 0)

    # --- taking back -----------------------------------------------------------------------------------

    def _take(self, slot: Slot, event: dict[str, Any]) -> Iterator[Event]:
        """What a worker said."""
        if slot.number == self.judging:
            yield from self._judge(slot, event)
            return
        current = self.running[slot.number]
        if event["event"] == "curve":
            current.lines += event["lines"]
            yield Event("progress", current.trial, {"slot": slot.number, **event})
            if not current.stopping and _hopeless(self.cells, current, event):
                current.stopping = True
                self.executor.stop(slot)
        elif event["event"] in ENDS:
            self._flush(current)
            del self.running[slot.number]
            ended = {"done": self._done, "stopped": self._stopped, "failed": self._failed}[event["event"]]
            yield from ended(slot, current, event)
            self._write_study()
            yield from self._write_index()
        else:
            yield Event("progress", current.trial, {"slot": slot.number, **event})

    def _judge(self, slot: Slot, event: dict[str, Any]) -> Iterator[Event]:
        """What the worker that trains the stand-in evaluator said. Raises RuntimeError when it cannot be trained."""
        if event["event"] == "failed":
            self._refuse_full_disk(event)
            if event["status"] not in RETRIED or self.judge_tries == self.retries:
                raise RuntimeError(f"The stand-in evaluator could not be trained:\n{event['traceback']}")
            self.judge_tries += 1
            self.judging = None
            yield _note(f"stand-in evaluator: {event['status']}: {event['error']}; it is trained again")
        elif event["event"] == "done":
            self.judging = None
        elif event["event"] == "stand_in":
            yield Event("preparing", info={"what": "training the stand-in evaluator", **event})

    def _done(self, slot: Slot, current: Running, event: dict[str, Any]) -> Iterator[Event]:
        trial = current.trial
        folder = layout.trial_folder(self.root, trial.config.trial_key)
        shutil.rmtree(layout.failed_folder(folder), ignore_errors=True)
        yield Event("scored", trial, {"folder": folder, "accuracy": event["accuracy"]})
        self.index.finish(current.run, trial, folder)
        self.cells.tell(current.number, float(read_json(folder / "result.json")[self.plan.spec.metric]))
        self._write_study()
        forget(self.plan, self.root)

    def _stopped(self, slot: Slot, current: Running, event: dict[str, Any]) -> Iterator[Event]:
        if not current.stopping:  # somebody else told the worker to end: it has written its checkpoint
            self.executor.renew(slot)
            error = "the worker was asked to end by SIGTERM"
            yield from self._failed(slot, current, {"status": "crashed", "error": error, "traceback": error})
            return
        images = _keep_pruned(self.root, current.trial, current.seen)
        self.index.prune(current.run, images)
        self.cells.prune(current.number)
        yield Event("pruned", current.trial, {"images": images, "accuracy": current.accuracy})

    def _failed(self, slot: Slot, current: Running, event: dict[str, Any]) -> Iterator[Event]:
        """Once more where that can help; else the trial is a hole of the table."""
        self._refuse_full_disk(event)
        if "CUDA error" in event["error"]:  # whatever its cause, the process can compute nothing more
            self.executor.renew(slot)
            event = event | {"status": "crashed"}
        trial = current.trial
        folder = layout.trial_folder(self.root, trial.config.trial_key)
        _keep_traceback(layout.failed_folder(folder), event["traceback"])
        self.index.fail(current.run, event["traceback"], event["status"])
        if event["status"] in RETRIED and current.tries < self.retries:
            self.again.append((current.number, trial, current.tries + 1))
            yield Event("retried", trial, {"slot": slot.number, "tries": current.tries + 1, **event})
        else:
            self.failures += 1
            self.cells.tell(current.number, None)
            yield Event("failed", trial, {"slot": slot.number, **event})

    def _refuse_full_disk(self, event: dict[str, Any]) -> None:
        """A worker that found no room says nothing about its trial: raises OSError, which ends the launch."""
        full = (os.strerror(errno.ENOSPC), "the disk is full")
        if any(text in event["error"] for text in full) or storage.is_full(self.root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root))

    # --- the record ------------------------------------------------------------------------------------

    def _flush(self, current: Running) -> None:
        if current.lines:
            self.index.lines(current.run, current.lines)
            current.lines = []

    def _write_index(self) -> Iterator[Event]:
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            for current in self.running.values():
                self._flush(current)
            self.flushed = time.monotonic()
        yield from map(_note, self.index.work())

    def _write_study(self) -> None:
        searched = self.cells.describe() or self.known.get("search")
        value = self.plan.to_json(self.launched, self.command, self.index.run_ids, searched)
        old = _study_json(self.plan, self.root)
        if old and old | {"launched": self.launched} == value:
            return  # the same plan, with the same runs: nothing has been launched
        write_json(self.root / "studies" / self.plan.study_id / "study.json", value)

    def _end(self, error: BaseException) -> Iterator[Event]:
        """Nothing goes on when this returns. What cannot be written any more is put right by the next start."""
        try:
            if isinstance(error, KeyboardInterrupt):
                for workers, seconds in self.executor.wind_down(STOP_SECONDS):
                    yield Event("stopping", info={"workers": workers, "seconds": seconds})
        finally:
            self.executor.cancel()
            with contextlib.suppress(Exception):
                for current in self.running.values():
                    self.cells.interrupt(current.number)
                for number, _, _ in self.again:
                    self.cells.interrupt(number)
            with contextlib.suppress(Exception):
                self.index.abandon(current.run for current in self.running.values())


def _note(text: str) -> Event:
    return Event("note", info={"text": text})


def searching(plan: Plan, root: Path) -> bool:
    """Whether a search has trials left."""
    return record.searched(root, plan.study_id) < plan.searched


def with_winner(plan: Plan, root: Path) -> Plan:
    """The plan of a finished search: its winner beside the baseline on fresh seeds.

    Raises RuntimeError when no trial of the search was complete, or the winner is the baseline.
    """
    params = record.winner(root, plan.study_id)
    if params is None:
        raise RuntimeError(f"No trial of the search {plan.study_id} was complete, so there is no winner to judge.")
    return plan.with_winner(params)


def forget(plan: Plan, root: Path) -> None:
    """Delete the weights that `--keep-checkpoints` does not keep, unless a study of the record still wants them.

    Kept are those of trials that are still to be run, of every study that keeps all, and of the best trial of every
    study that keeps the best.
    """
    if plan.keep == "all":
        return
    wanted: set[str] = set()
    for study in record.studies(root).values():
        trials = study["trials"] + (study.get("search") or {}).get("trials", [])
        best = (-1.0, "")
        for trial in trials:
            folder = layout.trial_folder(root, trial["trial_key"])
            if study.get("keep_checkpoints", "all") == "all" or layout.state(folder) in ("missing", "failed"):
                wanted.add(trial["train_key"])
            elif layout.state(folder) == "complete":
                best = max(best, (float(read_json(folder / "result.json")[study["metric"]]), trial["train_key"]))
        if study.get("keep_checkpoints") == "best":
            wanted.add(best[1])
    searched = (_study_json(plan, root).get("search") or {}).get("trials", [])
    for key in {*plan.train_keys, *(trial["train_key"] for trial in searched)} - wanted:
        if layout.has_weights(root, key):
            for path in (root / "cache" / "trainings" / key).glob("*.safetensors"):
                path.unlink()


def _hopeless(cells: Any, current: Running, event: dict[str, Any]) -> bool:
    """Hand the new points of the learning curve to the search; whether it gives the trial up."""
    verdict = False
    for line in event["lines"]:
        current.seen.append(line)
        if "accuracy/validation" in line:
            current.accuracy = line["accuracy/validation"]
            images = int(line["images"])
            verdict = cells.report(current.number, images, event["total_images"], current.accuracy) or verdict
    return verdict


def _keep_pruned(root: Path, trial: Trial, lines: list[dict[str, float]]) -> int:
    """What is left of a trial that was stopped: how far it came and its curve; its half training goes."""
    folder = layout.trial_folder(root, trial.config.trial_key)
    images = max((int(line["images"]) for line in lines if "loss" in line), default=0)
    path = layout.pruned_file(folder)
    write_json(path, {"images": images, "config": trial.config.to_dict()})
    append_lines(path.with_name("metrics.jsonl"), lines)
    shutil.rmtree(folder.with_name(f"{folder.name}.partial"), ignore_errors=True)
    (root / "cache" / "trainings" / trial.config.train_key / "state.pt").unlink(missing_ok=True)
    return images


def _place(paths: Paths, slot: Slot, plan: Plan, curve_points: int = 5) -> dict[str, Any]:
    data_path = data.prepared(plan.baseline.data, plan.baseline.image_size, paths.record / "cache")
    return asdict(
        Place(
            record=str(paths.record),
            data=str(data_path),
            evaluator=str(paths.evaluator),
            device=slot.device,
            threads=slot.threads,
            packed=slot.packed,
            deterministic=slot.deterministic,
            compile=slot.compile,
            curve_points=curve_points,
        )
    )


def _keep_traceback(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "traceback.txt").write_text(text, encoding="utf-8")


def _study_json(plan: Plan, root: Path) -> dict[str, Any]:
    """study.json of the plan's study, empty before its first launch."""
    path = root / "studies" / plan.study_id / "study.json"
    return dict(read_json(path)) if path.is_file() else {}
