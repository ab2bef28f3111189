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
# The folder in the environment variable FULL takes new files, and nothing into them: what a full disk does.
FULL_FOLDER = """
import builtins, io

class Full:
    really = staticmethod(io.open)

    def __call__(self, file, mode="r", *more, **named):
        path = "" if isinstance(file, int) else os.fsdecode(file)
        if path.startswith(os.environ["FULL"]) and set(mode) & set("wax+"):
            refuse({number})
        return self.really(file, mode, *more, **named)

builtins.open = io.open = Full()
"""
UNDRAWN = f"exec(open({str(ROOT / 'tests' / 'undrawn' / 'sitecustomize.py')!r}).read())\n"


def environment(folder: Path, *replaced: str, number: int, drawn: bool = True) -> dict[str, str]:
    """Of a command whose processes meet the errors; `folder` gets the file that replaces the calls."""
    folder.mkdir(exist_ok=True)
    text = PRELUDE + "".join(replaced).format(number=number) + ("" if drawn else UNDRAWN)
    (folder / "sitecustomize.py").write_text(text)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
