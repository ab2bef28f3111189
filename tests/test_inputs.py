"""The user's own data and evaluator, through the whole study."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from launch import ROOT, run, table_of

from study import record as reader

pytestmark = pytest.mark.slow


def test_real_folders_run_through(tmp_path):
    """`--data DIR`: a folder of images, cached by its content; the same command again runs nothing."""
    folder = tmp_path / "scenes"
    make = [sys.executable, "-m", "runners.render", str(folder), "--scenes", "40", "--image-size", "32"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
    record = tmp_path / "record"
    done = run(record, "--data", str(folder))
    assert done.returncode == 0, done.stderr
    (study_id,) = os.listdir(record / "studies")
    assert study_id.startswith("schedules-smoke-folder-")
    again = run(record, "--data", str(folder))
    assert "nothing is run" in again.stdout
    assert table_of(again.stdout) == table_of(done.stdout)
    rows = reader.load(study_id, record)
    assert rows["data"].str.fullmatch(r"folder\(digest='[0-9a-f]{12}'\)").all()


def test_an_evaluator_file_scores_the_trials(tmp_path):
    """A checkpoint in the official layout at 64x64, with random weights: its sha256 stands beside every score."""
    import torch

    from runners.evaluator import ResNet18

    torch.manual_seed(0)
    torch.save({"model": ResNet18().state_dict()}, tmp_path / "checkpoint.pth")
    # A study of one arm: a trial at 64x64 takes half a minute.
    flags = ["--study", "report_r2", "--set", "data=rendered(scenes=40)", "--set", "image_size=64"]
    done = run(tmp_path / "record", "--evaluator", str(tmp_path / "checkpoint.pth"), *flags)
    assert done.returncode == 0, done.stderr
    (study_id,) = os.listdir(tmp_path / "record/studies")
    rows = reader.load(study_id, tmp_path / "record")
    assert len(rows) == 1
    assert set(rows["evaluator_kind"]) == {"other checkpoint"}
    assert not list((tmp_path / "record/cache").glob("evaluator-*"))
