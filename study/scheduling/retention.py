"""Which weights stay: one rule, for `--keep-checkpoints` while a study runs and for `--prune-checkpoints` afterwards.

Weights are wanted by every trial that is still to be run, by every study that keeps all, and, of a study that keeps the
best, by its best trial. Everything else that a training left (curve, digests, manipulation check) always stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from runners.process.files import read_json, stamp
from study.design.plan import Plan, Trial
from study.record import layout, reader
from study.record.schema import Study


def delete_weights(record: Path, train_key: str, patterns: Iterable[str] = ("*.safetensors",)) -> int:
    """Delete the files of a training that match; returns their bytes."""
    files = [path for pattern in patterns for path in layout.training_folder(record, train_key).glob(pattern)]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink()
    return size


def unfinished(study: Study, record: Path) -> set[str]:
    """The trainings that a trial of the study still wants, because it is missing or has failed."""
    return {
        trial.train_key
        for key, trial in study.all_trials.items()
        if layout.state(layout.trial_folder(record, key)) in ("missing", "failed")
    }


def kept(study: Study, record: Path) -> set[str]:
    """The trainings whose weights the study's own `--keep-checkpoints` keeps, its unfinished ones included."""
    if study.keep_checkpoints == "all":
        return {trial.train_key for trial in study.all_trials.values()}
    wanted = unfinished(study, record)
    if study.keep_checkpoints == "best":
        best = Best(study.of_task().metric.higher_is_better)
        for key, trial in study.all_trials.items():
            folder = layout.trial_folder(record, key)
            if layout.state(folder) == "complete":
                best.see(float(read_json(folder / "result.json")[study.metric]), trial.train_key)
        wanted.add(best.train_key)
    return wanted


def prune(record: Path, studies: Iterable[Study]) -> tuple[int, int, int]:
    """Delete the weights and checkpoints that no missing trial of any study wants.

    Returns how many trainings lost theirs, their bytes, and how many trainings are still wanted.
    """
    wanted = set[str]().union(*(unfinished(study, record) for study in studies))
    count, size = 0, 0
    for folder in sorted(layout.trainings_folder(record).glob("*")):
        if folder.name not in wanted and (freed := delete_weights(record, folder.name, ("*.safetensors", "state*.pt"))):
            count, size = count + 1, size + freed
    return count, size, len(wanted)


def release_former(before: Study | None, plan: Plan, record: Path) -> None:
    """Delete the weights of trainings that a search no longer has: it grew, and others are its finalists or its winner
    now. `before`: the search as it was."""
    now = reader.find_study(plan.study_id, record)
    if before is None or now is None or plan.keep == "all":
        return
    mine, former = ({trial.train_key for trial in study.all_trials.values()} for study in (now, before))
    files = [path for path in layout.study_files(record) if path.parent.name != plan.study_id]
    others = set[str]().union(*(kept(reader.read_study(path), record) for path in files))
    for train_key in former - mine - others:
        delete_weights(record, train_key)


class Best:
    """The training of the best score so far."""

    def __init__(self, higher_is_better: bool) -> None:
        self.sign = 1.0 if higher_is_better else -1.0
        self.score = -float("inf")
        self.train_key = ""

    def see(self, value: float, train_key: str) -> str:
        """Take note of a score; returns the training that is no longer the best."""
        if (self.sign * value, train_key) <= (self.score, self.train_key):
            return train_key
        before, self.score, self.train_key = self.train_key, self.sign * value, train_key
        return before


class Retention:
    """`--keep-checkpoints` of one launch. The record is read once; a trial that ends costs the same in any study."""

    def __init__(self, plan: Plan, record: Path) -> None:
        self.record, self.keep, self.study_id = record, plan.keep, plan.study_id
        if self.keep == "all":
            return
        self.seen: dict[Path, tuple[int, ...]] = {}  # study.json of another study -> which version of it
        self.others: set[str] = set()  # trainings whose weights other studies keep
        self.best = Best(plan.task.metric.higher_is_better)
        self.open: Counter[str] = Counter()  # training -> trials of this study that still want it
        study = reader.find_study(plan.study_id, record)
        wanting = {key: trial.train_key for key, trial in study.all_trials.items()} if study else {}
        wanting |= {trial.key: trial.train_key for trial in (*plan.trials, *plan.finalists)}
        for key, train_key in wanting.items():
            folder = layout.trial_folder(record, key)
            if layout.state(folder) == "complete":
                self._see(float(read_json(folder / "result.json")[plan.metric]), train_key)
            elif layout.state(folder) in ("missing", "failed"):
                self.open[train_key] += 1
        for train_key in set(wanting.values()):
            self._release(train_key)

    def expect(self, trial: Trial) -> None:
        """A search has made a suggestion: its training is wanted until the trial is complete or pruned."""
        if self.keep != "all" and not self.open[trial.train_key]:
            self.open[trial.train_key] = 1

    def end(self, trial: Trial, value: float | None) -> None:
        """A trial is complete with its score, or was pruned (None)."""
        if self.keep == "all":
            return
        self.open[trial.train_key] -= 1
        beaten = trial.train_key if value is None else self._see(value, trial.train_key)
        for train_key in {beaten, trial.train_key}:
            self._release(train_key)

    def _see(self, value: float, train_key: str) -> str:
        return self.best.see(value, train_key) if self.keep == "best" else train_key

    def _release(self, train_key: str) -> None:
        """Delete the weights of a training that nothing wants any more."""
        if not train_key or self.open[train_key] > 0 or train_key == self.best.train_key:
            return
        if layout.has_weights(self.record, train_key) and train_key not in self._kept_by_others():
            delete_weights(self.record, train_key)

    def _kept_by_others(self) -> set[str]:
        """Read again when another study was launched or has ended since the last look."""
        files = [path for path in layout.study_files(self.record) if path.parent.name != self.study_id]
        written = {path: stamp(path) for path in files}
        if written != self.seen:
            self.seen = written
            self.others = set[str]().union(*(kept(reader.read_study(path), self.record) for path in files))
        return self.others
