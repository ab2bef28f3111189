"""Memory that a process needs no longer: given back by the process, or taken in another one that ends."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runners.process import apart, memory

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


def test_without_a_process_it_is_called_here():
    assert apart.call(os.getpid) == os.getpid()


def test_one_process_serves_a_block_and_ends_with_it():
    with apart.opened():
        first, second = apart.call(os.getpid), apart.call(os.getpid)
        assert first == second != os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            apart.call(int, "three")
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert apart.call(os.getpid) == os.getpid()


def end_there(parent: int) -> str:
    """Ends every process but one."""
    if os.getpid() != parent:
        os._exit(1)
    return "here"


def test_a_process_that_dies_costs_no_result():
    with apart.opened():
        assert apart.call(end_there, os.getpid()) == "here"


COUNT = """
import sys
from runners import models
from runners.process import apart

with apart.opened():
    print(models.measure("unet(channels=(16, 32), groups=8)", 16, 7, 1000))
    try:
        models.measure("unet(channels=(16, 32), groups=7)", 16, 7, 1000)
    except ValueError as error:
        print(error)
assert "diffusers" not in sys.modules
print(models.count("unet(channels=(16, 32), groups=8)", 16, 7, 1000))
"""


def test_a_network_is_counted_without_its_libraries():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=240)
    there, error, here = done.stdout.splitlines() or [done.stderr, "", ""]
    assert there == here
    assert "groups=7" in error
