"""What an evaluator sees in images: its outputs, the labels it names, and how many of those asked for are among them.

Shapes in names: N images, H height, W width, C channels (RGB), K = 24 labels (8 colours x 3 shapes).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runners.evaluation.networks import ResNet18
from runners.process import heartbeat
from runners.process.device import tf32
from runners.tasks.iclevr.labels import LABELS

Images = npt.NDArray[np.uint8]  # (N, H, W, 3)
Labels = npt.NDArray[np.bool_]  # (N, 24)
Counts = npt.NDArray[np.int64]  # (N,)


def as_inputs(images_NHWC: Images, device: str | torch.device = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in [-1, 1], the official Normalize(.5, .5); channels last in memory."""
    return scaled(torch.from_numpy(np.array(images_NHWC)).to(device))  # a copy: a memory map is often read-only


def scaled(images_BHWC: Tensor) -> Tensor:
    return images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def probabilities(
    model: ResNet18, images_NHWC: Images, device: str | torch.device = "cpu", batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """(N, 24): the evaluator's outputs, in IEEE fp32. Moves `model` to `device` and into eval mode and leaves it so."""
    model.to(device).eval()
    parts = []
    with tf32(False):
        for start in range(0, len(images_NHWC), batch_size):
            parts.append(model(as_inputs(images_NHWC[start : start + batch_size], device)).float().cpu().numpy())
            heartbeat.tick()
    return np.concatenate(parts) if parts else np.empty((0, len(LABELS)), np.float32)


def top(probability_NK: npt.NDArray[np.float32], labels: Labels) -> Labels:
    """(N, 24): per image the k largest outputs, where k is the number of labels asked (ties: the lower index)."""
    if len(probability_NK) != len(labels):
        raise ValueError(f"{len(probability_NK)} images but {len(labels)} rows of labels: give one row per image.")
    rank_NK = np.argsort(np.argsort(-probability_NK, axis=1, kind="stable"), axis=1)
    chosen: Labels = rank_NK < labels.sum(1, keepdims=True)
    return chosen


def predict(
    model: ResNet18, images_NHWC: Images, labels: Labels, device: str | torch.device = "cpu", batch_size: int = 256
) -> Labels:
    """(N, 24): the labels that the evaluator names in each image, as many as were asked (the official rule)."""
    return top(probabilities(model, images_NHWC, device, batch_size), labels)


def hits(predicted: Labels, labels: Labels) -> Counts:
    """(N,): how many of the labels asked are among those predicted."""
    count: Counts = (predicted & labels).sum(1).astype(np.int64)
    return count


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Hits / objects over the whole list (micro): an image of three objects weighs three times one of a single."""
    return float(hits(predicted, labels).sum() / labels.sum())
