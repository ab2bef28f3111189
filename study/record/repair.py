"""Putting a record right: what is damaged goes to quarantine, indexes are made anew from the trial folders.

Nothing is deleted that cannot be made again. Every action says what it did and can be repeated; those that take long
yield how far they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import datetime
from pathlib import Path

from runners.experiment import Progress
from study.record import integrity, layout, mlflow_index, reader
from study.record.integrity import AnyTrial, Trouble
from study.record.journal import Journal
from study.record.schema import Study, StudyTrial, renamed

Steps = Generator[Progress, None, str]  # its value says what was done


def apply(record: Path, trouble: Trouble) -> Steps:
    """Put right what was found."""
    match trouble.kind, trouble.path, trouble.study:
        case "quarantine", Path() as path, _:
            return quarantine(record, path)
        case "database", _, _ if trouble.name == "mlflow.db":
            lines = yield from rebuild(record)
            return "; ".join(lines)
        case "database", _, _:
            paths = sorted(record.glob(f"{trouble.name}*"))
            lines = [f"{path.name} {quarantine(record, path)}" for path in paths]
            return "; ".join([*lines, "each study writes it again from its trials when it starts"])
        case "relocate", _, _:
            count = mlflow_index.relocate(record)
            return f"{count} path{'s' * (count != 1)} rewritten"
        case "restore", _, Study() as study:
            _index_of(record, study).restore()
            return "restored with its runs"
        case "tag", _, Study() as study:
            known = {key: trial.run_id for key, trial in study.all_trials.items() if isinstance(trial, StudyTrial)}
            return f"{_index_of(record, study).tag_again(known)} corrected"
        case "close", _, Study() as study:
            _index_of(record, study).repair()
            return "trials deleted (they run again), launches KILLED"
        case "delete", _, Study() as study:
            for run_id in trouble.run_ids:
                _index_of(record, study).client.delete_run(run_id)
            return f"{len(trouble.run_ids)} deleted"
        case "index", _, Study() as study:
            return (yield from index_trials(record, study, trouble.trials, "repair"))
        case "optuna", _, _:
            from study.record import optuna_store

            optuna_store.delete(record, trouble.name)
            return "deleted from optuna.db; the next start of the study writes it anew from the folders"
    raise AssertionError(trouble)


def quarantine(record: Path, path: Path) -> str:
    """Move a file or folder of the record under <record>/damaged/<time>/; says where to."""
    stamp, root = datetime.now().strftime("%Y%m%d-%H%M%S"), layout.quarantine_folder(record)
    places = (root / f"{stamp}{more}" / path.relative_to(record) for more in ("", *map("-{}".format, range(1, 1000))))
    place = next(place for place in places if not place.exists())
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    return f"moved to {place}"


def _index_of(record: Path, study: Study) -> mlflow_index.MlflowIndex:
    return mlflow_index.MlflowIndex(record, study.study_id, study.question)


def index_trials(record: Path, study: Study, trials: Iterable[AnyTrial], why: str) -> Steps:
    """Runs of MLflow for complete trials, under a launch of their own; study.json gets their ids."""
    index, trials = _index_of(record, study), list(trials)
    tags = {"study": study.study, "scale": study.scale}
    parent = index.start_launch(f"{why} {datetime.now():%Y-%m-%d %H:%M}", study, tags, {})
    ids = {}
    for done, trial in enumerate(trials):
        yield Progress(f"{study.study_id}: indexing", done, len(trials))
        folder = layout.trial_folder(record, trial.trial_key)
        own = {"arm": trial.arm, **tags}
        ids[trial.trial_key] = index.index_trial(parent, trial.name, study.config(trial), folder, own)
    page = layout.report_folder(record, study.study_id)
    index.finish_launch(parent, "FINISHED", page if page.is_dir() else None)
    Journal(record, study.study_id).fold(renamed(study, ids))
    return f"{len(ids)} trial{'s' * (len(ids) != 1)} indexed"


def rebuild(record: Path) -> Generator[Progress, None, list[str]]:
    """A new MLflow index of every study; the old one goes to quarantine."""
    lines = []
    for path in [*sorted(record.glob("mlflow.db*")), layout.mlflow_artifacts(record)]:
        if path.exists():
            lines.append(f"the old {path.name} was {quarantine(record, path)}")
    for path in layout.study_files(record):
        study_id = path.parent.name
        if problem := integrity.study_damage(path):
            lines.append(f"{study_id} is damaged ({problem}) and not indexed: --repair quarantines it")
            continue
        study = reader.read_study(path)
        index = _index_of(record, study)
        done = integrity.complete_trials(record, study)
        text = "no trial is complete"
        if done:
            text = yield from index_trials(record, study, done.values(), "rebuilt")
        failed = _index_failures(record, index, study)
        lines.append(f"{study_id}: {text}" + (f", {failed} failed ones noted" if failed else ""))
    return lines or ["no study is recorded"]


def _index_failures(record: Path, index: mlflow_index.MlflowIndex, study: Study) -> int:
    """FAILED runs of the trials whose last try left a traceback; how many."""
    count = 0
    for key, trial in study.all_trials.items():
        folder = layout.trial_folder(record, key)
        if layout.state(folder) == "failed":
            text = layout.traceback_file(folder).read_text(encoding="utf-8", errors="replace")
            tags = {"arm": trial.arm, "study": study.study, "scale": study.scale}
            run_id = index.start_trial(None, trial.name, study.config(trial), tags)
            index.fail_trial(run_id, text, "failed")
            count += 1
    return count
