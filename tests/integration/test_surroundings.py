"""What surrounds a command and is not meant: a user's modules, another copy of the project, a kernel's variables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from runners import experiment
from runners.experiment import ExecutionContext
from runners.process.protocol import Failed, Job
from study.executors.local import LocalExecutor, slots

ROOT = Path(__file__).resolve().parents[2]
# Modules that Python's own helper processes import, and the project's rooms.
NAMES = ("queue", "random", "copy", "pickle", "types", "select", "runners", "study", "analysis", "torch", "mlflow")
RAISE = "raise RuntimeError('a module of the user was imported')\n"
KERNEL = {"MPLBACKEND": "module://matplotlib_inline_of_another_environment"}  # a notebook's kernel sets such a one
PROGRAMS = ("study/run.py", "study/doctor.py", "study/ui.py", "analysis/report.py")


@pytest.fixture
def own_modules(tmp_path: Path) -> Path:
    """A folder of the user's with a module of every name."""
    folder = tmp_path / "user"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(RAISE)
    return folder


@pytest.fixture
def another_copy(tmp_path: Path) -> Path:
    """Where an installation of another copy of the project would be found."""
    for name in ("study", "runners", "analysis"):
        (tmp_path / "copy" / name).mkdir(parents=True)
        (tmp_path / "copy" / name / "__init__.py").write_text(RAISE)
    return tmp_path / "copy"


def python(folder: Path, *line: object, **changed: str) -> subprocess.CompletedProcess[str]:
    """A command of the project from `folder`, with nothing on PYTHONPATH unless it is named."""
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *map(str, line)], cwd=folder, capture_output=True, text=True, env=environment | changed
    )


@pytest.mark.slow
def test_a_study_is_run_from_a_folder_of_the_users_own_modules(own_modules: Path, another_copy: Path, tmp_path: Path):
    undrawn = ROOT / "tests" / "undrawn"
    surrounded = {"PYTHONPATH": f"{another_copy}{os.pathsep}{undrawn}"} | KERNEL
    study = ("--study", "null", "--scale", "smoke", "--seeds", "1", "--record", tmp_path / "record")
    done = python(own_modules, ROOT / "study" / "run.py", *study, "--per-device", "1", **surrounded)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_imports_nothing_from_the_folder_it_starts_in(own_modules: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(own_modules)
    executor = LocalExecutor(slots(["cpu"], 1), tmp_path / "logs")
    unknown = Job("prepare", 1, "ddpm", {}, ExecutionContext(str(tmp_path), "cpu"), identity="another")
    executor.submit(executor.slots[0], unknown)
    answer = None
    while answer is None:
        answer = executor.poll(60)
    executor.cancel()
    assert isinstance(answer[1], Failed)
    assert "was edited" in answer[1].error, answer[1].error  # it came as far as its job


def test_what_an_experiment_starts_finds_its_own_modules(monkeypatch):
    """The variable that keeps the current folder out of helpers is none of a user's scripts."""
    from study.executors.local import surroundings

    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert "PYTHONSAFEPATH" not in surroundings()
    assert surroundings()["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
    assert experiment.find("ddpm")


@pytest.mark.parametrize("safe", [(), ("-P",)], ids=["", "-P"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_uses_the_copy_that_it_lies_in(program: str, safe: tuple[str, ...], another_copy: Path):
    done = python(another_copy, *safe, ROOT / program, "--help", PYTHONPATH=str(another_copy))
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


@pytest.mark.slow
def test_a_report_needs_no_backend_of_a_notebook(own_modules: Path, miniature_record: Path, tmp_path: Path):
    """And its helpers, which draw, start in the user's folder too."""
    line = (ROOT / "analysis" / "report.py", "--record", miniature_record, "--out", tmp_path / "report")
    done = python(own_modules, *line, **KERNEL)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "not drawn" not in (tmp_path / "report" / "index.html").read_text()


def test_the_server_looks_for_mlflow_where_it_is_installed(own_modules: Path, monkeypatch):
    """uvicorn, which MLflow starts, imports from the current folder first unless it is told where to look."""
    from study.cli.ui import mlflow_command
    from study.record import mlflow_index

    monkeypatch.setattr(mlflow_index, "pages", lambda *_: {})
    (options,) = (part for part in mlflow_command(own_modules, 5000) if "--log-level" in part)
    (folder,) = options.split("--app-dir ")[1:]
    assert (Path(folder.strip("'")) / "mlflow" / "__init__.py").is_file()
