"""How fast steps are on a device: one measurement, for the execution of a trial and for the workers of a device.

    python -m runners.process.benchmark EXPERIMENT CONFIG DEVICE THREADS EXECUTION DETERMINISTIC

is one of several workers that a launch tries on one device. It runs a trial on noise, under the flags of a trial
(DETERMINISTIC is yes or no): once its first steps are done it says {"execution", "memory_mb", "held_mb", "used_mb",
"capacity_mb"} on standard output, then it answers each number of seconds on a line of standard input with {"images",
"seconds"} of so much work. The end of its input is its own. EXECUTION is "auto" (what a trial would choose on this
device) or what another such worker said that it chose.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from runners.process.system import refuse_windows

if TYPE_CHECKING:
    import torch

WARM_STEPS = 5  # not timed: kernels are chosen, memory is allocated, a graph is recorded


@dataclass(frozen=True)
class Rate:
    """So many images in so many seconds."""

    images: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.images / self.seconds


def measure(steps: Iterator[int], device: torch.device, count: int = 1, seconds: float = 0.0) -> Rate:
    """The rate of at least `count` steps and at least `seconds`; each step yields the images that it took.

    The device is waited for at the start and at the end. Where `seconds` decide, after every step too: else steps would
    be counted that are only queued.
    """
    from runners.process.device import synchronize

    synchronize(device)
    start, images, done = time.perf_counter(), 0, 0
    while done < count or time.perf_counter() - start < seconds:
        images += next(steps)
        done += 1
        if seconds:
            synchronize(device)
    synchronize(device)
    return Rate(images, time.perf_counter() - start)


def main() -> None:
    refuse_windows()
    import torch

    from runners.experiment import find
    from runners.process import device as devices
    from runners.process import memory

    name, fields, device_name, threads, execution, deterministic = sys.argv[1:]
    experiment, device = find(name), torch.device(device_name)
    devices.use(device)
    torch.set_num_threads(int(threads))
    with devices.algorithms(deterministic == "yes"):
        execution, steps = experiment.steps(experiment.Config.from_dict(json.loads(fields)), device_name, execution)
        measure(steps, device, WARM_STEPS)
        taken = {
            "memory_mb": memory.reserved_mb(device),
            "held_mb": memory.held_mb(device),
            "used_mb": memory.used_mb(device),
            "capacity_mb": memory.capacity_mb(device),
        }
        print(json.dumps({"execution": execution, **taken}), flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(measure(steps, device, seconds=float(line)))), flush=True)


if __name__ == "__main__":
    main()
