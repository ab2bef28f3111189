"""Where everything of a record lies. Every path of a record is spelled here and nowhere else."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path

from runners import readable
from runners import training_folder as trainings
from study.record.schema import TrialState

DEFAULT_RECORD = Path(__file__).resolve().parent.parent.parent / "mlruns"
KEY = re.compile("[0-9a-f]{12}")  # of a trial or a training
STUDY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


# --- studies -----------------------------------------------------------------------------------------


def studies_folder(record: Path) -> Path:
    return record / "studies"


def study_folder(record: Path, study_id: str) -> Path:
    return studies_folder(record) / study_id


def study_file(record: Path, study_id: str) -> Path:
    """What was asked, and which trials answer it."""
    return study_folder(record, study_id) / "study.json"


def study_files(record: Path) -> list[Path]:
    return sorted(studies_folder(record).glob("*/study.json"))


def journal_file(record: Path, study_id: str) -> Path:
    """What became known since study.json was written."""
    return study_folder(record, study_id) / "journal.jsonl"


def report_folder(record: Path, study_id: str) -> Path:
    return study_folder(record, study_id) / "report"


# --- trials ------------------------------------------------------------------------------------------


def trials_folder(record: Path) -> Path:
    return record / "trials"


def trial_folder(record: Path, trial_key: str) -> Path:
    """Raises ValueError for what is no key: study.json may come from elsewhere, and must not lead out of the record."""
    if not KEY.fullmatch(trial_key):
        raise ValueError(f"{trial_key!r} is not the key of a trial (12 hex digits): restore study.json of {record}.")
    return trials_folder(record) / trial_key


def failed_folder(folder: Path) -> Path:
    """Where a failed try of a trial leaves its traceback."""
    return folder.with_name(f"{folder.name}.failed")


def traceback_file(folder: Path) -> Path:
    """The traceback of the last failed try of the trial that has its results in `folder`."""
    return failed_folder(folder) / "traceback.txt"


def pruned_file(folder: Path) -> Path:
    """What a search left of a trial that it stopped early."""
    return folder.with_name(f"{folder.name}.pruned") / "pruned.json"


def state(folder: Path) -> TrialState:
    """complete (the folder got its final name), pruned, failed (its last try left a traceback) or missing."""
    if (folder / "result.json").is_file():
        return "complete"
    if pruned_file(folder).is_file():
        return "pruned"
    return "failed" if traceback_file(folder).is_file() else "missing"


def diverged(folder: Path) -> bool:
    """Whether the last try of a trial ended because its numbers were no longer finite: it would do so again."""
    path = traceback_file(folder)
    return path.is_file() and "FloatingPointError" in path.read_text(encoding="utf-8", errors="replace")


# --- what is shared, and the indexes -------------------------------------------------------------------


def cache_folder(record: Path) -> Path:
    """Prepared data, evaluators, trainings: what can be made again."""
    return record / "cache"


def trainings_folder(record: Path) -> Path:
    return cache_folder(record) / "trainings"


def training_folder(record: Path, train_key: str) -> Path:
    return trainings_folder(record) / train_key


def given_path(text: str) -> Path:
    """A path that a user typed, for argparse. Raises ArgumentTypeError for an empty one, which would be the current
    folder."""
    if not text.strip():
        raise ArgumentTypeError("it is empty: write the name of a folder or a file")
    return Path(text)


def require_open(record: Path, option: str = "--record") -> None:
    """ValueError, one sentence, for a record in a folder that is closed to whoever asks."""
    readable.require_open(record, option, folder=True)


def has_weights(record: Path, train_key: str) -> bool:
    """Whether a training is finished and its checkpoints were kept."""
    return trainings.finished(training_folder(record, train_key))


def logs_folder(record: Path) -> Path:
    return cache_folder(record) / "logs"


def mlflow_database(record: Path) -> Path:
    return record / "mlflow.db"


def mlflow_artifacts(record: Path) -> Path:
    return record / "artifacts"


def optuna_database(record: Path) -> Path:
    return record / "optuna.db"


def quarantine_folder(record: Path) -> Path:
    """Where damaged files are moved to, so that nothing reads them and nothing is lost."""
    return record / "damaged"


# --- locks -------------------------------------------------------------------------------------------


def record_lock(record: Path) -> Path:
    """Shared by launches, exclusive for repairs."""
    return record / "lock"


def study_lock(record: Path, study_id: str) -> Path:
    return study_folder(record, study_id) / "lock"


def index_lock(record: Path) -> Path:
    """For the creation of the databases."""
    return record / "index.lock"
