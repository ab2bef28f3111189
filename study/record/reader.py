"""The record read back as data, with neither torch nor MLflow: `load("schedules")` is one row per trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from runners.config import nearest
from runners.ddpm.config import TrialConfig
from runners.process.files import read_json, read_lines
from study.record.layout import DEFAULT_RECORD, state, trial_folder

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")
T = TypeVar("T")


def studies(record: Path = DEFAULT_RECORD) -> dict[str, dict[str, Any]]:
    """The studies of a record, id -> study.json, the latest launched last."""
    found = [read_json(path) for path in (Path(record) / "studies").glob("*/study.json")]
    return {study["study_id"]: study for study in sorted(found, key=lambda study: str(study["launched"]))}


@contextmanager
def read_once() -> Iterator[None]:
    """While it is open, `load_study`, `load` and `curves` read each study once: a report asks for it again and again.

    What a study gained since is not seen, so it is for one report, not for a process.
    """
    global _read
    outer, _read = _read, {} if _read is None else _read
    try:
        yield
    finally:
        _read = outer


_read: dict[tuple[Any, ...], Any] | None = None  # (function, its arguments) -> its value


def _remembered(read: Callable[P, T]) -> Callable[P, T]:
    """`read`, which inside `read_once` is called once for the same arguments; a frame is given out as a copy."""

    @wraps(read)
    def remembering(*given: P.args, **named: P.kwargs) -> T:
        if _read is None:
            return read(*given, **named)
        key = (read.__name__, given, *sorted(named.items()))
        if key not in _read:
            _read[key] = read(*given, **named)
        value: T = copy(_read[key])
        return value

    return remembering


@_remembered
def load_study(study: str, record: Path = DEFAULT_RECORD) -> dict[str, Any]:
    """study.json of a study id ("schedules-laptop"), or of the latest launch of a study ("schedules").

    Raises ValueError that names the studies of the record when it is not among them.
    """
    own = Path(record) / "studies" / study / "study.json"
    if Path(study).name == study and own.is_file() and (value := read_json(own)).get("study_id") == study:
        return dict(value)
    known = studies(record)
    if study in known:
        return known[study]
    named = [value for value in known.values() if value["study"] == study]
    if named:
        return named[-1]
    if not known:
        raise ValueError(f"{record} records no study: run `python study/run.py --study {study}` first.")
    if (Path(__file__).parent.parent / "studies" / f"{Path(study).name}.py").is_file():
        raise ValueError(
            f"{record} has {', '.join(known)} and not yet {study}: run `python study/run.py --study {study}` first."
        )
    raise ValueError(f"{record} records no study {study!r}{nearest(study, known)}")


@_remembered
def load(study: str, record: Path = DEFAULT_RECORD) -> pd.DataFrame:
    """One row a trial of the study's plan: arm, seed (the block), state, every config field (typed), every result.

    `state` is complete, pruned, failed or missing; results of trials that are not complete are NaN. `folder` is the
    trial's folder, `run_id` its MLflow run ("" before it is indexed); `training_seed` the seed it trained with, which
    an arm may shift.
    Raises ValueError as `load_study` does.
    """
    import pandas as pd

    rows = []
    for trial in load_study(study, record)["trials"]:
        folder = trial_folder(Path(record), trial["trial_key"])
        row: dict[str, Any] = {"arm": trial["arm"], "seed": trial["seed"], "state": state(folder)}
        row |= {name: trial[name] for name in ("trial_key", "train_key")}
        row |= {"run_id": trial.get("run_id") or "", "folder": str(folder)}
        config = TrialConfig.defaults() | trial["config"]
        row |= {name: value for name, value in config.items() if name != "seed"} | {"training_seed": config["seed"]}
        if row["state"] == "complete":
            row |= {name: value for name, value in read_json(folder / "result.json").items() if name not in row}
        rows.append(row)
    return pd.DataFrame(rows)


@_remembered
def curves(study: str, record: Path = DEFAULT_RECORD) -> pd.DataFrame:
    """One row a report of a training: arm, seed, images, seconds, loss, lr, accuracy/validation, ..."""
    import pandas as pd

    rows = []
    for trial in load_study(study, record)["trials"]:
        path = trial_folder(Path(record), trial["trial_key"]) / "metrics.jsonl"
        if path.is_file():
            names = {"arm": trial["arm"], "seed": trial["seed"], "trial_key": trial["trial_key"]}
            rows += [names | line for line in read_lines(path)]
    return pd.DataFrame(rows)


def searched(record: Path, study_id: str) -> int:
    """Trials that a search has finished: complete, pruned or failed."""
    path = record / "studies" / study_id / "study.json"
    trials = (read_json(path).get("search") or {}).get("trials", []) if path.is_file() else []
    return sum(trial["state"] != "running" for trial in trials)


def winner(record: Path, study_id: str) -> dict[str, Any] | None:
    """The fields of a finished search's winner; None while there is none."""
    path = record / "studies" / study_id / "study.json"
    search = (read_json(path).get("search") or {}) if path.is_file() else {}
    chosen = [trial for trial in search.get("trials", []) if trial["number"] == search.get("winner")]
    return dict(chosen[0]["params"]) if chosen else None
