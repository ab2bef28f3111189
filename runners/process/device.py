"""The device of this process: made its own, waited for, and named."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def use(device: torch.device) -> None:
    """Make a GPU this process's own: what asks for no device in particular, a recording's stream too, is on it."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.set_device(device)


def synchronize(device: torch.device) -> None:
    """Return when the device has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def be_deterministic(wanted: bool) -> None:
    """The same bits from the same numbers on a GPU too, or an error where an operation has no such algorithm."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.backends.cudnn.benchmark = not wanted  # try the kernels of each shape once and keep the fastest
    torch.use_deterministic_algorithms(wanted)


def name(device: torch.device) -> str:
    """A GPU's model; the processor's where Linux tells it, else its architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
