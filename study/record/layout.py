"""Where everything of a record lies. Every path of it is spelled here."""

from __future__ import annotations

import re
from pathlib import Path

KEY = re.compile("[0-9a-f]{12}")  # of a trial or a training
DEFAULT_RECORD = Path(__file__).resolve().parent.parent.parent / "mlruns"


def trial_folder(record: Path, trial_key: str) -> Path:
    """Raises ValueError for what is no key: study.json may come from elsewhere, and must not lead out of the record."""
    if not KEY.fullmatch(trial_key):
        raise ValueError(f"{trial_key!r} is no key of a trial (12 hex digits): restore study.json of {record}.")
    return record / "trials" / trial_key


def state(folder: Path) -> str:
    """complete (the folder got its final name), pruned, failed (its last try left a traceback) or missing."""
    if (folder / "result.json").is_file():
        return "complete"
    if pruned_file(folder).is_file():
        return "pruned"
    return "failed" if (failed_folder(folder) / "traceback.txt").is_file() else "missing"


def has_weights(record: Path, train_key: str) -> bool:
    """Whether a training is finished and its checkpoints were kept."""
    folder = record / "cache" / "trainings" / train_key
    return all((folder / name).is_file() for name in ("done.json", "ema.safetensors", "raw.safetensors"))


def failed_folder(folder: Path) -> Path:
    """Where a failed try of a trial leaves its traceback."""
    return folder.with_name(f"{folder.name}.failed")


def pruned_file(folder: Path) -> Path:
    """What a search left of a trial that it stopped early."""
    return folder.with_name(f"{folder.name}.pruned") / "pruned.json"
