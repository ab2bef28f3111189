"""Look after a record: are its files what was written, do MLflow and Optuna agree with its trial folders?

    python -m study.doctor --record DIR             check: says what is wrong; exit code 1 if something is
    python -m study.doctor --record DIR --repair    puts damaged things aside: the study's command makes them anew

Every action says what it did and can be repeated. None runs while a study of the record is running.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent.parent

from runners.process.files import damaged as files_damage  # noqa: E402
from runners.process.files import read_json, read_lines, write_json  # noqa: E402
from study.record import errors as storage  # noqa: E402
from study.record import layout, mlflow_index
from study.record import reader as record

if TYPE_CHECKING:
    from study.record.mlflow_index import MlflowIndex

BAD_INPUT = 2
ASIDE = "damaged"  # <record>/damaged/: what was put aside


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, in a sentence, and what puts it right: that says what it did."""

    text: str
    mend: Callable[[], str]


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m study.doctor", description=__doc__, formatter_class=formatter)
    parser.add_argument("--record", metavar="DIR", type=Path, default=ROOT / "mlruns", help="the record (mlruns)")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--check", action="store_true", help="verify files, digests and both databases; the default")
    add("--repair", action="store_true", help="check, and put right what is wrong; nothing is deleted but moved aside")
    add("--relocate", action="store_true", help="after a move or copy of the record: MLflow's paths lead to it again")
    add("--rebuild-mlflow", action="store_true", help="a new mlflow.db from the trial folders and study.json alone")
    add("--import", dest="source", metavar="OTHER", type=Path, help="add another record's trials, trainings, studies")
    add("--prune-checkpoints", action="store_true", help="delete the weights that no missing trial needs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    root: Path = arguments.record.resolve()
    try:
        if not any((root / name).is_dir() for name in ("studies", "trials", "cache")):
            if arguments.relocate:
                return say(["nothing is recorded yet"])
            raise ValueError(f"{root} is no record: write --record DIR with the folder of a study.")
        return act(arguments, root)
    except ValueError as error:
        print(f"doctor.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nStopped. What was done is whole; to go on, run the same command again.")
        return 130
    except Exception as error:
        reason = storage.sentence(error, root)
        if not reason:
            raise
        print(f"doctor.py: stopped, because {reason} and run the same command again.", file=sys.stderr)
        return 1


def act(arguments: argparse.Namespace, root: Path) -> int:
    """The action that was asked for."""
    if arguments.relocate and not mlflow_index.displaced(root):  # also while a study is running
        return say([f"MLflow's paths lead to {root}"])
    from runners.process.locks import Held, lock

    try:
        with lock(root / "lock"):
            if arguments.relocate:
                return say([f"{mlflow_index.relocate(root)} paths in mlflow.db now lead to {root}"])
            if arguments.prune_checkpoints:
                return say(prune(root))
            if arguments.rebuild_mlflow:
                return say(rebuild(root))
            if arguments.source:
                from study.record import importer as merge

                return merge.tell(arguments.source.resolve(), root)
            return repair(root) if arguments.repair else check(root)
    except Held as held:
        raise ValueError(f"The record {root} is in use {held}: wait until that has ended.") from None


def say(lines: Sequence[str]) -> int:
    print("\n".join(lines))
    return 0


# --- check and repair --------------------------------------------------------------------------------


def check(root: Path) -> int:
    """Print what is wrong; 1 if something is."""
    count = 0
    for finding in findings(root):
        count += 1
        print(f"wrong: {finding.text}")
    print(f"{count} things are wrong: --repair puts them right" if count else f"{root}: nothing is wrong")
    return 1 if count else 0


def repair(root: Path) -> int:
    """Put right what is wrong, and say so. What was put aside is made anew by the study's command."""
    count = 0
    for finding in findings(root):
        count += 1
        print(f"{finding.text}: {finding.mend()}")
    print(f"{count} things were put right" if count else f"{root}: nothing is wrong")
    return 0


def findings(root: Path) -> Iterator[Finding]:
    """All that is wrong. Files come first: both databases are compared with the folders that are whole."""
    damaged: set[str] = set()
    for key, problem in damaged_trials(root):
        damaged.add(key)
        yield Finding(f"trial {key}: {problem}", partial(aside, root, layout.trial_folder(root, key)))
    yield from damaged_trainings(root)
    for path, problem in damaged_studies(root):
        yield Finding(f"study {path.parent.name}: {problem}", partial(aside, root, path))
    unreadable = [name for name in ("mlflow.db", "optuna.db") if storage.damaged(root / name)]
    for name in unreadable:
        yield Finding(f"{name} is damaged", partial(_replace_database, root, name))
    if "mlflow.db" not in unreadable and mlflow_index.displaced(root):
        yield Finding("mlflow.db leads to the place where the record was before", partial(_relocated, root))
    broken = {path for path, _ in damaged_studies(root)}
    for path in sorted({*(root / "studies").glob("*/study.json")} - broken):
        study = read_json(path)
        done = {key: trial for key, trial in complete_trials(root, study).items() if key not in damaged}
        if "mlflow.db" not in unreadable:
            yield from differing_mlflow(root, study, done)
        if "optuna.db" not in unreadable:
            yield from differing_optuna(root, study, done)


def _replace_database(root: Path, name: str) -> str:
    """Both can be made anew from the folders: MLflow's at once, Optuna's by the next start of a study."""
    if name == "mlflow.db":
        return "; ".join(rebuild(root))
    return "; ".join(f"{path.name} {aside(root, path)}" for path in sorted(root.glob(f"{name}*")))


def _relocated(root: Path) -> str:
    return f"{mlflow_index.relocate(root)} paths rewritten"


def aside(root: Path, path: Path) -> str:
    """Move a file or folder of the record under <record>/damaged/<time>/; says where to."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    places = (
        root / ASIDE / f"{stamp}{more}" / path.relative_to(root) for more in ("", *map("-{}".format, range(1, 1000)))
    )
    place = next(place for place in places if not place.exists())
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    return f"moved to {place}"


def watched(what: str, paths: Sequence[Path]) -> Iterator[Path]:
    """The paths one by one, with a line of progress where it takes long."""
    from study.cli.progress import Status

    status = Status()
    for done, path in enumerate(paths):
        status.show(f"{what}: {done} of {len(paths)}")
        yield path
    if status.terminal:
        print("\r\033[K", end="")


def damaged_trials(root: Path) -> Iterator[tuple[str, str]]:
    """(trial_key, what is wrong) of the trial folders that are not what was written."""
    folders = [path for path in sorted((root / "trials").glob("*")) if layout.KEY.fullmatch(path.name)]
    for folder in watched("trials", folders):
        if problem := trial_damage(folder):
            yield folder.name, problem


def trial_damage(folder: Path) -> str:
    """What is wrong with a complete trial's folder; "" when it is what was written."""
    from runners.ddpm.config import TrialConfig

    if broken := files_damage(folder):
        return ", ".join(f"{name} is {state}" for name, state in broken.items())
    try:
        key = TrialConfig.from_dict(read_json(folder / "config.json")).trial_key
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"config.json: {_short(error)}"
    if key != folder.name:
        return f"config.json belongs to the trial {key}"
    if torn(folder / "metrics.jsonl"):
        return "metrics.jsonl has a line that is no JSON"
    return ""


def torn(path: Path) -> bool:
    """Whether a file of JSON lines has one that cannot be read."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return len(read_lines(path)) != len(content.splitlines()) or (bool(content) and not content.endswith(b"\n"))


def damaged_trainings(root: Path) -> Iterator[Finding]:
    finished = [path.parent for path in sorted((root / "cache" / "trainings").glob("*/done.json"))]
    weighty = [folder for folder in finished if layout.has_weights(root, folder.name)]
    if not weighty:
        return
    from runners.ddpm.trainings import CURVE, damage  # imports torch

    for folder in watched("trainings", weighty):
        problem = damage(folder) or (f"{CURVE} has a line that is no JSON" if torn(folder / CURVE) else "")
        if problem:
            yield Finding(f"training {folder.name}: {problem}", partial(aside, root, folder))


def damaged_studies(root: Path) -> list[tuple[Path, str]]:
    """(study.json, what is wrong with it)."""
    found = [(path, study_damage(path)) for path in sorted((root / "studies").glob("*/study.json"))]
    return [(path, problem) for path, problem in found if problem]


def sound_studies(root: Path) -> dict[str, dict[str, Any]]:
    """The studies of the record; ValueError when one is damaged."""
    for path, problem in damaged_studies(root):
        raise ValueError(f"The study {path.parent.name} is damaged ({problem}): run --repair first.")
    return record.studies(root)


def study_damage(path: Path) -> str:
    """What is wrong with a study.json; "" when nothing is."""
    from runners.ddpm.config import TrialConfig

    try:
        study = read_json(path)
        if study["study_id"] != path.parent.name:
            return f"study.json belongs to the study {study['study_id']!r}"
        for trial in study["trials"] + (study.get("search") or {}).get("trials", []):
            config = TrialConfig.from_dict(trial["config"])
            if (config.trial_key, config.train_key) != (trial["trial_key"], trial["train_key"]):
                return f"the keys of trial {trial['trial_key']!r} are not those of its config"
        for name in ("launched", "metric", "question", "arms", "seeds", "factors"):
            study[name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"study.json: {_short(error)}"
    return ""


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# --- the databases against the folders -----------------------------------------------------------------


def trials_of(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """trial_key -> trial, of the study's grid and of its search."""
    searched = (study.get("search") or {}).get("trials", [])
    named = [trial | {"arm": f"trial {trial['number']}", "seed": trial["config"]["seed"]} for trial in searched]
    return {trial["trial_key"]: trial for trial in [*named, *study["trials"]]}


def name_of(trial: Mapping[str, Any]) -> str:
    return f"{trial['arm']} seed={trial['seed']}"


def complete_trials(root: Path, study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        key: trial
        for key, trial in trials_of(study).items()
        if layout.state(layout.trial_folder(root, key)) == "complete"
    }


def differing_mlflow(root: Path, study: Mapping[str, Any], done: Mapping[str, Any]) -> Iterator[Finding]:
    """Runs that are stuck, runs without their folder or twice, complete trials (`done`) without a run."""
    study_id = str(study["study_id"])
    if not (root / "mlflow.db").is_file():
        if done:
            yield Finding("mlflow.db is missing", partial(_replace_database, root, "mlflow.db"))
        return
    index = mlflow_index.MlflowIndex(root, study_id, study["question"])
    stuck, runs = index.stuck(), index.finished()
    if stuck:
        yield Finding(f"{study_id}: {len(stuck)} runs of MLflow are RUNNING, but nothing runs", partial(_close, index))
    for key, ids in runs.items():
        extra = ids[1:] if key in done else ids
        if extra:
            why = "more than one finished run" if key in done else "a finished run, but no complete folder"
            text = f"{study_id}: trial {key} has {why} in MLflow"
            yield Finding(text, partial(_delete, index, extra))
    missing = {key: trial for key, trial in done.items() if key not in runs}
    if missing:
        text = f"{study_id}: {len(missing)} complete trials are not in MLflow"
        yield Finding(text, partial(_index, root, index, study, missing, "repair"))


def _close(index: MlflowIndex) -> str:
    index.repair()
    return "trials deleted (they run again), launches KILLED"


def _delete(index: MlflowIndex, ids: Sequence[str]) -> str:
    for run_id in ids:
        index.client.delete_run(run_id)
    return f"{len(ids)} deleted"


def _index(
    root: Path, index: MlflowIndex, study: Mapping[str, Any], trials: Mapping[str, Mapping[str, Any]], why: str
) -> str:
    """Runs of MLflow for complete trials, under a launch of their own; study.json gets their ids."""
    tags = {"study": str(study["study"]), "scale": str(study["scale"])}
    name = f"{why} {datetime.now():%Y-%m-%d %H:%M}"
    parent = index.start_launch(name, str(study["question"]), tags, {})
    ids = {}
    for folder in watched(f"{study['study_id']}: indexing", [layout.trial_folder(root, key) for key in trials]):
        trial = trials[folder.name]
        ids[folder.name] = index.index_trial(parent, name_of(trial), folder, {"arm": str(trial["arm"]), **tags})
    page = root / "studies" / str(study["study_id"]) / "report"
    index.finish_launch(parent, "FINISHED", page if page.is_dir() else None)
    rows = [trial | {"run_id": ids.get(trial["trial_key"], trial["run_id"])} for trial in study["trials"]]
    write_json(root / "studies" / str(study["study_id"]) / "study.json", {**study, "trials": rows})
    return f"{len(ids)} trials indexed"


def differing_optuna(root: Path, study: Mapping[str, Any], done: Mapping[str, Any]) -> Iterator[Finding]:
    """Trials of Optuna that are RUNNING in a grid, or COMPLETE without a folder, or of another value."""
    study_id = str(study["study_id"])
    if not (root / "optuna.db").is_file():
        return  # the next start writes it from the folders
    from study.record import optuna_store as search

    values = {key: float(_result(root, key)[study["metric"]]) for key in done}
    searching = "search" in study
    for name in [study_id, f"{study_id}-fresh"] if searching else [study_id]:
        grid = not searching or name != study_id
        rows = search.rows(root, name)
        wrong = [key for state, key, value in rows if state == "complete" and values.get(key) != value]
        stuck = [key for state, key, _ in rows if state == "running" and grid]
        counted = [key for state, key, _ in rows if state == "complete" and key in values]
        twice = {key for key in counted if counted.count(key) > 1} if grid else set()
        for keys, text in (
            (stuck, "RUNNING in Optuna, but nothing runs"),
            (wrong, "COMPLETE in Optuna with a value that no folder has"),
            (twice, "COMPLETE in Optuna more than once"),
        ):
            if keys:
                yield Finding(f"{name}: {len(keys)} trials are {text}", partial(_forget, root, name))
                break


def _forget(root: Path, name: str) -> str:
    from study.record import optuna_store as search

    search.forget(root, name)
    return "deleted from optuna.db; the next start of the study writes it anew from the folders"


def _result(root: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(layout.trial_folder(root, key) / "result.json")
    return found


# --- the other actions ---------------------------------------------------------------------------------


def rebuild(root: Path) -> list[str]:
    """A new MLflow index of every study; the old one is put aside."""
    lines = []
    for path in [*sorted(root.glob("mlflow.db*")), root / "artifacts"]:
        if path.exists():
            lines.append(f"the old {path.name}: {aside(root, path)}")
    for study_id, study in sound_studies(root).items():
        index = mlflow_index.MlflowIndex(root, study_id, study["question"])
        done = complete_trials(root, study)
        text = _index(root, index, study, done, "rebuilt") if done else "no trial is complete"
        failed = _index_failures(root, index, study)
        lines.append(f"{study_id}: {text}" + (f", {failed} failed ones noted" if failed else ""))
    return lines or ["no study is recorded"]


def _index_failures(root: Path, index: MlflowIndex, study: Mapping[str, Any]) -> int:
    """FAILED runs of the trials whose last try left a traceback; how many."""
    from runners.ddpm.config import TrialConfig

    count = 0
    for key, trial in trials_of(study).items():
        folder = layout.trial_folder(root, key)
        if layout.state(folder) == "failed":
            text = (layout.failed_folder(folder) / "traceback.txt").read_text(encoding="utf-8", errors="replace")
            tags = {"arm": str(trial["arm"]), "study": str(study["study"]), "scale": str(study["scale"])}
            run_id = index.start_trial(None, name_of(trial), TrialConfig.from_dict(trial["config"]), tags)
            index.fail_trial(run_id, text, "failed")
            count += 1
    return count


def prune(root: Path) -> list[str]:
    """Delete the weights and checkpoints of trainings that no missing trial of any study wants."""
    wanted = {
        str(trial["train_key"])
        for study in sound_studies(root).values()
        for key, trial in trials_of(study).items()
        if layout.state(layout.trial_folder(root, key)) in ("missing", "failed")
    }
    count, size = 0, 0
    for folder in sorted((root / "cache" / "trainings").glob("*")):
        files = [path for pattern in ("*.safetensors", "state*.pt") for path in folder.glob(pattern)]
        if folder.name not in wanted and files:
            count += 1
            size += sum(path.stat().st_size for path in files)
            for path in files:
                path.unlink()
    return [
        f"deleted the weights of {count} trainings, {size / 2**20:,.1f} MiB; {len(wanted)} trainings are wanted yet"
    ]
