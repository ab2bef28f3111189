"""Every study at smoke scale on a folder of the user's, in one record, started as a user starts it: all of them run,
and what they share is trained once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN
from PIL import Image

from runners.process.files import read_lines
from runners.tasks.iclevr import scenes
from runners.tasks.iclevr.labels import LABELS
from study.design import registry
from study.record import reader

pytestmark = pytest.mark.long
TRIALS = 3  # of the search; its own tests run more


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """102 pictures of noise that show 6 scenes, so that the validation list, which every curve draws, is short."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    labels = {}
    for scene in range(34):
        things = LABELS[scene % 6 :: 9]
        for frame in range(3):
            name = scenes.frame_name(scene, frame)
            labels[name] = things[: frame + 1]
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / name)
    lists = scenes.test_lists()
    objects = {label: number for number, label in enumerate(LABELS)}
    files = {"train": labels, "objects": objects, "test": lists["test"], "new_test": lists["new_test"][:8]}
    for file, content in files.items():
        (root / f"{file}.json").write_text(json.dumps(content))
    return root


def launch(name: str, folder: Path, record: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "study/run.py", "--study", name, "--scale", "smoke", "--data", str(folder), *more]
    line += ["--record", str(record)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=900, env=UNDRAWN)


@pytest.fixture(scope="module")
def everything(tmp_path_factory, folder) -> tuple[Path, str]:
    """The record and the output of one command that runs every study."""
    record = tmp_path_factory.mktemp("studies") / "record"
    done = launch("all", folder, record, "--trials", str(TRIALS))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return record, done.stdout


@pytest.fixture(scope="module")
def record(everything) -> Path:
    return everything[0]


def starts(record: Path) -> dict[str, int]:
    """train_key -> times that a process began with it."""
    folders = (record / "cache" / "trainings").glob("*")
    return {folder.name: len(read_lines(folder / "starts.jsonl")) for folder in folders}


def test_studies_of_other_images_are_left_out(everything):
    """The folder has label sets; what was left out is said before anything runs, on standard error."""
    others = set(registry.names()) - set(registry.fitting("set"))
    assert others == {"report_r3", "report_r3_ddim", "report_r3_dann", "adaptation_lambda"}
    assert all(f"\n{name}-smoke" not in everything[1] for name in others)


@pytest.mark.parametrize("name", registry.fitting("set"))
def test_it_runs(name, everything):
    record, output = everything
    study, rows = reader.load_study(name, record), reader.load(name, record)
    assert study.study_id.startswith(f"{name}-smoke-folder-")
    assert f"{study.study_id}: {registry.find(name).question}" in output
    assert set(rows["state"]) == {"complete"}
    assert rows["arm"].nunique() == len(study.arms)
    report = record / "studies" / study.study_id / "report"
    assert "not drawn" not in (report / "index.html").read_text()
    # What was asked for is what the trials read back from the running objects.
    assert (rows["treatment/timesteps"] == rows["timesteps"]).all()
    assert (rows["treatment/parameters"] == rows["parameters"]).all()
    assert rows.groupby("treatment/beta_digest")[["schedule", "timesteps"]].nunique().max().max() == 1
    weights = rows[rows["weights"] == rows["weights"].iloc[0]]
    assert weights.groupby("weights_sha256")["train_key"].nunique().max() == 1
    assert not [key for key, count in starts(record).items() if count > 1]


def test_guidance_at_two_seeds_is_two_trainings(record, folder):
    """Shown from the record: 12 complete trials, two trainings, each begun once."""
    done = launch("guidance", folder, record, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "12 trials = 6 arms x 2 seeds, 2 distinct trainings" in done.stdout
    rows = reader.load("guidance", record)
    assert len(rows) == 12
    assert set(rows["state"]) == {"complete"}
    keys = set(rows["train_key"])
    assert len(keys) == 2
    assert [starts(record)[key] for key in keys] == [1, 1]
    # Six outcomes from one set of weights, so it was s that changed the pictures.
    folders = rows[rows["seed"] == 0]["folder"]
    assert rows[rows["seed"] == 0]["weights_sha256"].nunique() == 1
    assert len({(Path(folder) / "grid_test.png").read_bytes() for folder in folders}) == 6


def test_warnings_stand_in_the_table_and_in_the_ui(record):
    """The terminal signal of T = 500 with fixed end points; timesteps that a short training never drew."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{record}/mlflow.db")
    study_id = reader.load_study("timesteps", record).study_id
    experiment = client.get_experiment_by_name(study_id)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert "sqrt(alpha_bar_T) = 0.080 > 0.05" in runs["T=500 fixed seed=0"].data.tags["warnings"]
    assert "sqrt(alpha_bar_T)" not in runs["T=500 matched seed=0"].data.tags.get("warnings", "")
    (parent,) = (run for run in runs.values() if run.data.tags["kind"] == "launch")
    assert "sqrt(alpha_bar_T)" in parent.data.tags["warnings"]
    page = (record / "studies" / study_id / "report/index.html").read_text()
    assert "sqrt(alpha_bar_T) = 0.080" in page
    assert "never drew" in page  # 320 images cannot visit 1,000 timesteps


def test_reports_print_our_number_beside_the_published_one(record):
    study_id = reader.load_study("reports", record).study_id
    text = (record / "studies" / study_id / "report/tables/accuracy_test.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| R1 T=500 "))
    assert "0.760" in row
    # .76 - .775 on 72 objects: 1.96 sqrt(.76 .24 / 72 + .775 .225 / 72) = .138
    assert re.search(r"-0\.015, inside the noise of one evaluation \(±0\.138\)", row)
