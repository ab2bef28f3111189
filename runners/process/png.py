"""Pictures of a trial: grids, strips and single images, as PNG files.

Images are uint8 (N, H, W, 3). Pictures under 64 pixels are enlarged by whole pixels so that a person sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
PADDING = 2  # torchvision.utils.make_grid's default, which the course's grids use
SHOWN_SIDE = 64
Later = Callable[[Callable[[], None]], None]


def grid(images_NHWC: Pixels, columns: int = 8) -> Pixels:
    """N images in rows of `columns` on black with 2 pixels between: uint8 (H', W', 3)."""
    scale = max(1, SHOWN_SIDE // images_NHWC.shape[1])
    images_NHWC = images_NHWC.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = images_NHWC.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + PADDING) + PADDING, columns * (width + PADDING) + PADDING, 3), dtype=np.uint8)
    for position, image in enumerate(images_NHWC):
        top = PADDING + position // columns * (height + PADDING)
        left = PADDING + position % columns * (width + PADDING)
        sheet[top : top + height, left : left + width] = image
    return sheet


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_tree(folder: Path, images_NHWC: Pixels) -> None:
    """`folder`/0.png, 1.png, ... in list order, at their own size."""
    for position, image in enumerate(images_NHWC):
        save(folder / f"{position}.png", image)


def read_tree(folder: Path, count: int) -> Pixels:
    """The images that `save_tree` wrote, uint8 (count, H, W, 3), to the bit: PNG loses nothing.

    Raises OSError or ValueError where one is missing, is no picture, or has another size than the others.
    """
    images = []
    for position in range(count):
        with Image.open(folder / f"{position}.png") as image:
            images.append(np.asarray(image.convert("RGB")))
    stacked: Pixels = np.stack(images)  # ValueError where sizes differ
    return stacked


def visible(frames: Sequence[torch.Tensor]) -> torch.Tensor:
    """Noisy frames (C, H, W) scaled, each by its own range, into [-1, 1]: float (N, C, H, W).

    One range for all of them would show the image in gray, because noise reaches +-4; clipping would show noise
    as pure colours. A frame inside [-1, 1] stays as it is.
    """
    return torch.stack([frame / max(1.0, float(frame.abs().quantile(0.995))) for frame in frames])


@contextmanager
def aside() -> Iterator[Later]:
    """`later(work)` does the work in a thread, one after the other: Pillow compresses without Python's lock.

    When the block ends all of it is done, or the first error is raised; when it fails, what was not begun is not done.
    """
    works: list[Future[None]] = []
    thread = ThreadPoolExecutor(1, "pictures")
    try:
        yield lambda work: works.append(thread.submit(work))
        for work in works:
            work.result()
    finally:
        thread.shutdown(wait=True, cancel_futures=True)
