"""The images that a user names, read and checked before anything is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from runners import reading, user_texts
from runners.config import Call, nearest
from runners.contents import Given
from runners.experiment import Progress
from runners.reading import pictures
from runners.tasks.iclevr import layout, split
from runners.tasks.iclevr import source as iclevr
from runners.tasks.iclevr.folder import Folder, read_folder
from runners.user_images import TASKS, UserImages

REPORTED = 100  # images between two reports of progress


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Given]:
    """The images of `inputs["data"]`, a path, as `inputs["task"]` wants them ("" or absent: as they are found).

    `inputs["allow_unlabelled"]`, if not "", goes on without the images that have no label. `cache` keeps what is known
    of images that were read before. Raises ValueError, in one sentence, for what cannot be used.
    """
    path, (wanted, mirror) = Path(inputs["data"]), task_of(inputs.get("task", ""))
    if wanted == "iclevr" or (not wanted and is_iclevr(path)):
        return read_folder(path)
    if not wanted and (above := layout.parent_with_labels(path)):
        raise ValueError(
            f"--data {path} holds images of i-CLEVR without their labels, which lie beside it: give --data {above}, or "
            "write --task images to train without labels."
        )
    source = yield from reading.read(path, wanted, bool(inputs.get("allow_unlabelled")), cache)
    users = UserImages(source, mirror)
    users.check()
    return users


def task_of(text: str) -> tuple[str, bool]:
    """The name of `--task` and its `mirror`: "classes(mirror=True)". Raises ValueError for anything else."""
    if not text:
        return "", False

    def arguments(mirror: bool = False) -> bool:
        return mirror

    name, known = text.partition("(")[0], ("iclevr", *TASKS.values())
    if name not in known:
        raise ValueError(f"--task {text} is unknown{nearest(name, known)}")
    call = Call.parse(text)
    mirror = arguments(**call.bind(arguments))
    if type(mirror) is not bool or (mirror and call.name == "iclevr"):
        raise ValueError(f'--task {text} is unknown: write --task {call.name}, or --task "classes(mirror=True)".')
    return call.name, mirror


def is_iclevr(path: Path) -> bool:
    """Whether a folder has i-CLEVR's own objects, or without objects.json none but its labels, in it or deeper: what is
    then missing or wrong is said as of an i-CLEVR folder."""
    for name in ("objects.json", "train.json"):
        value = _json(path / name)
        if value is not None:
            return layout.is_ours(name, value)
    if any((path / name).is_file() for name in layout.TABLES):
        return False
    deeper = layout.holding("train.json", layout.folders(path, layout.LABELS_DEPTH))
    small = [place / "train.json" for place in deeper if (place / "train.json").stat().st_size <= layout.LARGEST]
    return any(layout.is_ours("train.json", _json(one)) for one in small)


def _json(path: Path) -> object:
    """The content of a JSON file; None where there is none that can be read."""
    try:
        found: object = user_texts.read_json(path, path.name)
    except ValueError:
        return None
    return found


def decoded(given: Given, image_size: int) -> Generator[Progress, None, Given]:
    """The same with every picture decoded, so that nothing is written where one is corrupt. Raises ValueError then."""
    if not isinstance(given, Folder):
        return given  # decoded when it was read
    pixels_NHWC = np.empty((given.count, image_size, image_size, 3), dtype=np.uint8)
    remarks: list[tuple[str, ...]] = []
    for position, (picture_HWC, of_one) in enumerate(iclevr.decoded(given, image_size)):
        pixels_NHWC[position] = picture_HWC
        remarks.append(of_one)
        if (position + 1) % REPORTED == 0 or position + 1 == given.count:
            yield Progress("decoding images", position + 1, given.count)
    pictures.refuse_several_ranges(remarks, f"--data {given.path}")
    return dataclasses.replace(given, pixels_NHWC=pixels_NHWC, notes=(*given.notes, *pictures.said_of(remarks)))


def sentences(given: Given, image_size: int) -> list[str]:
    """What was found, in one sentence, and one for each thing that was done with it."""
    if isinstance(given, UserImages):
        found = reading.sentence(given.source, image_size, len(given.held_out), len(given.lists["validation"]))
        return [found, *given.source.notes]
    if not isinstance(given, Folder):
        return []
    held, how = split.held_out(given.units), split.described(list(given.labels), given.units)
    found = f"{given.count:,} images of i-CLEVR's 24 labels, {image_size}x{image_size} after resizing"
    return [f"{found}; {len(held):,} held out {how}.", *given.notes]
