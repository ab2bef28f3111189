"""Memory that a process needs no longer."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from runners.process import memory

PIECE = 1 << 16  # bytes: too little for pages of its own, which the C library would give back at once


def resident() -> int:
    """Bytes of this process that no file holds."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * int(re.search(r"^Anonymous:\s+(\d+)", rollup, re.MULTILINE).group(1))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps and gives as it likes")
def test_freed_memory_is_given_back():
    pieces = [b"x" * PIECE for _ in range(3200)]  # 200 MB
    full = resident()
    del pieces[:-1]  # the last one lies above all others
    memory.give_back()
    assert full - resident() > 150e6
