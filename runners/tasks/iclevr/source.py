"""The images of i-CLEVR with their labels, split and lists: the user's folder, or scenes that are rendered here.

Everything is checked and decoded before anything is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from runners.config import Call
from runners.contents import Condition, Pixels, Produced
from runners.experiment import Task
from runners.process.cores import usable
from runners.reading import pictures
from runners.tasks.iclevr import render, scenes, split
from runners.tasks.iclevr.folder import MIN_IMAGES, Folder
from runners.tasks.iclevr.labels import ABOUT, LABELS
from runners.tasks.iclevr.lists import CONDITIONS, GIVEN, LISTS, METRIC
from runners.tasks.iclevr.split import FRAMES

MAX_SIDE = 4096  # i-CLEVR is 320x240: anything larger than this is a mistake or an image bomb
# Of scenes.py and render.py: to be raised by whoever changes what they draw, so that records render anew.
RENDERER = 1
FOLDER = 18_009  # images of a folder that nobody has counted yet: i-CLEVR has so many


def task(source: str) -> Task:
    """i-CLEVR, of "rendered(...)" or "folder(digest=...)", whose `lists` are the user's, by default both.

    Raises ValueError for other arguments.
    """
    call = Call.parse(source)

    def folder(digest: str, lists: tuple[str, ...] = GIVEN) -> tuple[str, ...]:
        return lists

    given = folder(**call.bind(folder)) if call.name == "folder" else GIVEN
    lists = tuple(one for one in LISTS if one.name not in GIVEN or one.name in given)
    conditions = sum(CONDITIONS[one.name] for one in lists)
    images = FOLDER if call.name == "folder" else FRAMES * int(rendered_arguments(source)["scenes"])
    return Task("iclevr", "set", len(LABELS), METRIC, lists, conditions, images, mirror=True)


def rendered_arguments(source: str) -> dict[str, Any]:
    """Arguments of "rendered(scenes=6003, seed=0, view='clevr')". ValueError for anything else."""

    def rendered(scenes: int = 6003, seed: int = 0, view: str = "clevr") -> dict[str, Any]:
        return {"scenes": scenes, "seed": seed, "view": view}

    call = Call.parse(source)
    if call.name != "rendered":
        raise ValueError(f"data={source!r} is not a data source: write 'rendered' or give a folder with --data DIR.")
    arguments = rendered(**call.bind(rendered))
    if arguments["view"] not in ("clevr", "near"):
        raise ValueError(f"view={arguments['view']!r} is unknown: write view='clevr' or view='near'.")
    if type(arguments["scenes"]) is not int or arguments["scenes"] * FRAMES < MIN_IMAGES:
        raise ValueError(f"scenes={arguments['scenes']!r} is too few: write scenes={MIN_IMAGES // FRAMES + 1} or more.")
    return arguments


def stored(source: str) -> tuple[str, bool]:
    """What prepared images are named after. Versions before RENDERER named rendered ones after the program's text."""
    call = Call.parse(source)
    if call.name == "folder":
        return str(dict(call.arguments)["digest"]), False
    return hashlib.sha256(f"{source}|renderer {RENDERER}".encode()).hexdigest()[:12], RENDERER == 1


def produce(source: str, given: Folder | None, image_size: int) -> Produced:
    """The images of "rendered(...)", or of "folder(digest=...)", which is `given`.

    Raises ValueError for a corrupt one.
    """
    if given is not None:
        return _of_folder(given, image_size)
    arguments = rendered_arguments(source)
    sampled = scenes.sample_scenes(arguments["scenes"], arguments["seed"], arguments["view"])
    names = [scenes.frame_name(position, k) for position in range(len(sampled)) for k in range(FRAMES)]
    conditions = [tuple(labels) for scene in sampled for labels in scenes.frame_labels(scene)]
    lists = {name: list(map(tuple, values)) for name, values in scenes.test_lists(arguments["seed"]).items()}
    return _produced(_rendered(sampled, image_size, arguments["view"]), "rendering images", names, conditions, lists)


def _of_folder(folder: Folder, image_size: int) -> Produced:
    anew = (pixels_HWC for pixels_HWC, _ in decoded(folder, image_size))
    found = anew if folder.pixels_NHWC is None else iter(folder.pixels_NHWC)
    return _produced(found, "decoding images", list(folder.labels), list(folder.labels.values()), folder.lists)


def _produced(
    pictures: Iterable[Pixels],
    what: str,
    names: list[str],
    conditions: list[Condition],
    lists: dict[str, list[Condition]],
) -> Produced:
    units = split.units(names, conditions)
    return Produced(
        pictures=pictures,
        what=what,
        conditions=conditions,
        lists={
            "validation": split.validation(conditions, lists),
            **lists,
            "unseen": split.unseen(conditions),
        },
        held_out=split.held_out(units),
        units=units,
        about=ABOUT,
        index={"names": names},
    )


def _rendered(sampled: list[scenes.Scene], image_size: int, view: str) -> Iterator[Pixels]:
    """All frames of the scenes, uint8 (S, S, 3) each."""
    for frames_3HWC in render.render_scenes(sampled, image_size, view, usable()):
        yield from frames_3HWC


def decoded(folder: Folder, image_size: int) -> Iterator[tuple[Pixels, tuple[str, ...]]]:
    """All images of a folder as `decoded_image` gives them. Raises ValueError for the first corrupt one."""
    pictures.ready()
    with ThreadPoolExecutor(usable()) as pool:
        yield from pool.map(lambda name: decoded_image(folder.images / name, image_size), folder.labels)


def decoded_image(path: Path, image_size: int) -> tuple[Pixels, tuple[str, ...]]:
    """RGB uint8 (S, S, 3), resized with antialiasing (Pillow's filters cover the source pixels), and what was done to
    get there: keys of `pictures.REMARKS`.

    Transparency is left out, as the course's own code leaves it out. Raises ValueError for what is no picture that can
    be read.
    """
    from PIL import Image

    try:
        pixels_HWC, remarks = pictures.upright(path, MAX_SIDE, on_white=False)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever a broken header makes it stumble over
        said = pictures.why(path, error, "is corrupt", "restore it")
        raise ValueError(f"The image {path.name} in {path.parent} {said}") from error
    if pixels_HWC.shape[:2] != (image_size, image_size):
        resized = Image.fromarray(pixels_HWC).resize((image_size, image_size), Image.Resampling.BILINEAR)
        pixels_HWC = np.asarray(resized)
    return pixels_HWC, remarks
