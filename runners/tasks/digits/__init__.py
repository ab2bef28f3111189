"""The built-in digits: 1,797 real ones of ten classes, on black or on photographs; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping

from runners import saturated
from runners.config import Scalar
from runners.tasks.digits.source import produce, stored, task

__all__ = ["SCALES", "produce", "stored", "task"]

SCALES: Mapping[str, Mapping[str, Scalar]] = {
    **saturated.SCALES,
    # Recorded at 8x8, they gain nothing from more.
    "workstation": {**saturated.SCALES["workstation"], "image_size": 32},
    "gpu": {**saturated.SCALES["gpu"], "image_size": 32},
    "paper": {"image_size": 32},
}
