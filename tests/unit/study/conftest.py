"""Fixtures that the files of the study's tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import synthetic_record
from indexed import run, synchronise

from runners.process.files import write_manifest
from study.record import mlflow_index


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine complete trials with their digests, in both databases; one run of MLflow has a figure's file. Copy it."""
    root = synthetic_record.make(tmp_path_factory.mktemp("healthy") / "record")
    for folder in (root / "trials").iterdir():
        shutil.rmtree(folder / "images", ignore_errors=True)
        write_manifest(folder)
    synchronise(root)
    assert run(root, "--rebuild-mlflow") == 0
    return root


@pytest.fixture
def record(healthy: Path, tmp_path: Path) -> Path:
    """A copy of the healthy record in a place of its own."""
    copy = Path(shutil.copytree(healthy, tmp_path / "record"))
    mlflow_index.relocate(copy)
    return copy
