"""A study that no commit has, run in a checkout as its user has set git up: MLflow keeps what rebuilds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN

from runners import packages
from study.design import registry

WRITTEN = """
import tuning
from study.spec import StudySpec

STUDY = StudySpec(question=tuning.QUESTION, arms={"one": {}, "again": {"seed": 1000}})
"""
TUNING = 'QUESTION = "Does a module beside the study count?"\n'


def test_modules_beside_a_study_are_files_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(packages, "_beside", [])
    (tmp_path / "lone_study.py").write_text(WRITTEN.replace("tuning", "tuning_of_one"))
    (tmp_path / "tuning_of_one.py").write_text(TUNING)
    (tmp_path / "not_imported.py").write_text("")
    named = registry.asked(str(tmp_path / "lone_study.py"))
    assert {name for name, _ in named.files} == {"lone_study.py", "tuning_of_one.py"}


def test_libraries_and_the_project_are_no_files_of_a_study_in_its_checkout() -> None:
    """A study may lie where the project and its virtual environment lie."""
    found = {path.relative_to(ROOT).parts[0] for path in packages.imported_from(ROOT)}
    assert found <= {"tests"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of this tree with one commit."""
    folder = tmp_path / "checkout"
    for room in ("study", "runners", "analysis"):
        subprocess.run(["cp", "-r", "--parents", room, str(folder.parent)], cwd=ROOT, check=True)
    folder.mkdir()
    for room in ("study", "runners", "analysis"):
        (tmp_path / room).rename(folder / room)
    (folder / ".gitignore").write_text("__pycache__/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_launch_keeps_what_rebuilds_it(checkout: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (checkout / "study" / "studies" / "mine.py").write_text((ROOT / "study" / "studies" / "null.py").read_text())
    (tmp_path / "gitconfig").write_text('[color]\n\tui = always\n[diff]\n\texternal = "true"\n\tnoprefix = true\n')
    (checkout / "runners" / "seeds.py").open("a").write("\n# é\n")
    own = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_DIR": "/nonexistent"}
    path = os.pathsep.join([str(ROOT / "tests" / "undrawn"), str(checkout)])
    what = ["--study", "mine", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]
    done = subprocess.run(
        [sys.executable, "study/run.py", *what, "--record", str(tmp_path / "record")],
        cwd=checkout,
        env=UNDRAWN | own | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/record/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    launch = next(run for run in runs if run.data.tags["kind"] == "launch")
    assert launch.data.tags["git_sha"] == git(checkout, "rev-parse", "HEAD").strip()
    assert launch.data.tags["git_dirty"] == "True"
    diff = Path(client.download_artifacts(launch.info.run_id, "launch/git.diff", str(tmp_path)))
    git(tmp_path, "clone", "--quiet", str(checkout), "rebuilt")
    git(tmp_path / "rebuilt", "apply", str(diff))
    for name in ("study/studies/mine.py", "runners/seeds.py"):
        assert (tmp_path / "rebuilt" / name).read_bytes() == (checkout / name).read_bytes()
