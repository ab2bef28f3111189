"""File systems that lack something, as every Python process of a command meets them; real ones need rights to mount."""

from __future__ import annotations

import os
from pathlib import Path

from launch import ROOT

# Before anything else: what a process of the command loads finds the calls replaced.
PRELUDE = """
import errno, fcntl, os, stat

def refuse(number):
    raise OSError(number, os.strerror(number))
"""
FOLDERS_UNSYNCED = """
really = os.fsync
os.fsync = lambda file: (
    refuse({number})
    if stat.S_ISDIR(os.fstat(file if isinstance(file, int) else file.fileno()).st_mode)
    else really(file)
)
"""
WITHOUT_FLOCK = "fcntl.flock = lambda file, operation: refuse({number})\n"
WITHOUT_LOCKS = WITHOUT_FLOCK + "fcntl.lockf = fcntl.flock\n"
UNDRAWN = f"exec(open({str(ROOT / 'tests' / 'undrawn' / 'sitecustomize.py')!r}).read())\n"


def environment(folder: Path, *replaced: str, number: int, drawn: bool = True) -> dict[str, str]:
    """Of a command whose processes meet the errors; `folder` gets the file that replaces the calls."""
    folder.mkdir(exist_ok=True)
    text = PRELUDE + "".join(replaced).format(number=number) + ("" if drawn else UNDRAWN)
    (folder / "sitecustomize.py").write_text(text)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
