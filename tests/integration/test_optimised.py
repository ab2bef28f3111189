"""Under `python -OO` there are no docstrings and no asserts: nothing that a user sees or relies on is one."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT

from analysis import figures
from runners import docstrings
from runners.ddpm import schedules
from runners.evaluation import surrogate

WORDS = """
import json
from analysis import figures
from runners.ddpm import schedules
titles = {name: figures.title(figures.load(name)) for name in figures.NAMES}
descriptions = {name: figures.description(figures.load(name)) for name in figures.NAMES}
print(json.dumps([titles, descriptions, {name: schedules.definition(name) for name in schedules.SCHEDULES}]))
"""
ROOMS = ("study", "runners", "analysis", "benchmarks")
HARMLESS = {"isinstance", "len", "sum", "all", "numel", "parameters"}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    program = [sys.executable, *arguments]
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def trees() -> dict[str, ast.Module]:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_titles_and_definitions_are_the_same() -> None:
    done = run("-OO", "-c", WORDS)
    assert done.returncode == 0, done.stderr
    titles, descriptions, definitions = json.loads(done.stdout)
    assert titles == {name: figures.title(figures.load(name)) for name in figures.NAMES}
    assert descriptions == {name: figures.description(figures.load(name)) for name in figures.NAMES}
    assert definitions == {name: schedules.definition(name) for name in schedules.SCHEDULES}
    assert all(titles.values())
    assert all(descriptions.values())
    assert "not defined here" not in definitions.values()


@pytest.mark.parametrize("command", ["study.doctor", "benchmarks.bench"])
def test_the_help_of_a_command_is_the_same(command: str) -> None:
    plain, optimised = run("-m", command, "--help"), run("-OO", "-m", command, "--help")
    assert plain.stdout.count("\n") > 10
    assert optimised.stdout == plain.stdout


def test_text_of_a_docstring_is_that_of_python() -> None:
    assert docstrings.of(schedules) == (schedules.__doc__ or "").strip()
    assert docstrings.of(schedules.linear) == schedules.linear.__doc__
    assert docstrings.of(len) == ""  # it has no source


def test_a_figure_without_a_docstring_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loss_of_sleep.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import loss_of_sleep

    assert figures.title(loss_of_sleep) == "Loss of sleep"
    assert figures.description(loss_of_sleep) == ""


def test_no_code_reads_a_docstring() -> None:
    found = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("__doc__", "getdoc"))
        or (isinstance(node, ast.Name) and node.id == "__doc__")
    }
    assert found == set()


def test_an_assert_does_nothing_but_look() -> None:
    """One that took the next item, say, would take none under -O."""
    found = []
    for name, tree in trees().items():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assert)):
            for part in ast.walk(node.test):
                called = part.func if isinstance(part, ast.Call) else None
                word = getattr(called, "attr", getattr(called, "id", ""))
                if isinstance(part, ast.NamedExpr) or (called is not None and word not in HARMLESS):
                    found.append(f"{name}:{node.lineno}")
    assert found == []


# --- what a user gives is refused with and without asserts ------------------------------------------------


def test_an_evaluator_without_images_is_refused() -> None:
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.eye(4, dtype=bool)
    none, all_of_them = np.arange(0), np.arange(4)
    recipe = surrogate.Recipe(width=8, stem="half", total_images=64)
    with pytest.raises(ValueError, match="No image is left for the training of the evaluator"):
        next(iter(surrogate.train(images, labels, none, all_of_them, recipe)))


# --- a whole study --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_study_without_docstrings_and_asserts(tmp_path: Path) -> None:
    what = ["--study", "schedules", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]
    done = run("study/run.py", *what, "--record", str(tmp_path), PYTHONOPTIMIZE="2")  # its workers inherit it
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    page = next(tmp_path.glob("studies/*/report/index.html")).read_text(encoding="utf-8")
    assert "not drawn" not in page
    assert "Schedule sheet" in page
    found = {path.read_text(encoding="utf-8") for path in tmp_path.glob("trials/*/schedule.txt")}
    assert found == {schedules.definition(name) for name in ("linear", "cosine", "squaredcos_cap_v2")}
    checked = run("-m", "study.doctor", "--record", str(tmp_path), PYTHONOPTIMIZE="2")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search("nothing is wrong", checked.stdout)
