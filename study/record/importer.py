"""Take over another record: trials, trainings and studies that were made on another machine.

What comes from elsewhere is not trusted: names are keys or plain words, files are what their digests say, links are
refused. Nothing that is here is overwritten; what differs is reported.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.experiment import Progress
from runners.process.files import read_json
from study.record import integrity, layout, reader
from study.record.journal import Journal
from study.record.schema import Search, Study, renamed

# Of one study these are equal.
SETTLED = ("study", "scale", "experiment", "identity", "metric", "baseline", "baseline_arm", "question")
# Of one trial on two machines these differ: what it took, and which passes it had to draw itself.
TIMES = ("seconds/", "images_per_second", "peak_memory_mb", "sampled/")


class Conflict(Exception):
    """What is here and what comes have one name and differ."""


@dataclass
class Imported:
    """What became of the trials, the trainings or the studies of the other record."""

    what: str
    new: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)  # sentences


def take(source: Path, record: Path) -> Iterator[Progress | Imported]:
    """Import `source` into `record`; yields how far it is, and what became of each kind of thing.

    Raises ValueError for what is no record. MLflow is not told: `integrity.differing_mlflow` finds what it lacks.
    """
    if source == record:
        raise ValueError(f"{source} is the record itself: give the folder of another one to --import.")
    if not layout.trials_folder(source).is_dir():
        raise ValueError(f"{source} is not a record (it has no trials/): give the folder of another one to --import.")
    studies = [path.parent for path in layout.study_files(source)]
    yield from _take("trials", take_trial, sorted(layout.trials_folder(source).glob("*")), record)
    with_owners = functools.partial(take_training, known=integrity.owners(source))
    yield from _take("trainings", with_owners, sorted(layout.trainings_folder(source).glob("*")), record)
    yield from _take("studies", take_study, studies, record)


def _take(
    what: str, one: Callable[[Path, Path], bool | None], paths: list[Path], record: Path
) -> Iterator[Progress | Imported]:
    found = Imported(what)
    for done, path in enumerate(paths):
        yield Progress(what, done, len(paths))
        try:
            new = one(path, record)
        except Conflict as conflict:
            found.refused.append(f"not taken: {what} {path.name!r}: {conflict}")
        else:
            found.new += new is True
            found.same += new is False
    yield found


def take_trial(folder: Path, record: Path) -> bool | None:
    """Copy a complete trial; False when it is here, None for what a failed or killed try left. Raises Conflict."""
    if re.fullmatch(r"[0-9a-f]{12}\.(failed|pruned|partial)", folder.name):
        return None
    if not layout.KEY.fullmatch(folder.name):
        raise Conflict("its name is not the key of a trial")
    _refuse_links(folder)
    if problem := integrity.trial_damage(folder):
        raise Conflict(problem)
    place = layout.trial_folder(record, folder.name)
    if not place.exists():
        return _copy(folder, place)
    if scores(folder) != scores(place):
        raise Conflict("it was run on both machines with different results; the one that is here stays")
    return False


def take_training(folder: Path, record: Path, known: Mapping[str, Study]) -> bool | None:
    """Copy a finished training with its weights; False when it is here, None for one without. `known`: the studies
    that it is of (`integrity.owners`). Raises Conflict."""
    if not (folder / "done.json").is_file() or not layout.has_weights(folder.parents[2], folder.name):
        return None
    if not layout.KEY.fullmatch(folder.name):
        raise Conflict("its name is not the key of a training")
    _refuse_links(folder)
    if problem := integrity.training_damage(folder, known):
        raise Conflict(problem)
    place = layout.training_folder(record, folder.name)
    if not place.exists():
        return _copy(folder, place)
    if not (place / "done.json").is_file():
        raise Conflict("it is begun here: finish it, or remove its folder")
    if read_json(folder / "done.json")["sha256"] != read_json(place / "done.json")["sha256"]:
        raise Conflict("it was trained on both machines to different weights; those that are here stay")
    return False


def take_study(folder: Path, record: Path) -> bool:
    """Add a study, or its new arms and seeds to the study that is here; False when nothing is new. Raises Conflict."""
    if not layout.STUDY_ID.fullmatch(folder.name):
        raise Conflict("its name has characters that are not allowed")
    _refuse_links(folder)
    if problem := integrity.study_damage(folder / "study.json"):
        raise Conflict(problem)
    theirs = reader.read_study(folder / "study.json")
    theirs = renamed(theirs, dict.fromkeys(theirs.all_trials, "")).model_copy(update={"launch": 0})
    ours = reader.find_study(folder.name, record)
    merged = theirs if ours is None else united(ours, theirs)
    if merged != ours:
        Journal(record, folder.name).fold(merged)
    return merged != ours


def united(ours: Study, theirs: Study) -> Study:
    """A study with the arms, seeds, factor values and trials of both. Raises Conflict."""
    for name in SETTLED:
        here, there = _settled(ours, name), _settled(theirs, name)
        if here != there:
            raise Conflict(f"its {name} is {there!r}, here it is {here!r}")
    search = _search_of_both(ours.search, theirs.search)
    known = {trial.trial_key for trial in ours.trials}
    cells = {(trial.arm, trial.seed): trial.trial_key for trial in ours.trials}
    for trial in theirs.trials:  # an older version may have sampled, or trained, otherwise
        if cells.get((trial.arm, trial.seed), trial.trial_key) != trial.trial_key:
            raise Conflict(f"its trial {trial.name} has another setting than the one that is here")
    names = dict.fromkeys([*ours.factors, *theirs.factors])
    changes: dict[str, Any] = {
        "factors": {name: _both(ours.factors.get(name, ()), theirs.factors.get(name, ())) for name in names},
        "arms": _both(ours.arms, theirs.arms),
        "seeds": tuple(sorted({*ours.seeds, *theirs.seeds})),
        "contrasts": {**theirs.contrasts, **ours.contrasts},
        "looks": tuple(sorted({*ours.looks, *theirs.looks})),
        "against": {**(theirs.against or {}), **(ours.against or {})},
        "trials": (*ours.trials, *(trial for trial in theirs.trials if trial.trial_key not in known)),
    }
    if len(theirs.seeds) > len(ours.seeds):  # they say how many seeds there are
        changes |= {"notes": theirs.notes, "claim": theirs.claim, "planned_looks": theirs.planned_looks}
    return ours.model_copy(update=changes | {"search": search})


def _search_of_both(ours: Search | None, theirs: Search | None) -> Search | None:
    """The search of both, or the one that came further with the same suggestions. Raises Conflict."""
    if ours is None or theirs is None:
        return ours or theirs
    if ours.trials != theirs.trials:
        raise Conflict("both records searched, and asked for different trials")
    if ours.winner is not None and theirs.winner is not None:
        if (ours.winner, ours.selection_seeds) != (theirs.winner, theirs.selection_seeds):
            raise Conflict("both records searched, and chose their winner in different ways")
        return ours
    if ours.selection_seeds != theirs.selection_seeds:
        raise Conflict("both records searched, and choose their winner on different seeds")
    return theirs if (theirs.winner is not None, len(theirs.finalists)) > (False, len(ours.finalists)) else ours


def _settled(study: Study, name: str) -> Any:
    """A field of SETTLED; a field of the baseline that is younger than the record had its default."""
    if name == "baseline" and study.baseline:
        return study.config_type.defaults() | study.baseline
    return getattr(study, name)


def _both(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys([*ours, *theirs]))


def _refuse_links(folder: Path) -> None:
    for path in _walk(folder):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Conflict(f"{path.relative_to(folder)} is a link or no file")


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def scores(folder: Path) -> Mapping[str, Any]:
    """What a trial's result says, but for what it took."""
    return {name: value for name, value in read_json(folder / "result.json").items() if not name.startswith(TIMES)}


def _copy(folder: Path, place: Path) -> bool:
    """Copy a folder, whole or not at all."""
    partial = place.with_name(f"{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, ignore=shutil.ignore_patterns("lock", "*.partial"))
    partial.rename(place)
    return True
