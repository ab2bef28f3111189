"""How many CPU cores this process may use. Standard library only."""

from __future__ import annotations

import math
import os

from runners.process.cgroups import cpu_quotas


def usable() -> int:
    """The least of: the cores of this machine, those that the process is bound to, and the quota of its container.

    A quota of 1.5 cores counts as 2: two processes use all of it, one would leave a third.
    """
    limits = [_bound(), *(math.ceil(quota) for quota in cpu_quotas())]
    return max(1, min(limits))


def limit_libraries() -> None:
    """Tell libraries that are imported from now on, here and in processes that are started, of a quota.

    OpenMP and OpenBLAS start a thread per core that the process is bound to: on a large machine dozens, which a quota
    of one core then stops in turn. What the user set is left alone.
    """
    if (cores := usable()) < _bound():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def _bound() -> int:
    """The cores that the process may run on: what libraries of numerical threads see."""
    cores = os.cpu_count() or 1
    return min(cores, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cores
