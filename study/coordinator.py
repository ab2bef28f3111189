"""The coordinator: asks for cells, gives them to workers, tells both indexes. A generator of events.

It alone touches Optuna's and MLflow's databases. The trial folders are the truth: what is complete there is not
run again, and both indexes are made to agree with them before anything starts.
"""

from __future__ import annotations

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

from runners import data
from runners.files import append_lines, read_json, write_json
from runners.locks import lock
from runners.trial import Place
from study import provenance, record, search
from study.executors.local import LocalExecutor, Slot
from study.plan import Plan, Trial

FLUSH_SECONDS = 10.0  # learning curves reach MLflow in batches


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
    run_id: str
    lines: list[dict[str, float]] = field(default_factory=list)
    seen: list[dict[str, float]] = field(default_factory=list)
    accuracy: float = 0.0
    stopping: bool = False


@dataclass(frozen=True)
class Event:
    """What happened: preparing, started, progress, scored, pruned, failed, repaired, finished. `info`: for display."""

    what: str
    trial: Trial | None = None
    info: dict[str, Any] = field(default_factory=dict)


def complete(plan: Plan, root: Path) -> dict[str, float]:
    """trial_key -> metric of the plan's complete trials."""
    found = {}
    for trial in plan.trials:
        folder = record.trial_folder(root, trial.config.trial_key)
        if record.state(folder) == "complete":
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
    plan: Plan, paths: Paths, executor: LocalExecutor, command: str, curve_points: int
) -> Generator[Event, None, None]:
    """Run what is missing. Yields an event for everything that happens.

    After `scored` the caller may add files to the trial's folder; what is there when the generator goes on is what
    MLflow gets. Failed trials do not stop the others. On any exception, and when the generator is closed, workers
    are ended and runs closed as KILLED.
    """
    root = paths.record
    finished = complete(plan, root)
    known = _study_json(plan, root)
    with lock(root / "index.lock", wait=True):  # two processes must not create one database
        cells = search.cells(root, plan, finished, (known.get("search") or {}).get("trials", []))
        index = record.MlflowIndex(root, plan.study_id, plan.spec.question)
    for name in index.repair():
        yield Event("repaired", info={"text": f"{name} was interrupted: it goes on from its last checkpoint"})
    run_ids = index.indexed()
    unindexed = [trial for trial in plan.trials if trial.config.trial_key in finished.keys() - run_ids.keys()]

    def write() -> None:
        _write_study(plan, root, command, run_ids, cells.describe() or known.get("search"))

    write()
    forget(plan, root)
    if not cells.more() and not unindexed:
        return
    tags = provenance.tags()
    parent = index.start_launch(
        f"launch {datetime.now():%Y-%m-%d %H:%M}",
        plan.spec.question,
        {"study": plan.study, "scale": plan.scale, **tags},
        provenance.files(command),
    )
    tags |= {"study": plan.study, "scale": plan.scale}
    for trial in unindexed:
        folder = record.trial_folder(root, trial.config.trial_key)
        run_ids[trial.config.trial_key] = index.index_trial(parent, trial.name, folder, {"arm": trial.arm, **tags})
        yield Event("repaired", trial, {"text": f"{trial.name} was complete but not in MLflow: indexed"})
    write()

    running: dict[int, Running] = {}
    judging: int | None = None  # the slot that trains the stand-in evaluator, while others train already
    failures = 0
    flushed = time.monotonic()
    try:
        while cells.more() or running:
            if judging is None and not paths.evaluator.exists():
                judging = executor.slots[0].number
                place = _place(paths, executor.slots[0], plan)
                job = {"kind": "evaluator", "config": plan.baseline.to_dict(), "place": place}
                executor.submit(executor.slots[0], job)
            for slot in executor.slots:
                if slot.number not in running and slot.number != judging:
                    # A finished training may be sampled by several slots, an unfinished one is one slot's.
                    keys = {current.trial.config.train_key for current in running.values()}
                    cell = cells.next({key for key in keys if not record.has_weights(root, key)})
                    if cell is None:
                        break
                    number, trial = cell
                    run_id = index.start_trial(parent, trial.name, trial.config, {"arm": trial.arm, **tags})
                    running[slot.number] = Running(trial, number, run_id)
                    write()
                    job = {"kind": "trial", "config": trial.config.to_dict()}
                    executor.submit(slot, job | {"place": _place(paths, slot, plan, curve_points)})
                    yield Event("started", trial, {"slot": slot.number, "device": slot.device})
            answer = executor.poll(1.0)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                for current in running.values():
                    _flush(index, current)
                flushed = time.monotonic()
            if answer is None:
                continue
            slot, event = answer
            if slot.number == judging:
                if event["event"] == "failed":
                    raise RuntimeError(f"The stand-in evaluator could not be trained:\n{event['traceback']}")
                if event["event"] == "done":
                    judging = None
                else:
                    yield Event("preparing", info={"what": "training the stand-in evaluator", **event})
                continue
            current = running[slot.number]
            trial, key = current.trial, current.trial.config.trial_key
            folder = record.trial_folder(root, key)
            if event["event"] == "curve":
                current.lines += event["lines"]
                yield Event("progress", trial, {"slot": slot.number, **event})
                if not current.stopping and _hopeless(cells, current, event):
                    current.stopping = True
                    executor.stop(slot)
            elif event["event"] == "done":
                shutil.rmtree(record.failed_folder(folder), ignore_errors=True)
                yield Event("scored", trial, {"folder": folder, "accuracy": event["accuracy"]})
                _flush(index, current)
                index.finish_trial(current.run_id, folder)
                cells.tell(current.number, float(read_json(folder / "result.json")[plan.spec.metric]))
                run_ids[key] = current.run_id
                del running[slot.number]
                write()
                forget(plan, root)
            elif event["event"] == "stopped":
                images = _keep_pruned(root, trial, current.seen)
                _flush(index, current)
                index.prune_trial(current.run_id, images)
                cells.prune(current.number)
                del running[slot.number]
                write()
                yield Event("pruned", trial, {"images": images, "accuracy": current.accuracy})
            elif event["event"] == "failed":
                failures += 1
                _keep_traceback(record.failed_folder(folder), event["traceback"])
                _flush(index, current)
                index.fail_trial(current.run_id, event["traceback"])
                cells.tell(current.number, None)
                del running[slot.number]
                write()
                yield Event("failed", trial, {"slot": slot.number, **event})
            else:
                yield Event("progress", trial, {"slot": slot.number, **event})
    except BaseException:
        executor.cancel()
        for current in running.values():
            cells.interrupt(current.number)
            index.client.set_terminated(current.run_id, "KILLED")
        index.finish_launch(parent, "KILLED")
        raise
    yield Event("finished", info={"index": index, "parent": parent, "failures": failures})


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
            folder = record.trial_folder(root, trial["trial_key"])
            if study.get("keep_checkpoints", "all") == "all" or record.state(folder) in ("missing", "failed"):
                wanted.add(trial["train_key"])
            elif record.state(folder) == "complete":
                best = max(best, (float(read_json(folder / "result.json")[study["metric"]]), trial["train_key"]))
        if study.get("keep_checkpoints") == "best":
            wanted.add(best[1])
    searched = (_study_json(plan, root).get("search") or {}).get("trials", [])
    for key in {*plan.train_keys, *(trial["train_key"] for trial in searched)} - wanted:
        if record.has_weights(root, key):
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
    folder = record.trial_folder(root, trial.config.trial_key)
    images = max((int(line["images"]) for line in lines if "loss" in line), default=0)
    path = record.pruned_file(folder)
    write_json(path, {"images": images, "config": trial.config.to_dict()})
    append_lines(path.with_name("metrics.jsonl"), lines)
    shutil.rmtree(folder.with_name(f"{folder.name}.partial"), ignore_errors=True)
    (root / "cache" / "trainings" / trial.config.train_key / "state.pt").unlink(missing_ok=True)
    return images


def _flush(index: record.MlflowIndex, current: Running) -> None:
    if current.lines:
        index.log_lines(current.run_id, current.lines)
        current.lines = []


def _place(paths: Paths, slot: Slot, plan: Plan, curve_points: int = 5) -> dict[str, Any]:
    data_path = data.prepared(plan.baseline.data, plan.baseline.image_size, paths.record / "cache")
    return asdict(
        Place(
            record=str(paths.record),
            data=str(data_path),
            evaluator=str(paths.evaluator),
            device=slot.device,
            threads=slot.threads,
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


def _write_study(plan: Plan, root: Path, command: str, run_ids: dict[str, str], search: dict[str, Any] | None) -> None:
    value = plan.to_json(datetime.now(UTC).isoformat(timespec="seconds"), command, run_ids, search)
    old = _study_json(plan, root)
    if old and old | {"launched": value["launched"]} == value:
        return  # the same plan, with the same runs: nothing has been launched
    write_json(root / "studies" / plan.study_id / "study.json", value)
