"""Scenes as one memory-mapped uint8 array: the i-CLEVR folder, or scenes that are rendered here.

Everything is checked and decoded before anything is written. A prepared data set is a folder
`<cache>/data-<digest>-<size>/` with `images.npy`, uint8 (N, H, W, 3), and `index.json`; it is written under a
temporary name and renamed, so a half-written one is never used. Both files are compared with the digests in index.json
once a process; that takes 0.3 s for the 220 MB of i-CLEVR at 64x64.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.config import Call, nearest
from runners.process.files import read_json, sync_folder, write_aside
from runners.tasks.iclevr import render, scenes

LABELS = scenes.LABELS
STRIP_CONDITION = ("red sphere", "cyan cylinder", "cyan cube")  # the denoising strip of two of the reports
LISTS = ("validation", "test", "new_test", "unseen")
MIN_IMAGES = 100
MAX_SIDE = 4096  # i-CLEVR is 320x240: anything larger than this is a mistake or an image bomb
HELD_OUT = 0.05  # of the scenes: the stand-in's and the denoising loss's unseen images
OLD_INDEX = {"source", "names", "conditions", "lists", "held_out", "sha256"}  # without a digest of itself
Condition = tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """What is being prepared, and how far it is."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class SceneData:
    """N images with their labels, the split by scene, and the lists of conditions."""

    images_NHWC: NDArray[np.uint8]
    labels_NK: NDArray[np.bool_]
    train_indices: NDArray[np.int64]
    held_out_indices: NDArray[np.int64]
    lists: dict[str, list[Condition]]
    digest: str

    @property
    def image_size(self) -> int:
        return int(self.images_NHWC.shape[1])


def multi_hot(conditions: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Labels as bool (N, 24)."""
    index = {label: position for position, label in enumerate(LABELS)}
    hot_NK = np.zeros((len(conditions), len(LABELS)), dtype=bool)
    for row, condition in enumerate(conditions):
        hot_NK[row, [index[label] for label in condition]] = True
    return hot_NK


# --- the two sources ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """A checked i-CLEVR folder: sorted file names, their labels, and the digest of everything in it."""

    root: Path
    images: Path
    labels: dict[str, Condition]
    lists: dict[str, list[Condition]]
    digest: str

    @property
    def config(self) -> str:
        return str(Call("folder", (("digest", self.digest),)))


def read_folder(root: Path) -> Folder:
    """Read and check an i-CLEVR folder; images lie beside train.json, or in `images/` or `iclevr/`.

    Raises ValueError, one sentence, for: no folder, a missing or unreadable JSON file, an unknown label, a
    file name that leaves the folder, a missing image, fewer than 100 images.
    """
    if not root.is_dir():
        raise ValueError(f"--data {root} is no folder: give the i-CLEVR folder that holds train.json.")
    train = _read_json(root, "train.json")
    if not isinstance(train, dict):
        raise ValueError(f"{root / 'train.json'} must map file names to lists of labels.")
    objects = _read_json(root, "objects.json")
    if not isinstance(objects, dict) or {label: i for i, label in enumerate(LABELS)} != objects:
        raise ValueError(f"{root / 'objects.json'} must be i-CLEVR's: 24 names from 'gray cube': 0 to 23.")
    for name in train:
        if not name or Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name:
            raise ValueError(f"train.json names the file {name!r}, which leaves the folder: use plain file names.")
    labels = {name: _condition(train[name], f"train.json, {name}") for name in sorted(train)}
    lists = {name: _conditions(root, f"{name}.json") for name in ("test", "new_test")}
    if len(labels) < MIN_IMAGES:
        raise ValueError(f"{root} has {len(labels)} images: a study needs at least {MIN_IMAGES}.")
    places = [root, root / "images", root / "iclevr"]
    first = next(iter(labels))
    images = next((place for place in places if (place / first).is_file()), root)
    for name in labels:
        if not (images / name).is_file():
            raise ValueError(f"The image {name} of train.json is missing in {images}: complete the folder.")
    return Folder(root, images, labels, lists, _digest(images, labels, lists))


def _read_json(root: Path, name: str) -> Any:
    try:
        return json.loads((root / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{root} has no {name}: give the i-CLEVR folder that holds it.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{root / name} is not readable as JSON: restore it from its source.") from error


def _condition(value: Any, where: str) -> Condition:
    if not isinstance(value, list) or not value or not all(isinstance(label, str) for label in value):
        raise ValueError(f"{where} must be a list of labels such as ['red cube'].")
    for label in value:
        if label not in LABELS:
            raise ValueError(f"{where} has the unknown label {label!r}{nearest(label, LABELS)}")
    if len(set(value)) != len(value):
        raise ValueError(f"{where} names one label twice: a scene holds each object once.")
    return tuple(value)


def _conditions(root: Path, name: str) -> list[Condition]:
    values = _read_json(root, name)
    if not isinstance(values, list) or not values:
        raise ValueError(f"{root / name} must be a list of lists of labels.")
    return [_condition(value, f"{name}, entry {position}") for position, value in enumerate(values)]


def _digest(images: Path, labels: dict[str, Condition], lists: dict[str, list[Condition]]) -> str:
    """12 hex digits of the labels, the lists and the bytes of every image."""
    digest = hashlib.sha256(json.dumps([labels, lists], sort_keys=True).encode())
    with ThreadPoolExecutor(4) as pool:
        for one in pool.map(lambda name: hashlib.sha256((images / name).read_bytes()).digest(), labels):
            digest.update(one)
    return digest.hexdigest()[:12]


def _decode(path: Path, image_size: int) -> NDArray[np.uint8]:
    """RGB uint8 (S, S, 3), resized with antialiasing (Pillow's filters cover the source pixels)."""
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


# --- preparing and opening ---------------------------------------------------------------------------


def prepare(
    source: str,
    folder: Folder | None,
    image_size: int,
    cache: Path,
    workers: int,
    pixels_NHWC: NDArray[np.uint8] | None = None,
) -> Iterator[Progress]:
    """Make sure that `prepared(source, image_size, cache)` is there; yields progress while it is made.

    `source` is the config's `data`: "rendered(...)", or "folder(digest=...)" with its `folder`, and its images where
    the caller has decoded them already. Data that are not what was written are made again. Raises ValueError for a
    corrupt image, before anything is written.
    """
    final = prepared(source, image_size, cache)
    if final.exists() and not damage(final):
        return
    if folder is not None:
        names, conditions, lists = list(folder.labels), list(folder.labels.values()), dict(folder.lists)
        images_NHWC = pixels_NHWC if pixels_NHWC is not None else (yield from decode(folder, image_size))
    else:
        arguments = rendered_arguments(source)
        sampled = scenes.sample_scenes(arguments["scenes"], arguments["seed"], arguments["view"])
        names = [scenes.frame_name(position, k) for position in range(len(sampled)) for k in range(3)]
        conditions = [tuple(labels) for scene in sampled for labels in scenes.frame_labels(scene)]
        lists = {
            name: [tuple(condition) for condition in values]
            for name, values in scenes.test_lists(arguments["seed"]).items()
        }
        images_NHWC = np.empty((len(names), image_size, image_size, 3), dtype=np.uint8)
        frames = render.render_scenes(sampled, image_size, arguments["view"], workers)
        for position, frames_3HWC in enumerate(frames):
            images_NHWC[3 * position : 3 * position + 3] = frames_3HWC
            yield Progress("rendering images", 3 * position + 3, len(names))
    index = {
        "source": source,
        "names": names,
        "conditions": conditions,
        "lists": {"validation": _validation(conditions, lists), **lists, "unseen": _unseen(conditions)},
        "held_out": _held_out(names),
        "sha256": hashlib.sha256(images_NHWC.data).hexdigest(),
    }
    index["index_sha256"] = _index_digest(index)
    temporary = final.with_name(f"{final.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_aside(temporary / "images.npy", functools.partial(save_array, images_NHWC))
        write_aside(temporary / "index.json", functools.partial(Path.write_text, data=json.dumps(index)))
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_folder(cache)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def decode(folder: Folder, image_size: int) -> Generator[Progress, None, NDArray[np.uint8]]:
    """All images of a folder, uint8 (N, S, S, 3), as the generator's value. ValueError for the first corrupt one."""
    from PIL import Image

    # Of a header that promises 90 to 180 million pixels Pillow only warns, of more than that it is an error.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    names = list(folder.labels)
    images_NHWC = np.empty((len(names), image_size, image_size, 3), dtype=np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(lambda name: _decode(folder.images / name, image_size), names)
        for position, image_HWC in enumerate(decoded):
            images_NHWC[position] = image_HWC
            if position % 100 == 99 or position + 1 == len(names):
                yield Progress("decoding images", position + 1, len(names))
    return images_NHWC


def rendered_arguments(source: str) -> dict[str, Any]:
    """Arguments of "rendered(scenes=6003, seed=0, view='clevr')". ValueError for anything else."""

    def rendered(scenes: int = 6003, seed: int = 0, view: str = "clevr") -> dict[str, Any]:
        return {"scenes": scenes, "seed": seed, "view": view}

    call = Call.parse(source)
    if call.name != "rendered":
        raise ValueError(f"data={source!r} is no source: write 'rendered' or give a folder with --data DIR.")
    arguments = rendered(**call.bind(rendered))
    if arguments["view"] not in ("clevr", "near"):
        raise ValueError(f"view={arguments['view']!r} is unknown: write view='clevr' or view='near'.")
    if type(arguments["scenes"]) is not int or arguments["scenes"] * 3 < MIN_IMAGES:
        raise ValueError(f"scenes={arguments['scenes']!r} is too few: write scenes={MIN_IMAGES // 3 + 1} or more.")
    return arguments


def prepared(source: str, image_size: int, cache: Path) -> Path:
    """Where the prepared data lie. Renders carry the digest of the renderer, so a changed one renders anew."""
    call = Call.parse(source)
    if call.name == "folder":
        digest = dict(call.arguments)["digest"]
    else:
        code = Path(render.__file__).read_bytes() + Path(scenes.__file__).read_bytes()
        digest = hashlib.sha256(code + source.encode()).hexdigest()[:12]
    return cache / f"data-{digest}-{image_size}"


def damage(path: Path) -> str:
    """What is wrong with prepared data, in words; "" when both files are what was written."""
    try:
        stamps = tuple((path / name).stat().st_mtime_ns for name in ("index.json", "images.npy"))
        return _damage(path, stamps)
    except OSError as error:
        return str(error)


@functools.lru_cache(8)
def _damage(path: Path, stamps: tuple[int, ...]) -> str:
    """`damage`, looked for once while the files stay the same."""
    try:
        index = read_json(path / "index.json")
        if index.keys() - OLD_INDEX and index["index_sha256"] != _index_digest(index):
            return "index.json is not what was written"
        images_NHWC = np.load(path / "images.npy", mmap_mode="r")
        if hashlib.sha256(images_NHWC.data).hexdigest() != index["sha256"]:
            return "images.npy is not what was written"
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _index_digest(index: dict[str, Any]) -> str:
    """SHA-256 of everything else in an index."""
    rest = {name: value for name, value in index.items() if name != "index_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def save_array(array: NDArray[np.uint8], path: Path) -> None:
    """`np.save` under just this name."""
    with path.open("wb") as file:
        np.save(file, array)


def open_prepared(path: Path) -> SceneData:
    """The prepared data under `path`; the images stay on disk until they are read.

    Raises ValueError when they are not what was written: the next launch makes them again.
    """
    if broken := damage(path):
        raise ValueError(f"The prepared images in {path} are damaged ({broken}): run the same command again.")
    index = read_json(path / "index.json")
    held_out_N = np.zeros(len(index["names"]), dtype=bool)
    held_out_N[index["held_out"]] = True
    return SceneData(
        images_NHWC=np.load(path / "images.npy", mmap_mode="r"),
        labels_NK=multi_hot(index["conditions"]),
        train_indices=np.flatnonzero(~held_out_N),
        held_out_indices=np.flatnonzero(held_out_N),
        lists={name: [tuple(condition) for condition in index["lists"][name]] for name in LISTS},
        digest=index["sha256"][:12],
    )


# --- the split and the lists --------------------------------------------------------------------------


def scene_of(name: str) -> str:
    """The scene of a frame: CLEVR_train_002066_1.png is a frame of CLEVR_train_002066."""
    return re.sub(r"_\d+$", "", Path(name).stem)


def _held_out(names: Sequence[str]) -> list[int]:
    """Positions of the images of the held-out scenes. The frames of a scene are nested: they stay together."""
    scenes = sorted({scene_of(name) for name in names})
    count = max(1, round(HELD_OUT * len(scenes)))
    chosen = {scenes[i] for i in np.random.default_rng(0).permutation(len(scenes))[:count]}
    return [position for position, name in enumerate(names) if scene_of(name) in chosen]


def _validation(conditions: Sequence[Condition], lists: dict[str, list[Condition]]) -> list[Condition]:
    """64 label sets of the training images, none of them in a test list, sized like `test` (12, 24, 28)."""
    taken = {frozenset(condition) for values in lists.values() for condition in values}
    pool = sorted({tuple(sorted(condition)) for condition in conditions if frozenset(condition) not in taken})
    rng = np.random.default_rng(0)
    chosen: list[Condition] = []
    for objects, wanted in ((1, 12), (2, 24), (3, 28)):
        sets = [condition for condition in pool if len(condition) == objects]
        chosen += [sets[i] for i in rng.permutation(len(sets))[:wanted]]
    return chosen


def _unseen(conditions: Sequence[Condition]) -> list[Condition]:
    """The triples of three labels that no image shows."""
    from itertools import combinations

    seen = {frozenset(condition) for condition in conditions}
    triples: list[Condition] = [triple for triple in combinations(LABELS, 3) if frozenset(triple) not in seen]
    if len(triples) <= 136:
        return triples
    return [triples[i] for i in sorted(np.random.default_rng(0).permutation(len(triples))[:136])]
