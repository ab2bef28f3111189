"""What control groups grant this process: the limits of a container, a systemd unit, a job of a cluster.

Both versions of control groups (Linux, cgroups(7)), wherever their files are mounted. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROCESS = Path("/proc/self")
V2 = ""  # what /proc/self/cgroup calls the one hierarchy of version 2, instead of controllers


def cpu_quotas(process: Path = PROCESS) -> Iterator[float]:
    """Every limit in cores: of the process's own group and of all groups above. `process`: its folder in /proc."""
    for folder in folders("cpu", process):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()  # version 2; "max" is no number
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:  # version 1; -1 is none
                yield int(quota) / int(period)


def memory_limits(process: Path = PROCESS) -> Iterator[int]:
    """Every limit in bytes, as `cpu_quotas`. Without a limit version 1 says a number that no machine has."""
    for folder in folders("memory", process):
        for name in ("memory.max", "memory.limit_in_bytes"):  # version 2; version 1
            with suppress(OSError, ValueError):
                yield int((folder / name).read_text())


def folders(controller: str, process: Path = PROCESS) -> Iterator[Path]:
    """The folders of the process's group and of all groups above that the machine shows, in each hierarchy that may
    have the controller."""
    mounts = [*_mounts(process)]
    for line in _lines(process / "cgroup"):  # "id:controllers:path"
        _, controllers, path = line.split(":", 2)
        if controllers != V2 and controller not in controllers.split(","):
            continue
        for mount in mounts:
            if not (mount.controllers is None if controllers == V2 else controller in (mount.controllers or ())):
                continue
            group = _group(mount, path, process)
            for folder in (group, *group.parents):
                yield folder
                if folder == mount.folder:
                    break


class _Mount(NamedTuple):
    """A mounted hierarchy: which of its groups stands at the folder, and its controllers, None in version 2."""

    root: str
    folder: Path
    controllers: tuple[str, ...] | None


def _mounts(process: Path) -> Iterator[_Mount]:
    """Of /proc/self/mountinfo: "id parent device root folder options [fields] - type source options", proc(5)."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        with suppress(ValueError, IndexError):
            root, folder = before.split(" ")[3:5]
            kind, _, options = after.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                names = tuple(options.split(",")) if kind == "cgroup" else None
                yield _Mount(_plain(root), Path(_plain(folder)), names)


def _plain(path: str) -> str:
    """A path of mountinfo, in which space, tab, newline and backslash are octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _group(mount: _Mount, path: str, process: Path) -> Path:
    """The folder of the group `path` below a mount; the mount's own where the path is one that a container does not
    see."""
    if mount.root.startswith("/.."):  # mounted outside of the namespace, above its root
        above = [*mount.folder.glob("/".join("*" for _ in mount.root.split("/")[1:]))]
        roots = [folder for folder in above if folder.is_dir() and _holds(folder, process)]
        return roots[0] / path.lstrip("/") if roots else mount.folder
    if path == mount.root or path.startswith(mount.root.rstrip("/") + "/"):
        group = mount.folder / path[len(mount.root) :].lstrip("/")
        return group if group.is_dir() else mount.folder
    return mount.folder


def _holds(folder: Path, process: Path) -> bool:
    """Whether a group or one below it holds this process."""
    own = str(os.getpid() if process == PROCESS else process.name)
    return any(own in _lines(path) for path in folder.rglob("cgroup.procs"))


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return []
