"""How many CPU cores this process may use. Standard library only."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable() -> int:
    """The least of: the cores of this machine, those that the process is bound to, and the quota of its container.

    A quota of 1.5 cores counts as 2: two processes use all of it, one would leave a third.
    """
    limits = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    limits += [math.ceil(quota) for quota in quotas()]
    return max(1, min(limits))


def quotas(root: Path = CGROUPS, own: Path = OWN_GROUPS) -> Iterator[float]:
    """Every limit in cores that control groups set to this process: its own group's and those of all groups above.

    A line of `own` is "id:controllers:path"; version 2 has the one without controllers, version 1 one for "cpu". In a
    container the path may be one of the host, which is not there: then the root of the hierarchy is the container's.
    """
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            hierarchy = root
        elif "cpu" in controllers.split(","):
            hierarchy = root / "cpu"
        else:
            continue
        group = hierarchy / path.lstrip("/")
        for folder in (group, *group.parents):
            yield from _quota(folder)
            if folder == hierarchy:
                break


def _quota(folder: Path) -> Iterator[float]:
    """A group's limit in cores, if it has one: quota / period, in microseconds."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()  # version 2; "max" is no number
        yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:  # version 1; -1 is none
            yield int(quota) / int(period)
