"""Files that may not be read, also for root, who may read everything: without its rights over files for a while."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OTHERS = 65534  # the user nobody
VERSION = 0x20080522  # of the kernel's structures (capabilities(7), Linux 2.6.26)
OVERRIDE = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
ROOT = os.geteuid() == 0
# Before a command: the same without these rights. Needs root.
WITHOUT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
HAS_SETPRIV = ROOT and shutil.which("setpriv") is not None


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def unprivileged() -> Iterator[None]:
    """This thread, and threads that it starts, with the rights over files that everybody has."""
    if not ROOT:
        yield
        return
    libc, header, sets = ctypes.CDLL(None, use_errno=True), _Header(VERSION, 0), (_Set * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    sets[0].effective &= ~OVERRIDE
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0


def close(path: Path) -> None:
    """Nobody but its owner may read a file or enter a folder: somebody else where the tests run as root, else the
    owner has taken the right from himself."""
    if ROOT:
        os.chown(path, OTHERS, OTHERS)
        path.chmod(0o700 if path.is_dir() else 0o600)
    else:
        path.chmod(0)


def reopen(path: Path) -> None:
    """Give the rights back, or pytest cannot remove the folder."""
    path.chmod(0o700)
