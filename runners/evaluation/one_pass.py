"""The score of one pass over a list: what a learning curve follows.

Shapes: N conditions, D features; images uint8 (N, H, W, 3).
"""

from __future__ import annotations

import torch

from runners.contents import Pixels
from runners.evaluation import recognition
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.kernel_distance import kernel_distance
from runners.evaluation.real import references
from runners.experiment import Task
from runners.images import Images

_features: dict[tuple[Evaluator, str], recognition.Features] = {}  # of the references, once per process


def score(
    task: Task, evaluator: Evaluator, images: Images, name: str, drawn_NHWC: Pixels, device: torch.device
) -> float:
    """The task's metric of samples for every condition of list `name`: accuracy, or KID where there are no labels."""
    if task.kind != "none":
        asked_NK = images.hot(images.lists[name])
        return recognition.accuracy(recognition.predict(evaluator.model, drawn_NHWC, asked_NK, device), asked_NK)
    key = (evaluator, images.digest)
    if key not in _features:
        _features.clear()
        _features[key] = recognition.features(evaluator.model, images.images_NHWC[references(images)], device)
    return kernel_distance(recognition.features(evaluator.model, drawn_NHWC, device), _features[key]).value
