"""What is wrong with a record: files that are not what was written, and indexes that disagree with the trial folders.

`findings` walks through all of it and says on the way how far it is. Nothing is changed here: a finding knows what
would put it right (`study.record.repair`).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from runners import packages
from runners.experiment import Progress, find
from runners.process.files import damaged as files_damage
from runners.process.files import read_json, read_lines
from study.record import errors, layout, mlflow_index, mlflow_tables, reader
from study.record.schema import DEFAULT_EXPERIMENT, SearchTrial, Study, StudyTrial

AnyTrial = StudyTrial | SearchTrial
OWN = "@"  # in the identity of a user's own experiment
Trials = Mapping[str, AnyTrial]  # trial_key -> trial
P = TypeVar("P")


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong, in a sentence; `kind` and what it concerns say how it is put right.

    kind: quarantine (a file or folder `path`), database (`name`), relocate, restore (the experiment), tag, close,
    delete (runs), index (trials), optuna (the study `name`).
    """

    text: str
    kind: str
    path: Path | None = None
    name: str = ""
    study: Study | None = None
    run_ids: tuple[str, ...] = ()
    trials: tuple[AnyTrial, ...] = ()


Found = Iterator[Progress | Trouble]


def walked(what: str, paths: Sequence[P], look: Callable[[P], Iterable[Trouble]]) -> Found:
    """What `look` finds in each of the paths, with a word on how far it is."""
    for done, path in enumerate(paths):
        yield Progress(what, done, len(paths))
        yield from look(path)


def findings(record: Path) -> Found:
    """All that is wrong. Files come first: both databases are compared with the folders that are whole."""
    damaged: set[str] = set()
    for found in damaged_trials(record):
        if isinstance(found, Trouble) and found.path is not None:
            damaged.add(found.path.name)
        yield found
    yield from damaged_trainings(record)
    broken = {}
    for path in layout.study_files(record):
        if problem := study_damage(path):
            broken[path] = problem
            yield Trouble(f"study {path.parent.name}: {problem}", "quarantine", path)
    useless = list(useless_databases(record))
    yield from useless
    unreadable = [trouble.name for trouble in useless]
    if "mlflow.db" not in unreadable and mlflow_index.displaced(record):
        yield Trouble("mlflow.db has the paths of the record's old location", "relocate")
    for path in layout.study_files(record):
        if path in broken:
            continue
        study = reader.read_study(path)
        done = {key: trial for key, trial in complete_trials(record, study).items() if key not in damaged}
        if "mlflow.db" not in unreadable:
            yield from differing_mlflow(record, study, done)
        if "optuna.db" not in unreadable:
            yield from differing_optuna(record, study, done)


# --- files -------------------------------------------------------------------------------------------


def damaged_trials(record: Path) -> Found:
    folders = [path for path in sorted(layout.trials_folder(record).glob("*")) if layout.KEY.fullmatch(path.name)]

    def look(folder: Path) -> Iterator[Trouble]:
        if problem := trial_damage(folder):
            yield Trouble(f"trial {folder.name}: {problem}", "quarantine", folder)

    yield from walked("trials", folders, look)


def trial_damage(folder: Path) -> str:
    """What is wrong with a complete trial's folder; "" when it is what was written."""
    if broken := files_damage(folder):
        return ", ".join(f"{name} is {state}" for name, state in broken.items())
    try:
        key = _key_of(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"config.json: {_short(error)}"
    if key != folder.name:
        return f"config.json belongs to the trial {key}"
    if torn(folder / "metrics.jsonl"):
        return "metrics.jsonl has a line that is not JSON"
    return ""


def _key_of(folder: Path) -> str:
    """The key of a trial's setting. A user's own experiment is not there to be asked: what the trial wrote of it is.

    Raises ValueError for a setting that belongs to no experiment.
    """
    fields, environment = read_json(folder / "config.json"), folder / "environment.json"
    said = read_json(environment) if environment.is_file() else {}
    if OWN in str(said.get("experiment", "")):
        return str(said.get("trial_key", ""))
    if name := str(said.get("experiment", "")):
        return find(name).Config.from_dict(fields).trial_key
    names = [DEFAULT_EXPERIMENT, *(name for name in packages.names() if name != DEFAULT_EXPERIMENT)]
    for name in names:
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            if (key := find(name).Config.from_dict(fields).trial_key) == folder.name:
                return key
    return find(DEFAULT_EXPERIMENT).Config.from_dict(fields).trial_key


def torn(path: Path) -> bool:
    """Whether a file of JSON lines has one that cannot be read."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return len(read_lines(path)) != len(content.splitlines()) or (bool(content) and not content.endswith(b"\n"))


def damaged_trainings(record: Path) -> Found:
    finished = [path.parent for path in sorted(layout.trainings_folder(record).glob("*/done.json"))]
    weighty = [folder for folder in finished if layout.has_weights(record, folder.name)]
    if not weighty:
        return
    known = owners(record)

    def look(folder: Path) -> Iterator[Trouble]:
        problem = training_damage(folder, known)
        if not problem and torn(folder / "curve.jsonl"):
            problem = "curve.jsonl has a line that is not JSON"
        if problem:
            yield Trouble(f"training {folder.name}: {problem}", "quarantine", folder)

    yield from walked("trainings", weighty, look)


def owners(record: Path) -> dict[str, Study]:
    """train_key -> a study that has it, of the studies that can be read."""
    found: dict[str, Study] = {}
    for path in layout.study_files(record):
        with contextlib.suppress(reader.DamagedStudy):
            study = reader.read_study(path)
            found |= {trial.train_key: study for trial in study.all_trials.values()}
    return found


def training_damage(folder: Path, known: Mapping[str, Study]) -> str:
    """What is wrong with a finished training, as its experiment says it; `known`: `owners`. "" for a user's own."""
    study = known.get(folder.name)
    if study is not None and study.config_fields:
        return ""
    return find(study.experiment if study else DEFAULT_EXPERIMENT).training_damage(folder)


def sound_studies(record: Path) -> dict[str, Study]:
    """The studies of the record; ValueError when one is damaged."""
    for path in layout.study_files(record):
        if problem := study_damage(path):
            raise ValueError(f"The study {path.parent.name} is damaged ({problem}): run --repair first.")
    return reader.studies(record)


def study_damage(path: Path) -> str:
    """What is wrong with a study.json; "" when nothing is."""
    try:
        study = reader.read_study(path)
        for key, trial in study.all_trials.items():
            config = study.config(trial)
            if (config.trial_key, config.train_key) != (key, trial.train_key):
                return f"the keys of trial {key!r} are not those of its config"
    except reader.DamagedStudy as error:
        return f"study.json: {error.problem}"
    except (ValueError, TypeError) as error:
        return f"study.json: {_short(error)}"
    return ""


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# --- the databases --------------------------------------------------------------------------------------


def useless_databases(record: Path) -> Iterator[Trouble]:
    """Databases that are damaged, or of another version of their library: they are made anew from the trials."""
    for name, module in (("mlflow.db", "mlflow_index"), ("optuna.db", "optuna_store")):
        if errors.damaged(record / name):
            yield Trouble(f"{name} is damaged", "database", name=name)
        elif (record / name).is_file():
            text = importlib.import_module(f"study.record.{module}").other_version(record)
            if text:
                yield Trouble(text, "database", name=name)


# --- the databases against the folders -----------------------------------------------------------------


def complete_trials(record: Path, study: Study) -> dict[str, AnyTrial]:
    """trial_key -> trial, of the complete trials of the study's plan and of its search."""
    return {
        key: trial
        for key, trial in study.all_trials.items()
        if layout.state(layout.trial_folder(record, key)) == "complete"
    }


def differing_mlflow(record: Path, study: Study, done: Trials) -> Iterator[Trouble]:
    """Runs that are stuck, runs without their folder or twice, complete trials (`done`) without a run."""
    if not layout.mlflow_database(record).is_file():
        if done:
            yield Trouble("mlflow.db is missing", "database", name="mlflow.db")
        return
    index = mlflow_index.MlflowIndex(record, study.study_id, study.question)
    if index.deleted():
        yield Trouble(f"{study.study_id}: its experiment was deleted in MLflow", "restore", study=study)
        if index.deleted():  # it is only looked at
            return
    known_runs = {key: trial.run_id for key, trial in study.all_trials.items() if isinstance(trial, StudyTrial)}
    if changed := mlflow_tables.changed_keys(record, known_runs):
        runs_of = "1 run" if len(changed) == 1 else f"{len(changed)} runs"
        text = f"{study.study_id}: in MLflow the tag trial_key of {runs_of} was edited"
        yield Trouble(text, "tag", study=study)
        if mlflow_tables.changed_keys(record, known_runs):
            return
    stuck, runs = index.stuck(), index.finished()
    if stuck:
        text = f"{study.study_id}: {len(stuck)} MLflow runs are marked RUNNING, but no study is running"
        yield Trouble(text, "close", study=study)
    for key, ids in runs.items():
        known = key in done or is_whole(record, key)
        extra = ids[1:] if known else ids
        if extra:
            why = "more than one finished run in MLflow" if known else "a run in MLflow, but no complete folder"
            text = f"{study.study_id}: trial {key} has {why}"
            yield Trouble(text, "delete", study=study, run_ids=tuple(extra))
    missing = tuple(trial for key, trial in done.items() if key not in runs)
    if missing:
        number = "1 complete trial is" if len(missing) == 1 else f"{len(missing)} complete trials are"
        text = f"{study.study_id}: {number} not in MLflow"
        yield Trouble(text, "index", study=study, trials=missing)


def differing_optuna(record: Path, study: Study, done: Trials) -> Iterator[Trouble]:
    """Trials of Optuna that are RUNNING in a grid, or COMPLETE without a folder, or of another value."""
    if not layout.optuna_database(record).is_file():
        return  # the next start writes it from the folders
    from study.record import optuna_store

    values = {key: score(record, key, study.metric) for key in done}
    stages = ("", "-finalists", "-fresh") if study.search else ("",)
    for name in (study.study_id + stage for stage in stages):
        grid = study.search is None or name != study.study_id
        rows = optuna_store.rows(record, name)
        for row in rows:  # of seeds beyond those of the latest launch
            if row.key not in values and is_whole(record, row.key):
                values[row.key] = score(record, row.key, study.metric)
        wrong = [row for row in rows if row.state == "complete" and values.get(row.key) != row.value]
        stuck = [row for row in rows if row.state == "running" and grid]
        seen: dict[str, int] = {}
        for row in rows:
            if grid and row.state == "complete" and row.key in values:
                seen[row.key] = seen.get(row.key, 0) + 1
        twice = [key for key, count in seen.items() if count > 1]
        for found, text in (
            (stuck, "RUNNING in Optuna, but nothing runs"),
            (wrong, "COMPLETE in Optuna with a value that no folder has"),
            (twice, "COMPLETE in Optuna more than once"),
        ):
            if found:
                trials = "1 trial is" if len(found) == 1 else f"{len(found)} trials are"
                yield Trouble(f"{name}: {trials} {text}", "optuna", name=name)
                break


def is_whole(record: Path, key: str) -> bool:
    """Whether a trial is complete and undamaged, be it in the study's latest plan or not."""
    try:
        folder = layout.trial_folder(record, key)
    except ValueError:  # whatever another program wrote as a key
        return False
    return layout.state(folder) == "complete" and not trial_damage(folder)


def score(record: Path, key: str, metric: str) -> float:
    """The metric of a complete trial."""
    return float(read_json(layout.trial_folder(record, key) / "result.json")[metric])
