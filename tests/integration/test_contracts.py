"""The rooms are layers: the contracts hold, each breaks when one forbidden import is planted in any room, and no two
files import each other in a circle."""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
ROOMS = ("study", "runners", "analysis")
OUTSIDE = ("tests", "benchmarks", "docs")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 350, 80

# A file of each room -> imports that it must not have: of what stands above it, and of the libraries of one room alone.
FORBIDDEN = {
    "study/cli/request.py": ("import mlflow", "import optuna"),
    "study/scheduling/scheduler.py": (
        "from study.cli import launch", "from analysis import results", "import mlflow", "import optuna",
    ),
    "study/scheduling/grid.py": ("import optuna",),
    "study/studies/schedules.py": ("from study.scheduling import scheduler", "from study.cli import request"),
    "study/design/plan.py": (
        "from study.studies import schedules", "from study.scheduling import events", "from analysis import verdict",
        "from study.executors import local", "import optuna",
    ),
    "study/executors/local.py": ("from study.scheduling import events", "from study.design import plan"),
    "study/record/reader.py": ("from study.design import plan", "from study.executors import local", "import mlflow"),
    "runners/ddpm/train.py": ("from study.record import layout", "from analysis import results", "import mlflow"),
    "runners/tasks/iclevr/scenes.py": ("from study import record", "import optuna"),
    "runners/process/worker.py": ("from study.executors import local",),
    "analysis/results.py": (
        "from study.scheduling import scheduler", "from study.design import plan", "from study.cli import request",
        "import torch", "from runners.ddpm import train",
    ),
    "analysis/figures/accuracy_by_arm.py": ("from runners.ddpm import sample", "from study.executors import local"),
    "analysis/tables/outcomes.py": ("from runners.tasks.iclevr import labels",),
    "analysis/pages/page.py": ("from study.studies import schedules", "import mlflow"),
}  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    """A copy of the rooms in which a test may write a forbidden import."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, "--no-cache"], cwd=tree, capture_output=True, text=True, timeout=120)


def test_the_contracts_hold(tree):
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


PLANTED = [(file, line) for file, lines in FORBIDDEN.items() for line in lines]


@pytest.mark.parametrize(("file", "line"), PLANTED, ids=[f"{file}: {line}" for file, line in PLANTED])
def test_one_forbidden_import_breaks_a_contract(tree, file, line):
    path = tree / file
    text = path.read_text()
    docstring = ast.parse(text).body[0]
    lines = text.splitlines(keepends=True)
    at = docstring.end_lineno + next(
        (1 + index for index, row in enumerate(lines[docstring.end_lineno :]) if "__future__" in row), 0
    )
    path.write_text("".join([*lines[:at], f"\n{line}\n", *lines[at:]]))
    done = lint(tree)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_every_room_has_a_planted_import():
    rooms = {str(path.parent.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    told = {str(Path(file).parent) for file in FORBIDDEN}
    top = {
        room.split("/")[0] + "/" + room.split("/")[1] for room in rooms if room.count("/") and room.startswith("study")
    }
    assert top <= told


def test_no_two_files_import_each_other_in_a_circle():
    """Imports inside functions and for types count too."""
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) - {module} for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_files_and_functions_are_short():
    """A file may be longer only for a reason that its first line gives."""
    long = []
    for path in itertools.chain.from_iterable((ROOT / room).rglob("*.py") for room in (*ROOMS, *OUTSIDE)):
        text = path.read_text()
        name = path.relative_to(ROOT)
        if text.count("\n") > LINES_OF_A_FILE and "one file because" not in text.splitlines()[0]:
            long.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION:
                long.append(f"{name}: {node.name} has {node.end_lineno - node.lineno + 1} lines")
    assert long == []


@pytest.mark.parametrize("package", ["study", "runners", "analysis"])
def test_no_url_is_put_together_by_hand(package: str) -> None:
    """A path may have ? and % and #: a library quotes them."""
    by_hand = re.compile(r"""f["'][^"'\n]*\w:/[^"'\n]*\{""")
    found = [path for path in (ROOT / package).rglob("*.py") if by_hand.search(path.read_text(encoding="utf-8"))]
    assert found == []
