"""The MLflow index of a launch, behind a queue: what cannot be written now is written later, in order.

The trial folders are the truth. No trial waits for MLflow and none is lost by it: what the queue still holds when the
launch ends is indexed by the next start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runners.config import StagedConfig
from runners.process import scratch
from runners.process.locks import lock
from study.record import errors, layout, mlflow_index
from study.record.journal import Journal
from study.record.schema import Study

RETRY_SECONDS = 5.0
DRAIN_SECONDS = 30.0  # at the end of a launch, for a database that another program has locked


class Trial(Protocol):
    """What the index needs to know of a trial."""

    @property
    def name(self) -> str: ...
    @property
    def arm(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def config(self) -> StagedConfig: ...


@dataclass
class Run:
    """A trial's run. Its id is known once MLflow was reached; a `lost` one is left to the next start."""

    name: str
    id: str = ""
    lost: bool = False


class Indexer:
    """Takes what happens in a launch, and writes it when MLflow lets it. Call `work()` often."""

    def __init__(self, root: Path, study: Study, tags: Mapping[str, str]) -> None:
        """`study`: as it is launched, with the runs that study.json knows until MLflow itself can be asked."""
        self.root = root
        self.study = study
        self.tags = dict(tags)
        self.run_ids = {trial.trial_key: trial.run_id for trial in study.trials if trial.run_id}
        self.journal = Journal(root, study.study_id)
        self.parent = ""
        self.index: mlflow_index.MlflowIndex | None = None
        self.queue: deque[tuple[Run | None, Callable[[], None]]] = deque()
        self.paused_until = 0.0
        self.locked = False  # since it was last tried
        self.closed = False  # given up for this launch
        self.news: list[str] = []

    # --- what a launch says ----------------------------------------------------------------------------

    def open(self) -> None:
        """The database, put right after a launch that was killed."""
        self._put(None, self._open)

    def catch_up(self, trials: Iterable[Trial], name: str, files: Callable[[], Mapping[str, str]]) -> None:
        """Index the complete `trials` that MLflow lacks. `name` and `files` are those of the launch's own run, which
        is made when there is something to put under it."""
        self.launch = (name, files)
        self._put(None, lambda: self._catch_up(list(trials)))

    def start(self, trial: Trial) -> Run:
        run = Run(trial.name)
        self._put(run, lambda: self._start(run, trial))
        return run

    def lines(self, run: Run, lines: list[Mapping[str, float]]) -> None:
        self._put(run, lambda: self._ready().log_lines(run.id, lines))

    def finish(self, run: Run, trial: Trial, folder: Path, lines: list[Mapping[str, float]]) -> None:
        """The trial is complete; `lines` are those of its learning curve that MLflow does not have yet."""

        def write() -> None:
            self._ready().finish_trial(run.id, folder, lines)
            self._indexed(trial.key, run.id)

        self._put(run, write)

    def prune(self, run: Run, images: int) -> None:
        self._put(run, lambda: self._ready().prune_trial(run.id, images))

    def fail(self, run: Run, traceback: str, status: str) -> None:
        self._put(run, lambda: self._ready().fail_trial(run.id, traceback, status))

    def finish_launch(
        self, status: str, report: Path | None = None, warnings: Iterable[str] = (), answer: str = ""
    ) -> Iterator[str]:
        """The launch's own run; then waits, a while, until everything is written. Yields sentences."""
        texts = list(warnings)
        if self.parent or self.queue:
            self._put(None, lambda: self._finish_launch(status, report, texts, answer))
        yield from self.drain()

    # --- writing ---------------------------------------------------------------------------------------

    def work(self) -> list[str]:
        """Write what waits, as far as MLflow lets it; sentences about what is new.

        Raises what was raised when the disk is full: nothing else could be kept either. Where temporary files alone
        find no room, they move.
        """
        while self.queue and time.monotonic() >= self.paused_until:
            if errors.locked(layout.mlflow_database(self.root)):
                self._pause()
                break
            run, write = self.queue[0]
            try:
                if not (run and run.lost):
                    write()
            except Exception as error:
                kind = errors.trouble(error, self.root)
                if kind == "full":
                    if moved := scratch.settle(layout.cache_folder(self.root)):  # MLflow writes texts there first
                        self.news.append(moved)
                        continue
                    raise
                if kind == "locked":
                    self._pause()
                    break
                self._lose(run, error)
            else:
                if self.locked:
                    self.news.append("mlflow.db is free again: the index catches up")
                self.locked = False
            if self.queue:
                self.queue.popleft()
        news, self.news = self.news, []
        return news

    def drain(self, seconds: float = DRAIN_SECONDS) -> Iterator[str]:
        """Write what waits; a locked database is waited for. Yields sentences."""
        end = time.monotonic() + seconds
        yield from self.work()
        while self.queue and time.monotonic() < end:
            time.sleep(0.2)
            yield from self.work()
        if self.queue:
            yield "mlflow.db stayed locked: what it lacks is written by the next start of the same command"
        self.queue.clear()

    def abandon(self, runs: Iterable[Run]) -> None:
        """The launch ends early: its runs are KILLED, unless MLflow cannot be written; then the next start sees to
        them."""
        self.queue.clear()
        if self.index is None or errors.locked(layout.mlflow_database(self.root)):
            return
        for run in runs:
            if run.id and not run.lost:
                self.index.client.set_terminated(run.id, "KILLED")
        if self.parent:
            self.index.finish_launch(self.parent, "KILLED")

    def _put(self, run: Run | None, write: Callable[[], None]) -> None:
        if not self.closed:
            self.queue.append((run, write))

    def _pause(self) -> None:
        self.paused_until = time.monotonic() + RETRY_SECONDS
        if not self.locked:
            self.news.append("mlflow.db is locked by another program: training goes on, the index is written later")
        self.locked = True

    def _lose(self, run: Run | None, error: Exception) -> None:
        """One run, or the whole index, is left to the next start."""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if run is not None:
            run.lost = True
            self.news.append(f"{run.name} could not be written to MLflow ({reason}): the next start indexes it")
            return
        self.closed = True
        self.queue.clear()
        self.news.append(
            f"MLflow cannot be written ({reason}): trials are kept in their folders, and "
            f"`python -m study.doctor --record {self.root} --rebuild-mlflow` makes the index anew from them"
        )

    def _ready(self) -> mlflow_index.MlflowIndex:
        assert self.index is not None  # `_open` is the first in the queue
        return self.index

    def _open(self) -> None:
        with lock(layout.index_lock(self.root), wait=True):  # two processes must not create one database
            self.index = mlflow_index.MlflowIndex(self.root, self.study.study_id, self.study.question)
        if self.index.deleted():
            self.index.restore()
            self.news.append("the experiment was deleted in MLflow: it is restored with its runs")
        self.index.tag_again(self.run_ids)
        for name in self.index.repair():
            self.news.append(f"{name} was interrupted: it goes on from its last checkpoint")
        self.run_ids.clear()
        self.run_ids.update(self.index.indexed())

    def _indexed(self, trial_key: str, run_id: str) -> None:
        self.run_ids[trial_key] = run_id
        self.journal.run(trial_key, run_id)

    def _launch_run(self) -> str:
        if not self.parent:
            name, files = self.launch
            self.parent = self._ready().start_launch(name, self.study, self.tags, files())
        return self.parent

    def _catch_up(self, trials: list[Trial]) -> None:
        for trial in trials:
            if trial.key not in self.run_ids:
                folder = layout.trial_folder(self.root, trial.key)
                tags, parent = {"arm": trial.arm, **self.tags}, self._launch_run()
                self._indexed(trial.key, self._ready().index_trial(parent, trial.name, trial.config, folder, tags))
                self.news.append(f"{trial.name} was complete but not in MLflow: indexed")

    def _start(self, run: Run, trial: Trial) -> None:
        tags = {"arm": trial.arm, **self.tags}
        run.id = self._ready().start_trial(self._launch_run(), trial.name, trial.config, tags)

    def _finish_launch(self, status: str, report: Path | None, warnings: list[str], answer: str) -> None:
        if self.parent:
            self._ready().finish_launch(self.parent, status, report, warnings, answer)
