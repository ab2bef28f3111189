"""Small domains and settings for tests of domain adaptation: noisy bars in two classes, and their negatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runners import dann
from runners.dann.domains import Domain
from runners.dann.trainings import Pair
from runners.experiment import ExecutionContext

CPU = torch.device("cpu")
SIDE, CLASSES = 16, ("across", "down")
TINY = dann.Config().replace(
    source="photo", target="plain", network="cnn(width=4)", image_size=16, total_images=640, batch_size=32, lr=0.01
)


def bars(count: int, seed: int, inverted: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (N, S, S, 3) of a bright bar on dark noise, across or down, and their classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, SIDE, SIDE, 3), dtype=np.uint8)
    label_N = np.arange(count) % 2
    for image, label in zip(images, label_N, strict=True):
        at = int(rng.integers(3, SIDE - 5))
        bar = (slice(at, at + 3), slice(2, -2)) if label == 0 else (slice(2, -2), slice(at, at + 3))
        image[bar] += np.uint8(180)
    return (255 - images if inverted else images), label_N.astype(np.int64)


def domain(name: str, seed: int, inverted: bool = False, count: int = 200) -> Domain:
    """A domain whose first 60 % are trained on."""
    images_NHWC, label_N = bars(count, seed, inverted)
    train, validation, test = np.split(np.arange(count), [count * 6 // 10, count * 8 // 10])
    return Domain(name, images_NHWC, label_N, train, validation, test, CLASSES, False, f"digest of {name}")


def pair() -> Pair:
    return Pair(domain("bars", 0), domain("negatives", 1, inverted=True))


def save_npz(path: Path, count: int = 120, seed: int = 0, **changes: Any) -> Path:
    """A .npz file of bars; `changes`: arrays in place of x and y, None for none."""
    images_NHWC, label_N = bars(count, seed)
    arrays = {"x": images_NHWC, "y": label_N} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def value_of(generator: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value


def context(record: Path, **inputs: str) -> ExecutionContext:
    return ExecutionContext(str(record), "cpu", inputs=inputs)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], which: Callable[[str], bool] = bool) -> bool:
    """Whether the weights whose names `which` takes are equal, bit for bit."""
    names = [name for name in one if which(name)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)
