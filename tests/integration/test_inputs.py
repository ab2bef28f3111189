"""The user's own data and evaluator, through the whole study."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from launch import ROOT, run, table_of

from runners.evaluation.surrogate import ResNet18
from study.record import reader

pytestmark = pytest.mark.long


def test_a_folder_and_an_evaluator_file_run_through(tmp_path):
    """`--data DIR` with `--evaluator FILE`, in the official layout with random weights: the data are cached by their
    content, the file's sha256 stands beside every score, no surrogate is trained; the same command runs nothing."""
    folder, record = tmp_path / "scenes", tmp_path / "record"
    make = [sys.executable, "-m", "runners.render", str(folder), "--scenes", "40", "--image-size", "64"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
    torch.manual_seed(0)
    torch.save({"model": ResNet18().state_dict()}, tmp_path / "checkpoint.pth")
    sha256 = hashlib.sha256((tmp_path / "checkpoint.pth").read_bytes()).hexdigest()
    # The evaluator reads 64x64; patches of four pixels make that a network of the smoke scale's size.
    model = "unet(attention=(-1,), channels=(16, 32, 32), groups=8, layers=1, patch=4)"
    flags = ["--study", "null", "--data", str(folder), "--evaluator", str(tmp_path / "checkpoint.pth")]
    flags += ["--set", "image_size=64", "--set", f"model={model}"]
    done = run(record, *flags)
    assert done.returncode == 0, done.stderr
    (study_id,) = os.listdir(record / "studies")
    assert study_id.startswith("null-smoke-")
    rows = reader.load(study_id, record)
    assert len(rows) == 2
    assert set(rows["state"]) == {"complete"}
    assert rows["data"].str.fullmatch(r"folder\(digest='[0-9a-f]{12}'\)").all()
    assert set(rows["evaluator_kind"]) == {"other checkpoint"}
    assert set(rows["evaluator_sha256"]) == {sha256}
    assert not list((record / "cache").glob("evaluator-*"))
    again = run(record, *flags)
    assert "nothing to run" in again.stdout
    assert table_of(again.stdout) == table_of(done.stdout)
    assert os.listdir(record / "studies") == [study_id]
