"""The cores and the memory that a process may use: of the machine, of its affinity, of its container."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from launch import ROOT

from runners.process import cgroups, cores, memory

ASKED_ONCE = {"cpu_count", "process_cpu_count", "sched_getaffinity", "SC_NPROCESSORS_ONLN", "SC_PHYS_PAGES", "cpu.max"}
ANSWERED_IN = {"runners/process/cores.py", "runners/process/cgroups.py", "runners/process/memory.py"}


def machine(folder: Path, groups: str, mounts: str, **files: str) -> Path:
    """A folder of a process in /proc; `groups` and `mounts`: lines of its cgroup and mountinfo, files: path -> text, in
    which two underscores are a slash."""
    process = folder / "4321"
    process.mkdir()
    (process / "cgroup").write_text(groups)
    (process / "mountinfo").write_text(mounts.replace("SYS", str(folder / "sys").replace(" ", "\\040")))
    for name, text in files.items():
        path = folder / "sys" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return process


V1 = "32 31 0:29 {root} SYS/{folder} rw,relatime - cgroup cgroup rw,{controllers}\n"
V2 = "41 31 0:38 {root} SYS{folder} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
CASES = {
    "version 2, a container": (
        "0::/\n", V2.format(root="/", folder=""), {"cpu.max": "100000 100000", "memory.max": "2000000000"},
    ),
    "version 2, the limit is a group's above": (
        "0::/slurm/job_7/step\n",
        V2.format(root="/", folder=""),
        {
            "slurm__job_7__step__cpu.max": "max 100000", "slurm__job_7__cpu.max": "100000 100000",
            "slurm__job_7__step__memory.max": "max", "slurm__memory.max": "2000000000",
        },
    ),
    "version 2, the path is the host's": (
        "0::/docker/abc\n", V2.format(root="/docker/abc", folder=""),
        {"cpu.max": "100000 100000", "memory.max": "2000000000"},
    ),
    "version 2 beside version 1": (
        "1:name=systemd:/\n0::/job\n",
        V1.format(root="/", folder="systemd", controllers="name=systemd") + V2.format(root="/", folder="/unified"),
        {"unified__job__cpu.max": "100000 100000", "unified__job__memory.max": "2000000000"},
    ),
    "version 1, Docker": (
        "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
        V1.format(root="/docker/abc", folder="cpu", controllers="cpu,cpuacct")
        + V1.format(root="/docker/abc", folder="memory", controllers="memory"),
        {
            "cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000",
            "memory__memory.limit_in_bytes": "2000000000",
        },
    ),
    "version 1, no link named cpu": (
        "5:memory:/\n4:cpu,cpuacct:/\n",
        V1.format(root="/", folder="cpu,cpuacct", controllers="cpu,cpuacct")
        + V1.format(root="/", folder="memory", controllers="memory"),
        {
            "cpu,cpuacct__cpu.cfs_quota_us": "50000", "cpu,cpuacct__cpu.cfs_period_us": "100000",
            "memory__memory.limit_in_bytes": "2000000000",
        },
    ),
    "version 1, mounted outside of the namespace": (
        "5:memory:/\n4:cpu:/\n",
        V1.format(root="/../..", folder="cpu", controllers="cpu")
        + V1.format(root="/..", folder="m", controllers="memory"),
        {
            "cpu__a__b__cpu.cfs_quota_us": "100000", "cpu__a__b__cpu.cfs_period_us": "100000",
            "cpu__a__b__cgroup.procs": "77\n4321\n", "cpu__a__c__cgroup.procs": "78\n",
            "m__job__memory.limit_in_bytes": "2000000000", "m__job__below__cgroup.procs": "4321\n",
            "m__other__memory.limit_in_bytes": "1000", "m__other__cgroup.procs": "1\n",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_containers_limits_are_found(tmp_path: Path, case: str) -> None:
    groups, mounts, files = CASES[case]
    folder = tmp_path / "a b"  # mountinfo writes the space in octal
    folder.mkdir()
    process = machine(folder, groups, mounts, **files)
    assert 0 < min(cgroups.cpu_quotas(process)) <= 1
    assert min(cgroups.memory_limits(process)) == 2_000_000_000


@pytest.mark.parametrize(
    ("groups", "mounts", "files"),
    [
        ("", "", {}),  # no control groups: macOS, a container without /sys
        ("0::/\n", V2.format(root="/", folder=""), {"cpu.max": "max 100000", "memory.max": "max"}),
        (
            "4:cpu:/\n",
            V1.format(root="/", folder="cpu", controllers="cpu"),
            {"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"},
        ),
        ("4:cpu:/gone\n", V1.format(root="/../..", folder="cpu", controllers="cpu"), {}),
    ],
)
def test_no_limit_is_none(tmp_path: Path, groups: str, mounts: str, files: dict[str, str]) -> None:
    process = machine(tmp_path, groups, mounts, **files)
    assert [*cgroups.cpu_quotas(process), *cgroups.memory_limits(process)] == []


@pytest.mark.parametrize(("quotas", "usable"), [([], 8), ([1.0], 1), ([1.5, 6.0], 2), ([0.1], 1), ([64.0], 8)])
def test_the_least_of_all_counts(monkeypatch: pytest.MonkeyPatch, quotas: list[float], usable: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 48)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "cpu_quotas", lambda: iter(quotas))
    assert cores.usable() == usable


def test_the_memory_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.capacity_mb(torch.device("cpu"))
    monkeypatch.setattr(memory, "memory_limits", lambda: iter([2_000_000_000, 2**63 - 4096]))
    assert memory.capacity_mb(torch.device("cpu")) == 2000 < whole


@pytest.mark.parametrize(("given", "told"), [(None, "1"), ("3", "3")])
def test_libraries_with_threads_of_their_own_are_told_of_a_quota(
    monkeypatch: pytest.MonkeyPatch, given: str | None, told: str
) -> None:
    monkeypatch.setattr(cores, "_bound", lambda: 48)
    monkeypatch.setattr(cores, "cpu_quotas", lambda: iter([1.0]))
    monkeypatch.setattr(os, "environ", {} if given is None else {"OMP_NUM_THREADS": given})
    cores.limit_libraries()
    assert os.environ == {"OMP_NUM_THREADS": told}


def test_libraries_are_told_nothing_without_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cpu_quotas", lambda: iter([]))
    monkeypatch.setattr(os, "environ", {})
    cores.limit_libraries()
    assert os.environ == {}


def test_the_machine_is_asked_in_one_place() -> None:
    found = set()
    for room in ("study", "runners", "analysis", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            words |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            words |= {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
            if words & ASKED_ONCE:
                found.add(path.relative_to(ROOT).as_posix())
    assert found == ANSWERED_IN


# --- real processes --------------------------------------------------------------------------------------

EVERYWHERE = """
import sys
from analysis.pages.figure_pool import spare_cores
from runners import render
from study.executors.local import slots
print(len(slots(["cpu"], None)), slots(["cuda:0"], None)[0].threads, spare_cores() + 1)
render.write_folder = lambda **given: print(given["workers"])
render.main([sys.argv[1]])
"""


def answers(folder: Path, before: str = "", around: tuple[str, ...] = ()) -> list[int]:
    program = [*around, sys.executable, "-c", before + EVERYWHERE, str(folder / "new")]
    done = subprocess.run(program, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_is_bound_to_one_core_of_many_uses_one(tmp_path: Path) -> None:
    """`taskset`, Slurm; on a machine of 48."""
    bound = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); os.cpu_count = lambda: 48\n"
    assert answers(tmp_path, bound) == [1] * 4


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this machine with a quota of one core."""
    mounts = Path("/proc/self/mountinfo")
    lines = mounts.read_text().splitlines() if mounts.exists() else []
    found = [
        line.split(" ")[4] for line in lines if " - cgroup" in line and Path(line.split(" ")[4], "cpu.stat").exists()
    ]
    old = [Path(one) for one in found if Path(one, "cpu.cfs_quota_us").exists()]
    new = [Path(one) for one in found if Path(one, "cgroup.controllers").exists()]
    new = [one for one in new if "cpu" in (one / "cgroup.subtree_control").read_text().split()]
    if os.geteuid() != 0 or not (old or new):
        pytest.skip("a control group with a quota needs root, and the controller cpu")
    folder = (old or new)[0] / f"test-cores-{os.getpid()}"
    try:
        folder.mkdir()
        name = "cpu.cfs_quota_us" if old else "cpu.max"
        (folder / name).write_text("100000" if old else "100000 100000")
    except OSError as error:
        pytest.skip(f"this machine gives no quota: {error}")
    yield folder
    folder.rmdir()


@pytest.mark.parametrize("namespace", [False, True])
def test_a_quota_of_one_core_is_one_worker(tmp_path: Path, group: Path, namespace: bool) -> None:
    """The second time the group is hidden behind a namespace, as in a container that sees the host's mounts."""
    inside = ("unshare", "--cgroup") if namespace else ()
    around = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *inside)
    assert answers(tmp_path, around=around) == [1] * 4


FLAGS = {
    "x86 with": ("flags\t\t: fpu avx512f avx512_bf16\nflags\t\t: fpu avx512f avx512_bf16\n", False),
    "x86 with, as matrices": ("flags\t\t: fpu amx_bf16 amx_tile\n", False),
    "x86 without": ("flags\t\t: fpu avx2 avx512f\n", True),
    "one kind of core without": ("flags\t\t: fpu avx512_bf16\nflags\t\t: fpu avx2\n", True),
    "Arm with": ("Features\t: fp asimd bf16\n", False),
    "Arm without": ("Features\t: fp asimd\n", True),
    "nothing said": ("processor\t: 0\n", False),
}


@pytest.mark.parametrize(("text", "slow"), FLAGS.values(), ids=FLAGS)
def test_cores_without_bf16_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, slow: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cores, "CPU_INFO", tmp_path / "cpuinfo")
    assert cores.slow_bf16() is slow


def test_where_nobody_says_what_cores_can_do_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "CPU_INFO", tmp_path / "none")
    assert not cores.slow_bf16()
