"""The record read back as data, with neither torch nor MLflow: `load("schedules")` has one row per trial."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runners.config import nearest
from runners.process.files import read_json, read_lines
from study.record import journal, layout
from study.record.layout import DEFAULT_RECORD
from study.record.schema import Search, SearchTrial, Study, StudyTrial, parse

if TYPE_CHECKING:
    import pandas as pd

SAMPLED_ON = "device/sample"  # the model of the GPU or processor that a trial was sampled on
STUDIES = Path(__file__).resolve().parent.parent / "studies"


class DamagedStudy(ValueError):
    """A study.json is not what was written; `problem` says in what way."""

    def __init__(self, path: Path, problem: str) -> None:
        record = path.parents[2]
        super().__init__(f"{path} is damaged ({problem}): run `python -m study.doctor --record {record} --repair`.")
        self.problem = problem


def read_study(path: Path) -> Study:
    """The study of a study.json, with what its journal adds.

    Raises DamagedStudy for a file that cannot be read as one, or whose id is not the name of its own folder.
    """
    try:
        study = parse(read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedStudy(path, f"{type(error).__name__}: {error}".splitlines()[0]) from error
    if study.study_id != path.parent.name:
        raise DamagedStudy(path, f"its study id is {study.study_id!r}, which is not the name of its folder")
    return journal.applied(study, path.with_name("journal.jsonl"))


def find_study(study_id: str, record: Path) -> Study | None:
    """The study of an id; None before its first launch. Raises ValueError where it is damaged."""
    path = layout.study_file(record, study_id)
    return read_study(path) if path.is_file() else None


def studies(record: Path = DEFAULT_RECORD) -> dict[str, Study]:
    """The studies of a record, id -> study, the latest launched last. Raises ValueError when one is damaged."""
    found = [read_study(path) for path in layout.study_files(Path(record))]
    return {study.study_id: study for study in sorted(found, key=launch_order)}


def launch_order(study: Study) -> tuple[int, str]:
    """Sorts studies by their launches; the clock decides where none were counted."""
    return study.launch, study.launched


def next_launch(record: Path) -> int:
    """The number of a launch that begins now. A study that is damaged stops no other."""
    numbers = [0]
    for path in layout.study_files(record):
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            numbers.append(int(read_json(path).get("launch", 0)))
    return max(numbers) + 1


def to_try_again(search: Search, record: Path) -> list[SearchTrial]:
    """The suggestions of a search that its next launch runs once more: they failed, and did not diverge."""
    return [one for one in search.of("failed") if not layout.diverged(layout.trial_folder(record, one.trial_key))]


def load_study(study: str, record: Path = DEFAULT_RECORD) -> Study:
    """The study of an id ("schedules-laptop"), or the latest launch of a study ("schedules").

    Raises ValueError that names the studies of the record when it is not among them, or when it is damaged.
    """
    record = Path(record)
    if Path(study).name == study and (own := find_study(study, record)):
        return own
    known = studies(record)
    named = [found for found in known.values() if found.study == study]
    if named:
        return named[-1]
    if not known:
        raise ValueError(f"{record} records no study: run {command(study, record)} first.")
    if (STUDIES / f"{Path(study).name}.py").is_file():
        raise ValueError(f"{record} has {', '.join(known)} and not yet {study}: run {command(study, record)} first.")
    raise ValueError(f"{record} records no study {study!r}{nearest(study, known)}")


def command(study: str, record: Path) -> str:
    """What runs a study into this record, in backticks; `study` is its name, or its id: name-scale and what follows."""
    name, scale, *_ = [*study.split("-"), ""]
    given = ["python", "study/run.py", "--study", name or "NAME", *(["--scale", scale] if scale else [])]
    if record.resolve() != Path(DEFAULT_RECORD).resolve():
        given += ["--record", str(record)]
    return f"`{shlex.join(given)}`"


def latest(record: Path) -> str:
    """The id of the latest launched study. Raises ValueError when there is none, or when one is damaged."""
    if not (known := studies(record)):
        raise ValueError(f"{record} records no study: run {command('schedules', Path(record))} first.")
    return list(known)[-1]


def load(study: str, record: Path = DEFAULT_RECORD) -> pd.DataFrame:
    """One row per trial of the study's plan: arm, seed (the block), state, every config field (typed), every result.

    `state` is complete, pruned, failed or missing; results of trials that are not complete are NaN. `folder` is the
    trial's folder, `run_id` its MLflow run ("" before it is indexed); `training_seed` the seed it trained with, which
    an arm may shift.
    Raises ValueError as `load_study` does.
    """
    found = load_study(study, record)
    return _rows(found, found.trials, record)


def load_finalists(study: str, record: Path = DEFAULT_RECORD) -> pd.DataFrame:
    """As `load`, of the trials that choose the winner of a search: arm "finalist 7" is suggestion 7, trained again.

    Empty for a study that is no search, and for a search that has none yet.
    """
    found = load_study(study, record)
    return _rows(found, found.search.finalists if found.search else (), record)


def _rows(found: Study, trials: Iterable[StudyTrial], record: Path) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for trial in trials:
        folder = layout.trial_folder(Path(record), trial.trial_key)
        row: dict[str, Any] = {"arm": trial.arm, "seed": trial.seed, "state": layout.state(folder)}
        row |= {"trial_key": trial.trial_key, "train_key": trial.train_key, "run_id": trial.run_id}
        row["folder"] = str(folder)
        fields = found.fields(trial)
        row |= {name: value for name, value in fields.items() if name != "seed"} | {"training_seed": fields["seed"]}
        if row["state"] == "complete":
            row |= {name: value for name, value in _result(folder).items() if name not in row}
        rows.append(row)
    return pd.DataFrame(rows)


def _result(folder: Path) -> dict[str, Any]:
    """The result of a complete trial; those of older versions named their device elsewhere, and that of their training
    nowhere."""
    found: dict[str, Any] = read_json(folder / "result.json")
    environment = folder / "environment.json"
    if SAMPLED_ON not in found and environment.is_file():
        found[SAMPLED_ON] = read_json(environment).get("device", "")
    return found


def curves(study: str, record: Path = DEFAULT_RECORD) -> pd.DataFrame:
    """One row per report of a training: arm, seed, images, seconds, loss, lr, accuracy/validation, ..."""
    import pandas as pd

    rows = []
    for trial in load_study(study, record).trials:
        path = layout.trial_folder(Path(record), trial.trial_key) / "metrics.jsonl"
        if path.is_file():
            names = {"arm": trial.arm, "seed": trial.seed, "trial_key": trial.trial_key}
            rows += [names | line for line in read_lines(path)]
    return pd.DataFrame(rows)
