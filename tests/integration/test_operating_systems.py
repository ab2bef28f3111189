"""On Windows, and where Python lacks what Linux and macOS have, every command is refused in one sentence; what needs
none of it goes on working."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT

LIBRARIES = ("torch", "numpy", "mlflow", "optuna", "pandas", "diffusers", "rich", "pydantic")
REFUSED = [
    ("study/run.py", "--study", "null", "--scale", "smoke", "--dry-run"),
    ("study/run.py", "--list"),
    ("study/ui.py",),
    ("study/doctor.py",),
    ("study/sizes.py",),
    ("-m", "study.run", "--help"),
    ("-m", "study.ui"),
    ("-m", "study.doctor"),
    ("-m", "study.sizes"),
    ("-m", "runners.process.worker"),
    ("-m", "runners.process.benchmark"),
    ("-m", "benchmarks.bench"),
    ("-m", "benchmarks.laptop"),
    ("-m", "benchmarks.growth"),
    ("-m", "benchmarks.gpu"),
]
GOES_ON = [("-m", "runners.render", "--help"), ("analysis/report.py", "--help")]


def run(folder: Path, customised: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(customised)
    path = os.pathsep.join([str(folder), str(ROOT)])
    program = [sys.executable, *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, input="")


def lacking(*modules: str) -> str:
    """A Python without some modules: an import of one raises what it raises on Windows. Libraries too, so that nothing
    is asked of them first."""
    return f"import sys\nfor name in {modules}: sys.modules[name] = None\n"


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_every_command_is_refused_before_a_library_is_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, lacking("fcntl", "resource", "termios", "pwd", "grp", *LIBRARIES), *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("This Python lacks the module fcntl")
    assert "WSL 2" in done.stderr


@pytest.mark.parametrize("arguments", REFUSED[:1], ids=" ".join)
@pytest.mark.parametrize(
    ("customised", "said"),
    [
        ("import sys; sys.platform = 'win32'\n", "Windows is supported through WSL 2 only: "),
        (lacking("resource"), "This Python lacks the module resource, "),
    ],
)
def test_each_thing_that_is_missing_has_its_sentence(
    tmp_path: Path, arguments: tuple[str, ...], customised: str, said: str
) -> None:
    done = run(tmp_path, customised, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", GOES_ON, ids=" ".join)
def test_what_needs_no_locks_is_not_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, lacking("fcntl", "resource", "termios", "pwd", "grp"), *arguments)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_report_is_made_without_locks(tmp_path: Path, miniature_record: Path) -> None:
    arguments = ("analysis/report.py", "--record", str(miniature_record), "--out", str(tmp_path / "out"))
    undrawn = (ROOT / "tests" / "undrawn" / "sitecustomize.py").read_text()
    done = run(tmp_path, lacking("fcntl", "resource", "termios") + undrawn, *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").is_file()


def test_every_command_of_the_project_is_in_these_lists() -> None:
    def command(path: Path) -> bool:
        return '__name__ == "__main__"' in path.read_text(encoding="utf-8")

    rooms = ("study", "runners", "analysis", "benchmarks")
    found = {path.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("*.py") if command(path)}
    told = {
        Path(words[0]) if words[0] != "-m" else Path(words[1].replace(".", "/") + ".py")
        for words in (*REFUSED, *GOES_ON)
    }
    assert found <= told
