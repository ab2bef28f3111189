"""The images of domains in the record: labels and split beside one memory-mapped array for each domain and size.

Shapes: N images, H height, W width, C channels (RGB), K classes. A label of -1 is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runners import prepared
from runners.contents import Pixels
from runners.dann import folder, street, tasks
from runners.dann.config import TrialConfig
from runners.dann.split import split
from runners.experiment import Event, ExecutionContext, Note, Progress
from runners.process.locks import lock
from runners.tasks.digits import images as digits
from runners.user_images import square

SPLIT = 1  # to be raised by whoever changes which images are held out
REPORTED = 500  # images between two reports of progress
UNLABELLED = -1


@dataclass(frozen=True)
class Domain:
    """One domain's images. `grey`: all pictures are; `digest`: of the pixels at this size."""

    name: str
    images_NHWC: Pixels
    label_N: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: tuple[str, ...]
    grey: bool
    digest: str


@dataclass(frozen=True)
class Made:
    """What a domain is prepared from. `held_out`: by the user's own split, None without one; `units`: what each image
    belongs to that is split whole."""

    pictures: Iterable[Pixels]
    label_N: Sequence[int]
    classes: tuple[str, ...]
    units: Sequence[str]
    held_out: Sequence[bool] | None = None


# --- where they lie, and whether they are there ----------------------------------------------------------


def digest(data: str) -> str:
    """12 hex digits of what all domains of a `data` hold, and of how they are split."""
    domains = tasks.parse(data)
    content = f"{data}|{digits.RENDERER}|{street.RENDERER}" if domains.built_in else domains.digest
    return hashlib.sha256(f"{content}|{SPLIT}".encode()).hexdigest()[:12]


def place(data: str, name: str, image_size: int, cache: Path) -> Path:
    """Where a prepared domain lies, or will lie: named after the content of the data."""
    return cache / f"domains-{digest(data)}" / f"{name}-{image_size}"


def open_domain(data: str, name: str, image_size: int, cache: Path) -> Domain:
    """A prepared domain. Raises ValueError when its files are not what was written."""
    images_NHWC, index = prepared.read(place(data, name, image_size, cache))
    return Domain(
        name=name,
        images_NHWC=images_NHWC,
        label_N=np.array(index["labels"], dtype=np.int64),
        train=np.array(index["train"], dtype=np.int64),
        validation=np.array(index["validation"], dtype=np.int64),
        test=np.array(index["test"], dtype=np.int64),
        classes=tuple(index["classes"]),
        grey=bool(index["grey"]),
        digest=index["sha256"][:12],
    )


def prepare(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """Make sure that the two domains of a setting are there; one process at a time makes them.

    Raises ValueError for a folder or a picture that cannot be used, and where the folder is another one than that of
    the setting.
    """
    cache, size = context.cache, config.image_size
    with lock(cache / "prepare.lock", wait=True):
        wanted = {name: place(config.data, name, size, cache) for name in (config.source, config.target)}
        lacking = {name: path for name, path in wanted.items() if not path.exists() or prepared.damage(path)}
        users = (yield from _of_user(config, context)) if lacking and not tasks.parse(config.data).built_in else None
        for name, path in lacking.items():
            made = _built_in(name, size) if users is None else _read(users, name, size)
            yield from _write(made, path, name, size)
            if note := _converted(open_domain(config.data, name, size, cache), config):
                yield Note(note)


def _of_user(config: TrialConfig, context: ExecutionContext) -> Generator[Progress, None, folder.Folder]:
    """The user's folder, which must be the one that the setting is about."""
    if "data" not in context.inputs:
        raise ValueError(f"The domains of {config.data[:40]}... are not in the record: name their folder with --data.")
    found = yield from folder.read(context.inputs, context.cache)
    if found.changes["data"] != config.data:
        raise ValueError(
            f"--data {context.inputs['data']} holds other domains than those of the study: name the folder that the "
            "study was begun with."
        )
    return found


def _built_in(name: str, size: int) -> Made:
    """Photo and plain show the same digits: what is held out in one is held out in the other."""
    if name == tasks.STREET:
        pictures, label_N = street.images(size), street.labels()
    else:
        source = "digits" if name == tasks.PLAIN else "digits(background='photos')"
        pictures, label_N = digits.images(source, size), digits.labels()
    return Made(pictures, label_N.tolist(), digits.NAMES, [str(position) for position in range(len(pictures))])


def _read(users: folder.Folder, name: str, size: int) -> Made:
    source = users.sources[name]
    return Made(
        pictures=(square(picture_HWC, size) for picture_HWC in source.pictures()),
        label_N=[labels[0] if labels else UNLABELLED for labels in source.of_image],
        classes=users.classes,
        units=source.units,
        held_out=source.held_out,
    )


def _write(made: Made, path: Path, name: str, size: int) -> Iterator[Event]:
    count, colours = len(made.units), _Colours()
    train, validation, test = split(made.units, made.held_out)
    index = {
        "labels": list(made.label_N),
        "classes": made.classes,
        "train": train,
        "validation": validation,
        "test": test,
        "grey": False,
    }
    pictures = colours.watched(made.pictures)
    for done in prepared.write(path, pictures, (count, size, size, 3), index):
        index["grey"] = not colours.seen  # the index is written after the last picture
        if done % REPORTED == 0 or done == count:
            yield Progress(f"preparing {name}", done, count)


class _Colours:
    """Whether any picture that passes is not grey."""

    def __init__(self) -> None:
        self.seen = False

    def watched(self, pictures: Iterable[Pixels]) -> Iterator[Pixels]:
        for picture_HWC in pictures:
            self.seen = self.seen or bool((picture_HWC != picture_HWC[..., :1]).any())
            yield picture_HWC


def _converted(domain: Domain, config: TrialConfig) -> str:
    """What is done to a domain whose pictures have other channels than the setting's; "" where nothing is."""
    if domain.grey and config.channels == "rgb":
        return f"The domain {domain.name} is grey: its one channel is used as red, green and blue."
    if not domain.grey and config.channels == "grey":
        return f"The domain {domain.name} has colours: its luminance is used."
    return ""
