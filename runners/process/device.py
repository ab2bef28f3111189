"""The device of this process: made its own, waited for, told how to compute, and named."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

UPLOADED = 1024  # images at a time: 12 MB of images at 64x64


def use(device: torch.device) -> None:
    """Make a GPU this process's own: what asks for no device in particular, a recording's stream too, is on it."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.set_device(device)


def synchronize(device: torch.device) -> None:
    """Return when the device has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def upload(
    images_NHWC: NDArray[np.uint8],
    rows_M: NDArray[np.int64],
    device: torch.device,
    axes: tuple[int, ...] = (0, 1, 2, 3),
) -> torch.Tensor:
    """The images of `rows_M` on the device, uint8 (M, H, W, C), or with their `axes` in another order.

    Of a memory map no more than a piece at a time is copied into this process's memory.
    """
    shape = (len(rows_M), *images_NHWC.shape[1:])
    found = torch.empty([shape[axis] for axis in axes], dtype=torch.uint8, device=device)
    for start in range(0, len(rows_M), UPLOADED):
        piece_BHWC = np.array(images_NHWC[rows_M[start : start + UPLOADED]])
        found[start : start + UPLOADED] = torch.from_numpy(piece_BHWC).permute(axes)
    return found


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """The algorithms that a GPU computes with meanwhile; before and after they are what they were.

    `deterministic`: the same bits from the same numbers, or an error where an operation has no such algorithm; else the
    fastest, for which cuDNN tries the kernels of each shape once. Either way products and convolutions of fp32 are
    IEEE fp32, as long as nobody asks for `tf32`.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_deterministic_debug_mode()
    try:
        cudnn.benchmark, cudnn.deterministic = not deterministic, deterministic
        torch.use_deterministic_algorithms(deterministic)
        with tf32(False):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic, mode = before
        torch.set_deterministic_debug_mode(mode)


@contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """Whether products and convolutions of fp32 round their factors to TF32, 10 bits, meanwhile; what torch comes with
    is yes for convolutions and no for products.

    Through the two older flags: the newer `fp32_precision` makes reading those an error, and torch's compiler reads
    them.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = wanted
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def arithmetic() -> str:
    """The flags of this moment, in words."""
    flags = torch.backends
    words = {
        "matmul": "tf32" if flags.cuda.matmul.allow_tf32 else "ieee",
        "convolution": "tf32" if flags.cudnn.allow_tf32 else "ieee",
        "cuDNN": "fastest" if flags.cudnn.benchmark else "default",
        "deterministic": "yes" if torch.are_deterministic_algorithms_enabled() else "no",
    }
    return ", ".join(f"{name} {value}" for name, value in words.items())


def name(device: torch.device) -> str:
    """A GPU's model; the processor's where Linux tells it, else its architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
