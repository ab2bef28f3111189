"""How many CPU cores this process may use: asked here and nowhere else. Standard library only."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable(cgroup: Path = CGROUP) -> int:
    """The least of what the machine has, what this process is bound to, and what its container's quota allows; 1 or
    more. A quota of one and a half cores counts as two."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, bound if quota is None else min(bound, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores that a cgroup of version 2 or 1 allows; None where there is no limit."""
    try:
        if (cgroup / "cpu.max").is_file():
            allowed, period = (cgroup / "cpu.max").read_text().split()
        else:
            allowed = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return float(allowed) / float(period) if float(allowed) > 0 and float(period) > 0 else None
    except (OSError, ValueError):  # no such group, or "max"
        return None
