"""The scheduler: gives trials to workers and tells both indexes what became of them. A generator of events.

It alone touches Optuna's and MLflow's databases. The trial folders are the truth: what is complete there is not
run again, and both indexes are made to agree with them before anything starts. No event of one trial reads or writes
anything that is as long as the study.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from runners.config import StagedConfig
from runners.experiment import Curve, Note, Progress
from runners.process.files import append_lines, read_json, write_json
from runners.process.locks import lock
from runners.process.protocol import LAST, Done, Failed, Message, Stopped
from study.design.cost import images_ahead
from study.design.plan import Plan, Trial
from study.executors import Executor, Slot
from study.record import layout, provenance, reader
from study.record.journal import Journal
from study.record.mlflow_queue import Indexer, Run
from study.record.schema import Search, Study, StudyTrial
from study.scheduling import events
from study.scheduling.cells import Cell, Cells
from study.scheduling.finalists import FinalistCells
from study.scheduling.grid import GridCells
from study.scheduling.retention import Retention
from study.scheduling.settings import RETRIED, Settings, context, job, refuse_full_disk
from study.scheduling.tpe import SearchCells

FLUSH_SECONDS = 10.0  # learning curves reach MLflow in batches
STOP_SECONDS = 60.0  # for the checkpoints of the workers after a Ctrl-C


@dataclass
class Running:
    """A cell on a slot, its MLflow run, the curve lines that MLflow does not have yet, and those seen so far."""

    cell: Cell
    run: Run
    tries: int
    unwritten: list[Mapping[str, float]] = field(default_factory=list)
    seen: list[Mapping[str, float]] = field(default_factory=list)
    value: float = 0.0
    stopping: bool = False

    @property
    def trial(self) -> Trial:
        return self.cell.trial


class Launch:
    """One launch of a plan: what it knows while it runs. Iterate over `run()`, then `close()`.

    Failed trials do not stop the others; one whose worker crashed, hung or ran out of memory is tried `retries` times
    more. A KeyboardInterrupt of the executor gives the workers time for a checkpoint. On any exception, and when the
    generator is closed, workers are ended and runs closed as KILLED.
    """

    def __init__(
        self, plan: Plan, record: Path, executor: Executor, settings: Settings, done: Mapping[str, float]
    ) -> None:
        """`done`: trial_key -> metric of the trials that are complete (`complete`)."""
        self.plan, self.record, self.executor, self.settings = plan, record, executor, settings
        self.launched = datetime.now(UTC).isoformat(timespec="seconds")
        self.number = reader.next_launch(record)
        self.done = dict(done)
        self.known = reader.find_study(plan.study_id, record)
        with lock(layout.index_lock(record), wait=True):  # two processes must not create one database
            self.cells = _cells(plan, record, done, self.known.search if self.known else None)
        self.journal = Journal(record, plan.study_id)
        known = self.known.all_trials if self.known else {}
        run_ids = {key: trial.run_id for key, trial in known.items() if isinstance(trial, StudyTrial)}
        tags = {"study": plan.study, "scale": plan.scale, **provenance.tags()}
        self.study = self._as_study(run_ids)
        self.index = Indexer(record, self.study, tags)
        missing = {trial.train_key: trial.config for trial in plan.due if trial.key not in self.done}
        untrained: list[StagedConfig] = [c for key, c in missing.items() if not layout.has_weights(record, key)]
        self.images_ahead = images_ahead(untrained)
        self.trained: set[str] = set()  # trainings whose weights are there: looked for once each
        self.running: dict[int, Running] = {}
        self.again: list[tuple[Cell, int]] = []  # what is to be tried again, and its tries so far
        self.failures = 0
        self.flushed = time.monotonic()

    def run(self) -> Generator[events.Event, None, None]:
        """Run what is missing. Yields an event for everything that happens."""
        try:
            if self._differs():
                self.journal.fold(self.study)
            self.index.open()
            complete = [trial for trial in self.plan.due if trial.key in self.done]
            complete += self.cells.scored() if isinstance(self.cells, SearchCells) else []
            files = lambda: {**provenance.files(self.settings.command), **self.settings.files}  # noqa: E731
            self.index.catch_up(complete, f"launch {datetime.now():%Y-%m-%d %H:%M}", files)
            yield from self._write_index()
            self.retention = Retention(self.plan, self.record)
            while self.cells.more() or self.again or self.running:
                yield from self._deal()
                answer = self.executor.poll(1.0)
                yield from self._write_index()
                if answer is not None:
                    yield from self._take(*answer)
            yield from map(events.Noted, self.index.drain())
            if isinstance(self.cells, SearchCells) and self.cells.unweighed:
                yield events.Noted("the importance of each parameter, and what shuffled scores would give it", "search")
            self._fold()
        except BaseException as error:
            yield from self._end(error)
            raise

    def close(
        self, status: str, report: Path | None = None, warnings: tuple[str, ...] = (), answer: str = ""
    ) -> Iterator[str]:
        """End the launch's own run in MLflow, with the report's folder and the answer; yields sentences."""
        yield from self.index.finish_launch(status, report, warnings, answer)
        self._fold()

    # --- giving out ------------------------------------------------------------------------------------

    def _deal(self) -> Iterator[events.Event]:
        """A trial to every idle slot."""
        for slot in self.executor.slots:
            if slot.number in self.running:
                continue
            given = self._next()
            if given is None:
                break
            cell, tries = given
            trial = cell.trial
            self.running[slot.number] = Running(cell, self.index.start(trial), tries)
            self.retention.expect(trial)
            self._note_suggestion(cell)
            ahead = self.images_ahead[trial.config.step_key] // len(self.executor.slots)
            place = context(self.record, slot, self.settings, ahead)
            self.executor.submit(slot, job("trial", self.plan, trial.config, place))
            yield events.Started(trial, slot.number, slot.device)
            yield from self._write_index()

    def _next(self) -> tuple[Cell, int] | None:
        """The next trial. A finished training may be sampled by several slots, an unfinished one is one slot's."""
        busy = {current.trial.train_key for current in self.running.values()} - self.trained
        for train_key in [key for key in busy if layout.has_weights(self.record, key)]:
            self.trained.add(train_key)
            busy.discard(train_key)
        for held in self.again:
            if held[0].trial.train_key not in busy:
                self.again.remove(held)
                return held
        cell = self.cells.next(busy)
        return None if cell is None else (cell, 0)

    # --- taking back -----------------------------------------------------------------------------------

    def _take(self, slot: Slot, message: Message) -> Iterator[events.Event]:
        """What a worker said."""
        current = self.running.get(slot.number)
        if current is None:
            return
        if isinstance(message, LAST):
            if not isinstance(message, Done):
                self._flush(current)
            del self.running[slot.number]
        match message:
            case Curve(lines, total):
                current.unwritten += lines
                yield events.Training(current.trial, slot.number, tuple(lines), total)
                if not current.stopping and self._hopeless(current, message):
                    current.stopping = True
                    self.executor.stop(slot)
            case Progress(_, done, total):
                yield events.Sampling(current.trial, slot.number, done, total)
            case Note(text):
                yield events.Noted(text, current.trial.name)
            case Done():
                yield from self._done(slot, current)
            case Stopped():
                yield from self._stopped(slot, current)
            case Failed():
                yield from self._failed(slot, current, message)
        if isinstance(message, LAST):
            yield from self._write_index()

    def _done(self, slot: Slot, current: Running) -> Iterator[events.Event]:
        trial = current.trial
        folder = layout.trial_folder(self.record, trial.key)
        shutil.rmtree(layout.failed_folder(folder), ignore_errors=True)
        try:
            if self.settings.on_trial_complete is not None:
                self.settings.on_trial_complete(folder)
        except Exception as error:  # the trial is complete without a picture; a full disk is met again right below
            yield events.Noted(f"no picture of it was drawn ({type(error).__name__}: {error})", trial.name)
        value = float(read_json(folder / "result.json")[self.plan.metric])
        self.done[trial.key] = value
        self.index.finish(current.run, trial, folder, current.unwritten)
        self.cells.complete(current.cell, value)
        self._note_suggestion(current.cell)
        self.retention.end(trial, value)
        yield events.Scored(trial, slot.number, value)

    def _stopped(self, slot: Slot, current: Running) -> Iterator[events.Event]:
        if not current.stopping:  # somebody else told the worker to end: it has written its checkpoint
            self.executor.renew(slot)
            error = "the worker was asked to end by SIGTERM"
            yield from self._failed(slot, current, Failed("crashed", error, error))
            return
        images = _keep_pruned(self.record, current.trial, current.seen)
        self.index.prune(current.run, images)
        self.cells.prune(current.cell)
        self._note_suggestion(current.cell)
        self.retention.end(current.trial, None)
        yield events.Pruned(current.trial, slot.number, images, current.value)

    def _failed(self, slot: Slot, current: Running, message: Failed) -> Iterator[events.Event]:
        """Once more where that can help; else the arm stays incomplete."""
        moved = refuse_full_disk(message, self.record)
        if moved:
            yield events.Noted(moved)
        if moved or message.status == "crashed":  # the process, where it still lives, can do no other job
            self.executor.renew(slot)
        trial = current.trial
        _keep_traceback(layout.trial_folder(self.record, trial.key), message.traceback)
        self.index.fail(current.run, message.traceback, message.status)
        if (moved or message.status in RETRIED) and current.tries < self.settings.retries:
            self.again.append((current.cell, current.tries + 1))
            yield events.Retried(trial, slot.number, message.status, message.error, current.tries + 1)
        else:
            self.failures += 1
            self.cells.fail(current.cell)
            self._note_suggestion(current.cell)
            yield events.Failed(trial, slot.number, message.status, message.error)

    def _hopeless(self, current: Running, curve: Curve) -> bool:
        """Hand the new points of the learning curve to the search; whether it gives the trial up."""
        verdict, metric = False, self._curve_metric
        for line in curve.lines:
            current.seen.append(line)
            if metric in line:
                current.value = line[metric]
                images = int(line["images"])
                verdict = self.cells.report(current.cell, images, curve.total, current.value) or verdict
        return verdict

    @property
    def _curve_metric(self) -> str:
        """The score that learning curves have: of the list that choices are made on."""
        return self.plan.task.choice

    # --- the record ------------------------------------------------------------------------------------

    def _flush(self, current: Running) -> None:
        if current.unwritten:
            self.index.lines(current.run, current.unwritten)
            current.unwritten = []

    def _write_index(self) -> Iterator[events.Event]:
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            for current in self.running.values():
                self._flush(current)
            self.flushed = time.monotonic()
        yield from map(events.Noted, self.index.work())

    def _search(self) -> Search | None:
        return self.cells.search() or (self.known.search if self.known else None)

    def _note_suggestion(self, cell: Cell) -> None:
        if isinstance(self.cells, SearchCells):
            self.journal.suggestion(self.cells.suggestion(cell))

    def _differs(self) -> bool:
        """Whether study.json is to be written: not by a command that finds everything done. The stages of a search
        before its last one write nothing but the search: what it has led to may be there already."""
        old = self.known
        if old is not None and self.plan.stage in ("search", "finalists"):
            return old.search != self.study.search
        now = {"launched": self.launched, "launch": self.number}
        return old is None or old.model_copy(update=now) != self.study

    def _as_study(self, run_ids: Mapping[str, str]) -> Study:
        """What study.json says; a study that is complete is judged, which is a look."""
        study = self.plan.as_study(self.launched, self.settings.command, run_ids, self._search())
        study = study.model_copy(update={"launch": self.number})
        n = len(self.plan.seeds)
        judged = n > 1 and not study.searching and all(trial.key in self.done for trial in self.plan.trials)
        return study.model_copy(update={"looks": tuple(sorted({*study.looks, n}))}) if judged else study

    def _fold(self) -> None:
        """study.json with all that became known since the launch began."""
        study = self._as_study(self.index.run_ids)
        if study != self.study or self.journal.path.exists():
            self.journal.fold(study)
            self.study = study

    def _end(self, error: BaseException) -> Iterator[events.Event]:
        """Nothing goes on when this returns. What cannot be written any more is put right by the next start."""
        try:
            if isinstance(error, KeyboardInterrupt):
                for workers, seconds in self.executor.wind_down(STOP_SECONDS):
                    yield events.Stopping(workers, seconds)
        finally:
            self.executor.cancel()
            with contextlib.suppress(Exception):
                for cell in [*(current.cell for current in self.running.values()), *(cell for cell, _ in self.again)]:
                    self.cells.interrupt(cell)
            with contextlib.suppress(Exception):
                self.index.abandon(current.run for current in self.running.values())


def _cells(plan: Plan, record: Path, done: Mapping[str, float], recorded: Search | None) -> Cells:
    """What a launch of the plan has to run, in its stage."""
    if plan.stage == "search":
        return SearchCells(record, plan, recorded)
    if plan.stage == "finalists" and recorded is not None:
        return FinalistCells(record, plan, done, recorded)
    return GridCells(record, plan, done)


def _keep_pruned(record: Path, trial: Trial, lines: list[Mapping[str, float]]) -> int:
    """What is left of a trial that was stopped: how far it came and its curve; its half training goes."""
    folder = layout.trial_folder(record, trial.key)
    images = max((int(line["images"]) for line in lines if "loss" in line), default=0)
    path = layout.pruned_file(folder)
    write_json(path, {"images": images, "config": trial.config.to_dict()})
    append_lines(path.with_name("metrics.jsonl"), lines)
    shutil.rmtree(folder.with_name(f"{folder.name}.partial"), ignore_errors=True)
    (layout.training_folder(record, trial.train_key) / "state.pt").unlink(missing_ok=True)
    return images


def _keep_traceback(folder: Path, text: str) -> None:
    path = layout.traceback_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
