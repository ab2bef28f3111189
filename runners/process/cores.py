"""How many CPU cores this process may use, and what they can do. Standard library only."""

from __future__ import annotations

import math
import os
from pathlib import Path

from runners.process.cgroups import cpu_quotas


def usable() -> int:
    """The least of: the cores of this machine, those that the process is bound to, and the quota of its container.

    A quota of 1.5 cores counts as 2: two processes use all of it, one would leave a third.
    """
    limits = [_bound(), *(math.ceil(quota) for quota in cpu_quotas())]
    return max(1, min(limits))


BF16 = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})  # as Linux names them, the last one on Arm
CPU_INFO = Path("/proc/cpuinfo")


def slow_bf16() -> bool:
    """Whether the cores are known to have no instructions for bf16: then it is computed by way of fp32, and slower.

    Only Linux says what cores can do; elsewhere nothing is known, and False.
    """
    try:
        lines = CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith(("flags", "Features"))]
    return bool(flags) and not all(of_core & BF16 for of_core in flags)


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
