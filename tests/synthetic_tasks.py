"""Tasks beside i-CLEVR of a synthetic record: their task.json, and what depends on them in a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LISTS = {"validation": 20, "test": 40}  # list -> conditions
PASSES = 2
REAL = 60  # images in features.npz
GRID = 10  # rows and columns of class_grid.png
SIDE = 32
OF_LABELS = ("accuracy", "accuracy_macro", "exact", "spurious", "real_accuracy", "chance", "objects")  # scores


def classes(count: int = 10, names: Sequence[str] = ()) -> dict[str, Any]:
    """The task.json of images of one class each; digits where nothing else is said."""
    labels = list(names) or [f"{index}" if count <= 10 else f"species no. {index:03d}" for index in range(count)]
    return _task("digits" if count == 10 and not names else "classes", "class", labels)


def sets(count: int = 6) -> dict[str, Any]:
    """The task.json of images of one label or two."""
    return _task("sets", "set", [f"tag {index}" for index in range(count)]) | {"noun": "label"}


def unlabelled() -> dict[str, Any]:
    """The task.json of images without labels."""
    metric = {"name": "kid", "higher_is_better": False, "is_share": False, "margin": 0.005}
    return _task("images", "none", []) | {"metric": metric}


def _task(name: str, kind: str, labels: list[str]) -> dict[str, Any]:
    strip = labels[3 % len(labels) :][:1] if labels else []
    return {
        "name": name,
        "kind": kind,
        "labels": labels,
        "noun": "image",
        "facets": {},
        "palette": {},
        "lists": [{"name": "validation", "role": "choose"}, {"name": "test", "role": "report"}],
        "metric": {"name": "accuracy", "higher_is_better": True, "is_share": True, "margin": 0.05},
        "shown": {"strip": strip, "interpolation": [strip, labels[-1:]]},
        "images": {"train": 1717, "held_out": 80},
    }


def source(task: Mapping[str, Any]) -> str:
    """The `data` of a config."""
    if task["name"] == "digits":
        return "digits"
    count = f", k={len(task['labels'])}" if task["labels"] else ""
    return f"{task['name']}(digest='0123456789ab', images=1797{count})"


# --- a trial -------------------------------------------------------------------------------------------


def rewrite(folder: Path, task: Mapping[str, Any], score: float, images: bool) -> None:
    """What depends on the task in a trial that `write_trial` has written."""
    _put(folder / "task.json", json.dumps(task))
    lists = {name: conditions(task, count) for name, count in LISTS.items()}
    _put(folder / "conditions.json", json.dumps(lists))
    for name in ("outcomes.npz", "classes.csv"):
        (folder / name).unlink()
    if task["labels"]:
        _write_outcomes(folder, task, lists, score)
    _write_features(folder, task, lists, score)
    if task["kind"] == "none":
        result = json.loads((folder / "result.json").read_text())
        kid = {f"kid/{name}": round(0.1 * (1 - score), 5) for name in LISTS}
        kept = {name: value for name, value in result.items() if name.split("/")[0] not in OF_LABELS}
        _put(folder / "result.json", json.dumps(kept | kid))
    if images:
        for name, of_list in lists.items():
            for position, labels in enumerate(of_list):
                _save(folder / "images" / name / f"{position}.png", _sample(labels, position))
    if images and task["kind"] == "class":
        rows = [[_sample([label], column) for column in range(GRID)] for label in task["labels"][:GRID]]
        _save(folder / "class_grid.png", np.concatenate([np.concatenate(row, axis=1) for row in rows]))


def conditions(task: Mapping[str, Any], count: int) -> list[list[str]]:
    """Conditions in rounds over all labels: of one each, of a set one and two in turn."""
    labels = task["labels"]
    if not labels:
        return [[] for _ in range(count)]
    more = [1 + (task["kind"] == "set" and position % 2) for position in range(count)]
    return [[labels[(position + step) % len(labels)] for step in range(n)] for position, n in enumerate(more)]


def _write_outcomes(folder: Path, task: Mapping[str, Any], lists: Mapping[str, list[list[str]]], score: float) -> None:
    """A label is found with a chance of about the score, the more often the later it stands; else the one after it is
    named, or, every third time, the one after that."""
    luck, labels = np.random.default_rng(0), task["labels"]
    arrays, lines = {}, ["list,label,asked,hits,named_unasked"]
    for name, of_list in lists.items():
        asked_NL = hot(of_list, labels)
        seen_KNL = np.zeros((PASSES, *asked_NL.shape), dtype=bool)
        for row, label in zip(*np.nonzero(asked_NL), strict=True):
            for own in range(PASSES):
                hit = luck.random() < score + 0.3 * (label / len(labels) - 0.5)
                step = 0 if hit else 2 if row % 3 == 0 else 1
                seen_KNL[own, row, (label + step) % len(labels)] = True
        arrays[name] = seen_KNL
        asked_L, hits_L = PASSES * asked_NL.sum(0), (seen_KNL & asked_NL).sum((0, 1))
        wrong_L = (seen_KNL & ~asked_NL).sum((0, 1))
        counts = zip(labels, asked_L, hits_L, wrong_L, strict=True)
        lines += [f'{name},"{label}",{asked},{hits},{wrong}' for label, asked, hits, wrong in counts]
    np.savez_compressed(folder / "outcomes.npz", **arrays)  # type: ignore[arg-type]
    _put(folder / "classes.csv", "\n".join([*lines, ""]))


def _write_features(folder: Path, task: Mapping[str, Any], lists: Mapping[str, list[list[str]]], score: float) -> None:
    """A cluster per class; the lower the score, the further generated images lie from real ones."""
    rng, labels = np.random.default_rng(0), task["labels"]
    generated = [condition for of_list in lists.values() for condition in of_list]
    labels_NL = hot([*generated, *conditions(task, REAL)], labels)
    features_ND = rng.standard_normal((len(labels_NL), 6))
    if labels:
        features_ND += 6 * rng.standard_normal((len(labels), 6))[labels_NL.argmax(1)]
    features_ND[: len(generated)] += 2 * (1 - score)
    names = np.repeat([*lists, "real"], [*map(len, lists.values()), REAL])
    path = folder / "features.npz"
    path.unlink()
    np.savez(path, features=features_ND.astype(np.float16), labels=labels_NL, source=names)


def hot(conditions: Sequence[Sequence[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Conditions as bool (N, L)."""
    return np.array([[label in given for label in labels] for given in conditions], dtype=bool).reshape(
        len(conditions), len(labels)
    )


def _sample(labels: Sequence[str], noise: int) -> NDArray[np.uint8]:
    """The end of a label on a ground that the noise decides."""
    ground = 40 + 20 * (noise % 8)
    image = Image.new("RGB", (SIDE, SIDE), (ground, 90, 160 - ground // 2))
    ImageDraw.Draw(image).text((4, 8), " ".join(labels)[-4:], fill="white")
    return np.asarray(image)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _put(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)  # it may be a name of another trial's file
    path.write_text(content, encoding="utf-8")
