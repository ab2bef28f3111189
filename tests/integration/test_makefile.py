"""A variable of make reaches its program as it was typed: with spaces, quotes and signs of the shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT

SEEN = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ.get('ABLATION_RECORD')]))\n"
AWKWARD = """my runs "of" 'May' & (more) `id`; * #1"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The Makefile in a folder with a space, whose programs print what they are given."""
    tree = tmp_path / "my checkout"
    (tree / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    for program in (tree / ".venv/bin/python", tree / ".venv/bin/jupyter", tmp_path / "a python"):
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/seen.py" "$@"\n')
        program.chmod(0o755)
    (tmp_path / "seen.py").write_text(SEEN)
    (tree / ".venv/ready").touch()
    return tree


def make(tree: Path, *arguments: str) -> list[tuple[list[str], str | None]]:
    """Arguments and ABLATION_RECORD of each program that ran."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RECORD", "STUDY", "PYTHON")}
    done = subprocess.run(["make", "--silent", *arguments], cwd=tree, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("record", ["runs", "my runs", AWKWARD])
@pytest.mark.parametrize(("target", "program"), [("study", "run"), ("ui", "ui"), ("dashboard", "ui"), ("report", "")])
def test_a_record_is_one_word(tree: Path, target: str, program: str, record: str) -> None:
    *_, (given, _) = make(tree, target, f"RECORD={record}")
    assert given[given.index("--record") + 1] == record
    assert given[0] == (f"study/{program}.py" if program else "analysis/report.py")


@pytest.mark.parametrize("record", ["runs", "my runs", AWKWARD, "/absolute/my runs"])
def test_notebooks_read_the_record_wherever_they_start(tree: Path, record: str) -> None:
    *_, (given, read) = make(tree, "notebooks", f"RECORD={record}")
    assert given[0] == "lab"
    assert read == (record if record.startswith("/") else f"{tree}/{record}")


def test_several_studies_are_several_words_and_a_file_is_one(tree: Path) -> None:
    (tree / "my study.py").touch()
    for study, words in (
        ("schedules samplers", ["schedules", "samplers"]),
        ("my study.py", ["my study.py"]),
        ("*", ["*"]),
    ):
        (given, _), *_ = make(tree, "study", f"STUDY={study}")
        assert given == ["study/run.py", "--study", *words, "--record", "mlruns"]


def test_the_python_of_a_fresh_machine_may_lie_in_a_folder_with_a_space(tree: Path) -> None:
    (tree / ".venv/ready").unlink()
    (given, _), *_ = make(tree, "report", f"PYTHON={tree.parent}/a python")
    assert given == ["-m", "venv", ".venv"]
