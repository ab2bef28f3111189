"""The import contracts hold, and each fails when one forbidden import is added."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def tree(tmp_path):
    """A copy of the rooms in which a test may write a forbidden import."""
    for room in ("study", "runners", "analysis"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, "--no-cache"], cwd=tree, capture_output=True, text=True, timeout=120)


def test_the_contracts_hold(tree):
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "5 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("runners/train.py", "import mlflow"),
        ("runners/diffusion.py", "import optuna"),
        ("runners/data.py", "from study import record"),
        ("runners/pictures.py", "from analysis import style"),
        ("study/coordinator.py", "from analysis import tables"),
        ("study/plan.py", "import mlflow"),
        ("study/coordinator.py", "import optuna"),
        ("analysis/tables.py", "import torch"),
        ("analysis/figures/accuracy_by_arm.py", "from runners import train"),
        ("analysis/report.py", "from study import coordinator"),
    ],
)
def test_one_forbidden_import_breaks_a_contract(tree, file, line):
    path = tree / file
    text = path.read_text()
    start = "from __future__ import annotations\n"
    assert start in text
    path.write_text(text.replace(start, f"{start}\n{line}\n", 1))
    done = lint(tree)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
