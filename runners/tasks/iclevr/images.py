"""The images of i-CLEVR with their labels, split and lists: the user's folder, or scenes that are rendered here.

Everything is checked and decoded before anything is written.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners import prepared
from runners.config import Call
from runners.experiment import Progress
from runners.process.cores import usable
from runners.tasks.iclevr import render, scenes, split
from runners.tasks.iclevr.folder import MIN_IMAGES, Folder
from runners.tasks.iclevr.labels import Condition, multi_hot
from runners.tasks.iclevr.lists import LISTS
from runners.tasks.iclevr.split import FRAMES

MAX_SIDE = 4096  # i-CLEVR is 320x240: anything larger than this is a mistake or an image bomb
# Of scenes.py and render.py: to be raised by whoever changes what they draw, so that records render anew.
RENDERER = 1
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """N images with their labels, the split by scene, and the lists of conditions."""

    images_NHWC: Pixels
    labels_NK: NDArray[np.bool_]
    train_indices: NDArray[np.int64]
    held_out_indices: NDArray[np.int64]
    lists: dict[str, list[Condition]]
    digest: str

    @property
    def image_size(self) -> int:
        return int(self.images_NHWC.shape[1])


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


# --- where they lie ------------------------------------------------------------------------------------


def place(source: str, image_size: int, cache: Path) -> Path:
    """Where the prepared data of a config's `data` and `image_size` lie, or will lie.

    Versions before RENDERER named rendered data after the program's text; theirs are found by their source.
    """
    call = Call.parse(source)
    if call.name == "folder":
        return cache / f"data-{dict(call.arguments)['digest']}-{image_size}"
    digest = hashlib.sha256(f"{source}|renderer {RENDERER}".encode()).hexdigest()[:12]
    own = cache / f"data-{digest}-{image_size}"
    earlier = () if own.exists() or RENDERER > 1 else sorted(cache.glob(f"data-*-{image_size}/index.json"))
    return next((path.parent for path in earlier if _source_of(path) == source), own)


def _source_of(index: Path) -> str:
    """What an index.json says that its images are of; "" for one that is damaged."""
    try:
        return str(json.loads(index.read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def open_images(path: Path) -> Images:
    """The prepared data under `path`. Raises ValueError when they are not what was written."""
    images_NHWC, index = prepared.read(path)
    held_out_N = np.zeros(len(index["names"]), dtype=bool)
    held_out_N[index["held_out"]] = True
    return Images(
        images_NHWC=images_NHWC,
        labels_NK=multi_hot(index["conditions"]),
        train_indices=np.flatnonzero(~held_out_N),
        held_out_indices=np.flatnonzero(held_out_N),
        lists={one.name: [tuple(condition) for condition in index["lists"][one.name]] for one in LISTS},
        digest=index["sha256"][:12],
    )


# --- how they are made ---------------------------------------------------------------------------------


def prepare(
    source: str, folder: Folder | None, image_size: int, cache: Path, pixels_NHWC: Pixels | None = None
) -> Generator[Progress, None, None]:
    """Make sure that the data of `place` are there; yields progress while they are made.

    `source` is the config's `data`: "rendered(...)", or "folder(digest=...)" with its `folder`, and its images where
    the caller has decoded them already. Data that are not what was written are made again. Raises ValueError for a
    corrupt image, before anything is written.
    """
    final = place(source, image_size, cache)
    if final.exists() and not prepared.damage(final):
        return
    if folder is not None:
        names, conditions, lists = list(folder.labels), list(folder.labels.values()), dict(folder.lists)
        images_NHWC = pixels_NHWC if pixels_NHWC is not None else (yield from decode(folder, image_size))
    else:
        arguments = rendered_arguments(source)
        sampled = scenes.sample_scenes(arguments["scenes"], arguments["seed"], arguments["view"])
        names = [scenes.frame_name(position, k) for position in range(len(sampled)) for k in range(FRAMES)]
        conditions = [tuple(labels) for scene in sampled for labels in scenes.frame_labels(scene)]
        lists = {
            name: [tuple(condition) for condition in values]
            for name, values in scenes.test_lists(arguments["seed"]).items()
        }
        images_NHWC = yield from _rendered(sampled, image_size, arguments["view"])
    index = {
        "source": source,
        "names": names,
        "conditions": conditions,
        "lists": {"validation": split.validation(conditions, lists), **lists, "unseen": split.unseen(conditions)},
        "held_out": split.held_out(names),
    }
    prepared.write(final, images_NHWC, index)


def _rendered(sampled: list[scenes.Scene], image_size: int, view: str) -> Generator[Progress, None, Pixels]:
    """All frames of the scenes, uint8 (N, S, S, 3)."""
    count = FRAMES * len(sampled)
    images_NHWC = np.empty((count, image_size, image_size, 3), dtype=np.uint8)
    for position, frames_3HWC in enumerate(render.render_scenes(sampled, image_size, view, usable())):
        images_NHWC[FRAMES * position : FRAMES * (position + 1)] = frames_3HWC
        yield Progress("rendering images", FRAMES * (position + 1), count)
    return images_NHWC


def decode(folder: Folder, image_size: int) -> Generator[Progress, None, Pixels]:
    """All images of a folder, uint8 (N, S, S, 3), as the generator's value. ValueError for the first corrupt one."""
    from PIL import Image

    # Of a header that promises 90 to 180 million pixels Pillow only warns, of more than that it is an error.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    names = list(folder.labels)
    images_NHWC = np.empty((len(names), image_size, image_size, 3), dtype=np.uint8)
    with ThreadPoolExecutor(usable()) as pool:
        decoded: Iterator[Pixels] = pool.map(lambda name: decoded_image(folder.images / name, image_size), names)
        for position, image_HWC in enumerate(decoded):
            images_NHWC[position] = image_HWC
            if position % 100 == 99 or position + 1 == len(names):
                yield Progress("decoding images", position + 1, len(names))
    return images_NHWC


def decoded_image(path: Path, image_size: int) -> Pixels:
    """RGB uint8 (S, S, 3), resized with antialiasing (Pillow's filters cover the source pixels).

    Raises ValueError for what is no PNG or JPEG that can be read.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} pixels, over {MAX_SIDE}")
            rgb = image.convert("RGB")
            if rgb.size != (image_size, image_size):
                rgb = rgb.resize((image_size, image_size), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"The image {path.name} in {path.parent} is corrupt ({error}): restore it.") from error
