"""One worker of a pilot: trains on noise when told to, and tells how fast it was and what memory it took.

    python -m runners.process.benchmark CONFIG DEVICE THREADS graphed|plain

Says {"memory_mb", "capacity_mb"} on standard output once its first steps are done; then answers each number of seconds
on a line of standard input with {"images", "seconds"} of so much training. Its input's end is its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WARM = 5  # steps before the first word: kernels are chosen, memory is allocated, a graph is recorded


def main() -> None:
    import torch

    from runners.ddpm.config import TrialConfig
    from runners.ddpm.execution import ENDLESS, noise_images, use
    from runners.ddpm.train import Execution, Training, train
    from runners.ddpm.trial import build_model

    config = TrialConfig.from_dict(json.loads(sys.argv[1])).replace(total_images=ENDLESS)
    device = torch.device(sys.argv[2])
    use(device)
    torch.set_num_threads(int(sys.argv[3]))
    # The pilot of each trial chooses among more; a graph is what most changes how many workers pay on a GPU.
    training = Training(config, build_model(config), device, Execution(graphed=sys.argv[4] == "graphed"))
    steps = train(training, *noise_images(config), report_images=ENDLESS)
    for _ in range(WARM):
        next(steps)
    _wait(device)
    print(json.dumps({"memory_mb": taken_mb(device), "capacity_mb": capacity_mb(device)}), flush=True)
    for line in sys.stdin:
        first, start = training.images, time.perf_counter()
        while time.perf_counter() - start < float(line):
            next(steps)
            _wait(device)  # otherwise steps would be counted that are only queued
        print(json.dumps({"images": training.images - first, "seconds": time.perf_counter() - start}), flush=True)


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def taken_mb(device: torch.device) -> float:
    """What this process has taken of the device at most, whether it used it or not: it is that which others lack."""
    import torch

    from runners.ddpm.trial import peak_memory_mb

    return torch.cuda.max_memory_reserved(device) / 1e6 if device.type == "cuda" else peak_memory_mb(device)


def capacity_mb(device: torch.device) -> float:
    """Memory of the device, or of this machine. Megabytes (1e6 bytes)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1] / 1e6
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


if __name__ == "__main__":
    main()
