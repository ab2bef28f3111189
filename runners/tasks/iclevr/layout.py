"""Where the files of i-CLEVR lie: labels and images in one folder, in folders side by side, or labels beside code.

Nothing above the folder that the user gives is used; what lies beside it is only named in a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from runners.reading.names import some
from runners.reading.tree import IGNORED
from runners.tasks.iclevr.labels import LABELS

DEPTH = 3  # of the images below the folder that is given: dataset/iclevr/iclevr
LABELS_DEPTH = 2  # of the JSON files: dataset/file
MOST = 1_000  # folders that are looked into at each depth
LARGEST = 64 * 2**20  # bytes of a train.json that is looked into; i-CLEVR's has 1.1 million
USUAL = ("", "images", "iclevr")  # where images lie beside train.json, the first that holds some
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "train.csv")  # a folder of another layout
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def folders(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The folder and those below it, the nearest first, by name; not hidden ones, and none twice."""
    level, seen = [root], set[tuple[int, int]]()
    for below in range(depth + 1):
        new = []
        for folder in level:
            try:
                found = folder.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                new.append(folder)
        yield from new
        if below < depth:
            level = [child for folder in new for child in _children(folder)][:MOST]


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not _ignored(entry.name)]
    except OSError:  # it may not be listed, or is a file
        return []
    return [folder / name for name in sorted(names)]


def _ignored(name: str) -> bool:
    return name.startswith((".", "__")) or name.casefold() in IGNORED


def holding(name: str, places: Iterable[Path]) -> list[Path]:
    """Those of the places that hold a file of this name."""
    return [place for place in places if (place / name).is_file()]


def is_ours(name: str, value: object) -> bool:
    """Whether the content of a JSON file can be i-CLEVR's: other files have the names train.json and test.json too."""
    if name == "objects.json":
        return isinstance(value, dict) and set(value) == set(LABELS)
    if name == "train.json":
        value = list(value.values()) if isinstance(value, dict) else None
    named = value if isinstance(value, list) else []
    labels = [label for condition in named if isinstance(condition, list) for label in condition]
    return bool(labels) and all(label in LABELS for label in labels)


def images_folder(root: Path, labels: Path, names: Sequence[str]) -> Path | None:
    """The folder that holds the images of train.json; None where none is found.

    Args:
        root: what the user gave.
        labels: the folder of train.json.
        names: of all images; the first, the middle and the last are looked for.

    Raises:
        ValueError: for images in two folders of which neither is the usual one.
    """
    probes = {names[0], names[len(names) // 2], names[-1]}

    def holds(place: Path) -> bool:
        return any((place / name).is_file() for name in probes)

    usual = (place / part for place in (labels, root) for part in USUAL)
    if found := next((place for place in usual if holds(place)), None):
        return found
    several = [place for place in folders(root) if holds(place)]
    if len(several) > 1:
        raise ValueError(
            f"--data {root} holds images of train.json in {len(several)} folders ({inside(root, several)}): leave the "
            "images of one."
        )
    return several[0] if several else None


def inside(root: Path, places: Sequence[Path]) -> str:
    """Names of folders as they lie in the root."""
    return some(
        [f"{place.relative_to(root).as_posix()}/" if place != root else "the folder itself" for place in places]
    )


def looked_for(root: Path) -> str:
    """Where files were looked for, as the end of a sentence: ", and neither have its folders code/ and file/"."""
    below = list(folders(root, LABELS_DEPTH))[1:]
    return f", nor has any folder in it ({inside(root, below)})" if below else ""


def not_found(root: Path, names: Sequence[str]) -> str:
    """The sentence on images of which none is found: where they were looked for, and where they may be."""
    places = list(folders(root))
    where = f" or the folders in it ({inside(root, places[1:])})" if places[1:] else ""
    instead = "put the images there, or give the folder that holds labels and images"
    beside = holding(names[0], folders(root.parent, 1))
    packed = sorted(
        entry.name for place in places[:MOST] for entry in _files(place) if entry.suffix.casefold() in ARCHIVES
    )
    if beside:
        instead = f"they are in {beside[0]}, so give --data {root.parent}"
    elif packed:
        instead = f"unpack {some(packed)}"
    count = "The image" if len(names) == 1 else f"None of the {len(names):,} images"
    return f"{count} of train.json ({names[0]}, ...) is in --data {root}{where}: {instead}."


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_file()]
    except OSError:
        return []


def parent_with_labels(path: Path) -> Path | None:
    """The folder above one that holds nothing but i-CLEVR's images, where train.json lies there or beside them."""
    try:
        with os.scandir(path) as entries:
            name = next((entry.name for entry in entries if entry.name.startswith("CLEVR_")), "")
    except OSError:
        return None
    if not name or any((path / table).is_file() for table in ("train.json", *TABLES)):
        return None
    for place in holding("train.json", folders(path.parent, 1)):
        if (place / "train.json").stat().st_size <= LARGEST and name.encode() in (place / "train.json").read_bytes():
            return path.parent
    return None
