"""What an evaluator sees in real images: the references of its scores, found once per process.

Shapes: N images, L labels, D features; images uint8 (N, H, W, 3).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from runners.evaluation import calibration, copies, diversity, quality, recognition
from runners.evaluation.evaluator import OPEN, Evaluator
from runners.evaluation.networks import Network
from runners.experiment import Task
from runners.images import Images, open_images

FEATURES = 200  # held-out images whose features are kept: as many as a map of dots can take
REFERENCES = 2048  # images that samples are compared with in features: as many as KID is usually taken with
ALIKE = 16  # real images of one condition whose distances are taken
Views = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Real:
    """What an evaluator sees in real images.

    `named_NL`, bool: the labels that it names in all held-out ones; without labels (N, 0). `features_ND`, float16, and
    `labels_NL`, bool: of some held-out ones, of different units. `references_ND`, float32: features of up to 2,048
    images of different units, held out or not. `distances`: `quality.held_out_distances`, by the groups of `groups`.
    `calibrated`: of its probabilities in the held-out ones; without labels None.
    """

    named_NL: NDArray[np.bool_]
    features_ND: NDArray[np.float16]
    labels_NL: NDArray[np.bool_]
    references_ND: NDArray[np.float32]
    distances: Mapping[int, quality.Floats]
    calibrated: calibration.Calibration | None


@functools.lru_cache(OPEN)
def seen(evaluator: Evaluator, data_path: str, device: str, task: Task) -> Real:
    """What an evaluator sees in the images of a path, once per process."""
    images, model = open_images(Path(data_path)), evaluator.model
    rows = images.held_out_indices
    named_NL, calibrated = _named(images, model, device, task)
    some = images.one_of_each_unit(rows)[:FEATURES]
    return Real(
        named_NL=named_NL,
        features_ND=recognition.features(model, images.images_NHWC[some], device).astype(np.float16),
        labels_NL=images.labels_NK[some],
        references_ND=recognition.features(model, images.images_NHWC[references(images)], device),
        distances=quality.held_out_distances(images, groups(images, task)[1], torch.device(device)),
        calibrated=calibrated,
    )


def _named(
    images: Images, model: Network, device: str, task: Task
) -> tuple[NDArray[np.bool_], calibration.Calibration | None]:
    asked_NL = images.labels_NK[images.held_out_indices]
    if task.kind == "none":
        return asked_NL, None
    probability_NL = recognition.probabilities(model, images.images_NHWC[images.held_out_indices], device)
    measure = calibration.of_classes if task.kind == "class" else calibration.of_sets
    return recognition.top(probability_NL, asked_NL), measure(probability_NL, asked_NL)


def references(images: Images) -> NDArray[np.int64]:
    """Rows of up to 2,048 images of different units, in their order: the same for every evaluator."""
    rows = images.one_of_each_unit(np.sort(np.concatenate([images.train_indices, images.held_out_indices])))
    chosen = np.random.default_rng(0).permutation(len(rows))[:REFERENCES]
    return rows[np.sort(chosen)]


def groups(images: Images, task: Task) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What samples of all lists and held-out images are compared by: their number of objects, their class where each
    has held-out images enough, else 0 for all of them."""
    asked_NL = np.concatenate([images.hot(conditions) for conditions in images.lists.values() if conditions])
    real_NL = images.labels_NK[images.held_out_indices]
    if task.kind == "set":
        return asked_NL.sum(1), real_NL.sum(1)
    if task.kind == "class":
        sampled_N, held_out_N = copies.matched(asked_NL.argmax(1), real_NL.argmax(1))
        return sampled_N.astype(np.int64), held_out_N.astype(np.int64)
    return np.zeros(len(asked_NL), dtype=np.int64), np.zeros(len(real_NL), dtype=np.int64)


def views(model: Network, images_NHWC: quality.Pixels, device: str) -> Views:
    """Features of both `diversity.views` of images, (N, D) each."""
    if not len(images_NHWC):
        return np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32)
    first, second = diversity.views(images_NHWC)
    return recognition.features(model, first, device), recognition.features(model, second, device)


@functools.lru_cache(OPEN)
def of_conditions(
    evaluator: Evaluator, data_path: str, device: str, conditions: tuple[tuple[str, ...], ...]
) -> Sequence[Views]:
    """`views` of up to 16 real images of each condition, of different units."""
    images, model = open_images(Path(data_path)), evaluator.model
    found = []
    for asked_L in images.hot(conditions):
        alike = np.flatnonzero((images.labels_NK == asked_L).all(1))
        found.append(views(model, images.images_NHWC[images.one_of_each_unit(alike)[:ALIKE]], device))
    return found
