"""What an evaluator sees in images: its outputs, the labels it names, and how many of those asked for are among them.

Shapes in names: N images, H height, W width, C channels (RGB), D features, K labels or classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runners.evaluation.networks import Network
from runners.process import heartbeat
from runners.process.device import tf32

Images = npt.NDArray[np.uint8]  # (N, H, W, 3)
Labels = npt.NDArray[np.bool_]  # (N, K)
Counts = npt.NDArray[np.int64]  # (N,)
Features = npt.NDArray[np.float32]  # (N, D)


def as_inputs(images_NHWC: Images, device: str | torch.device = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in [-1, 1], the official Normalize(.5, .5); channels last in memory."""
    return scaled(torch.from_numpy(np.array(images_NHWC)).to(device))  # a copy: a memory map is often read-only


def scaled(images_BHWC: Tensor) -> Tensor:
    return images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def probabilities(
    model: Network, images_NHWC: Images, device: str | torch.device = "cpu", batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """(N, K): the evaluator's outputs, in IEEE fp32. Moves `model` to `device` and into eval mode and leaves it so."""
    parts = _outputs(model, model, images_NHWC, device, batch_size)
    return np.concatenate(parts) if parts else np.empty((0, model.classes), np.float32)


def features(
    model: Network, images_NHWC: Images, device: str | torch.device = "cpu", batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """(N, D) for N > 0: what distances between images are taken in; otherwise as `probabilities`."""
    return np.concatenate(_outputs(model, model.features, images_NHWC, device, batch_size))


@torch.no_grad()
def _outputs(
    model: Network,
    function: Callable[[Tensor], Tensor],
    images_NHWC: Images,
    device: str | torch.device,
    batch_size: int,
) -> list[npt.NDArray[np.float32]]:
    model.to(device).eval()
    parts = []
    with tf32(False):
        for start in range(0, len(images_NHWC), batch_size):
            parts.append(function(as_inputs(images_NHWC[start : start + batch_size], device)).float().cpu().numpy())
            heartbeat.tick()
    return parts


def top(probability_NK: npt.NDArray[np.float32], labels: Labels) -> Labels:
    """(N, K): per image the k largest outputs, where k is the number of labels asked (ties: the lower index)."""
    if len(probability_NK) != len(labels):
        raise ValueError(f"{len(probability_NK)} images but {len(labels)} rows of labels: give one row per image.")
    rank_NK = np.argsort(np.argsort(-probability_NK, axis=1, kind="stable"), axis=1)
    chosen: Labels = rank_NK < labels.sum(1, keepdims=True)
    return chosen


def predict(
    model: Network, images_NHWC: Images, labels: Labels, device: str | torch.device = "cpu", batch_size: int = 256
) -> Labels:
    """(N, K): the labels that the evaluator names in each image, as many as were asked (the official rule)."""
    return top(probabilities(model, images_NHWC, device, batch_size), labels)


def hits(predicted: Labels, labels: Labels) -> Counts:
    """(N,): how many of the labels asked are among those predicted."""
    count: Counts = (predicted & labels).sum(1).astype(np.int64)
    return count


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Hits / objects over the whole list (micro): an image of three objects weighs three times one of a single."""
    return float(hits(predicted, labels).sum() / labels.sum())
