"""The images of a training: read from their memory map where they are needed, never copied as a whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import PINNED_LOSSES, TINY, images_and_labels
from test_updates import Idle

from runners.ddpm.train import Training, train
from runners.ddpm.trial import build_model
from runners.evaluation import surrogate
from runners.evaluation.surrogate import SMOKE
from runners.process import device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    """39 MB of images on disk."""
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (3200, 64, 64, 3))
    images[::7] = 3
    images.flush()
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def peak(work: Iterable[object]) -> int:
    """Bytes that NumPy held at most while an iterator was followed."""
    tracemalloc.start()
    try:
        for _ in work:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_training_copies_the_images_of_a_step(mapped: np.ndarray) -> None:
    """It copied all of them twice: those of its rows, and these with channels first."""
    labels = np.eye(24, dtype=bool)[np.arange(len(mapped)) % 24]
    rows = np.flatnonzero(np.arange(len(mapped)) % 10)
    training = Training(TINY.replace(image_size=64, total_images=80), Idle(), CPU)
    assert peak(train(training, mapped, labels, rows=rows)) < mapped.nbytes / 10


def test_a_surrogates_training_copies_the_images_of_a_step(mapped: np.ndarray) -> None:
    labels = np.eye(24, dtype=bool)[np.arange(len(mapped)) % 24]
    split = np.arange(20, len(mapped)), np.arange(20)
    assert peak(surrogate.train(mapped, labels, *split, SMOKE)) < mapped.nbytes / 10


def test_a_device_gets_them_piece_by_piece(mapped: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device "meta" has no memory of its own: what is taken is this process's."""
    monkeypatch.setattr(device, "UPLOADED", 100)
    rows = np.arange(5, len(mapped))
    assert peak(device.upload(mapped, rows, torch.device("meta")) for _ in range(1)) < mapped.nbytes / 10
    found = device.upload(mapped, rows, CPU, (0, 3, 1, 2))
    assert found.is_contiguous()
    assert np.array_equal(found.numpy(), mapped[rows].transpose(0, 3, 1, 2))


def test_the_rows_that_are_trained_on_are_those_that_were_cut_out() -> None:
    """To the bit: the numbers of records do not move."""
    images, labels = images_and_labels(24)
    rows = np.sort(np.random.default_rng(1).permutation(100)[:24])
    more, more_labels = np.zeros((100, *images.shape[1:]), np.uint8), np.zeros((100, 24), bool)
    more[rows], more_labels[rows] = images, labels
    losses = []
    for given in ((images, labels, 8, None), (more, more_labels, 8, rows)):
        training = Training(TINY, build_model(TINY), CPU)
        losses.append([progress.loss for progress in train(training, *given)])
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[0], PINNED_LOSSES, rtol=1e-3)
