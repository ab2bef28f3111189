"""Take over another record: trials, trainings and studies that were made on another machine.

What comes from elsewhere is not trusted: names are keys or plain words, files are what their digests say, links are
refused. Nothing that is here is overwritten; what differs is reported.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runners.process.files import read_json, write_json
from study.cli import doctor
from study.record import layout

STUDY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SETTLED = ("study", "scale", "metric", "baseline", "baseline_arm", "question")  # equal, or it is another study
TIMES = ("seconds/", "images_per_second", "peak_memory_mb")  # of one trial on two machines these differ


class Conflict(Exception):
    """What is here and what comes have one name and differ."""


def tell(source: Path, root: Path) -> int:
    """Import `source` into `root` and print what happened; 1 when something was not taken."""
    if source == root:
        raise ValueError(f"{source} is the record itself: give the folder of another one to --import.")
    if not (source / "trials").is_dir():
        raise ValueError(f"{source} is no record (it has no trials/): give the folder of another one to --import.")
    refused = 0
    for what, one, paths in (
        ("trials", take_trial, sorted((source / "trials").glob("*"))),
        ("trainings", take_training, sorted((source / "cache" / "trainings").glob("*"))),
        ("studies", take_study, sorted(path.parent for path in (source / "studies").glob("*/study.json"))),
    ):
        counts, troubles = _take(what, one, paths, root)
        refused += len(troubles)
        print("\n".join([*troubles, f"{what}: {counts['new']} new, {counts['same']} already here"]))
    for study in doctor.sound_studies(root).values():
        for finding in doctor.differing_mlflow(root, study, doctor.complete_trials(root, study)):
            print(f"{finding.text}: {finding.mend()}")
    return 1 if refused else 0


def _take(
    what: str, one: Callable[[Path, Path], bool | None], paths: list[Path], root: Path
) -> tuple[dict[str, int], list[str]]:
    """(how many were new and how many here already, why others were not taken)."""
    counts, troubles = {"new": 0, "same": 0}, []
    for path in doctor.watched(what, paths):
        try:
            new = one(path, root)
        except Conflict as conflict:
            troubles.append(f"not taken: {what} {path.name!r}: {conflict}")
        else:
            counts["new" if new else "same"] += new is not None
    return counts, troubles


def take_trial(folder: Path, root: Path) -> bool | None:
    """Copy a complete trial; False when it is here, None for what a failed or killed try left. Raises Conflict."""
    if re.fullmatch(r"[0-9a-f]{12}\.(failed|pruned|partial)", folder.name):
        return None
    if not layout.KEY.fullmatch(folder.name):
        raise Conflict("its name is no key of a trial")
    _refuse_links(folder)
    if problem := doctor.trial_damage(folder):
        raise Conflict(problem)
    place = layout.trial_folder(root, folder.name)
    if not place.exists():
        return _copy(folder, place)
    if scores(folder) != scores(place):
        raise Conflict("it was run on both machines with different results; the one that is here stays")
    return False


def take_training(folder: Path, root: Path) -> bool | None:
    """Copy a finished training with its weights; False when it is here, None for one without. Raises Conflict."""
    from runners.ddpm.trainings import damage

    if not (folder / "done.json").is_file() or not layout.has_weights(folder.parents[2], folder.name):
        return None
    if not layout.KEY.fullmatch(folder.name):
        raise Conflict("its name is no key of a training")
    _refuse_links(folder)
    if problem := damage(folder):
        raise Conflict(problem)
    place = root / "cache" / "trainings" / folder.name
    if not place.exists():
        return _copy(folder, place)
    if not (place / "done.json").is_file():
        raise Conflict("it is begun here: finish it, or remove its folder")
    if read_json(folder / "done.json")["sha256"] != read_json(place / "done.json")["sha256"]:
        raise Conflict("it was trained on both machines to different weights; those that are here stay")
    return False


def take_study(folder: Path, root: Path) -> bool:
    """Add a study, or its new arms and seeds to the study that is here; False when nothing is new. Raises Conflict."""
    if not STUDY_ID.fullmatch(folder.name):
        raise Conflict("its name is no plain word")
    _refuse_links(folder)
    if problem := doctor.study_damage(folder / "study.json"):
        raise Conflict(problem)
    theirs = read_json(folder / "study.json")
    theirs["trials"] = [trial | {"run_id": ""} for trial in theirs["trials"]]
    path = root / "studies" / folder.name / "study.json"
    if not path.is_file():
        write_json(path, theirs)
        return True
    ours = read_json(path)
    merged = united(ours, theirs)
    if merged != ours:
        write_json(path, merged)
    return bool(merged != ours)


def united(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """A study with the arms, seeds, factor values and trials of both. Raises Conflict."""
    for name in SETTLED:
        if ours.get(name) != theirs.get(name):
            raise Conflict(f"its {name} is {theirs.get(name)!r}, here it is {ours.get(name)!r}")
    if theirs.get("search") and ours.get("search") and ours["search"] != theirs["search"]:
        raise Conflict("both records searched, and asked for different trials")
    known = {trial["trial_key"] for trial in ours["trials"]}
    names = dict.fromkeys([*ours["factors"], *theirs["factors"]])
    factors = {
        name: list(dict.fromkeys([*ours["factors"].get(name, []), *theirs["factors"].get(name, [])])) for name in names
    }
    merged = {
        **ours,
        "factors": factors,
        "arms": list(dict.fromkeys([*ours["arms"], *theirs["arms"]])),
        "seeds": sorted({*ours["seeds"], *theirs["seeds"]}),
        "against": {**theirs.get("against", {}), **ours.get("against", {})},
        "trials": [*ours["trials"], *(trial for trial in theirs["trials"] if trial["trial_key"] not in known)],
    }
    if len(theirs["seeds"]) > len(ours["seeds"]):  # they say how many seeds there are
        merged |= {"notes": theirs.get("notes", []), "claim": theirs.get("claim", False)}
    return merged | ({"search": theirs["search"]} if theirs.get("search") else {})


def _refuse_links(folder: Path) -> None:
    for path in _walk(folder):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Conflict(f"{path.relative_to(folder)} is a link or no file")


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def scores(folder: Path) -> dict[str, Any]:
    """What a trial's result says, but for what it took."""
    return {name: value for name, value in read_json(folder / "result.json").items() if not name.startswith(TIMES)}


def _copy(folder: Path, place: Path) -> bool:
    """Copy a folder, whole or not at all."""
    partial = place.with_name(f"{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, ignore=shutil.ignore_patterns("lock", "*.partial"))
    partial.rename(place)
    return True
