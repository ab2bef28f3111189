"""The whole study at smoke scale, as a user runs it: real processes, real databases, real pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN, command, run, table_of
from PIL import Image

from runners.ddpm.config import TrialConfig
from runners.process.files import read_lines
from study.record import reader

pytestmark = pytest.mark.slow
ARMS = ["schedule=linear", "schedule=cosine", "schedule=squaredcos_cap_v2"]


def alive(pid: str) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def client(record: Path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{record.resolve()}/mlflow.db")


def runs(record: Path, study_id: str = "schedules-smoke"):
    index = client(record)
    experiment = index.get_experiment_by_name(study_id)
    return index.search_runs([experiment.experiment_id])


def optuna_study(record: Path, study_id: str = "schedules-smoke"):
    import optuna

    return optuna.load_study(study_name=study_id, storage=f"sqlite:///{record.resolve()}/optuna.db")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, its record and its output."""
    record = tmp_path_factory.mktemp("study") / "record"
    done = run(record, "--deterministic", workers=2, drawn=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return record, done


def test_it_tells_what_it_does_and_what_came_out(finished):
    record, done = finished
    assert "3 trials = 3 arms x 1 seed, 3 distinct trainings, on" in done.stdout
    assert "[3/3]" in done.stdout
    assert re.search(r"\d of 3 done \| .*images/s \| .* left", done.stdout)
    assert all(arm in table_of(done.stdout) for arm in ARMS)
    assert (record / "studies/schedules-smoke/report/index.html").is_file()
    assert f"study/ui.py --record {record}" in done.stdout
    assert "Warning" not in done.stderr


def test_a_deterministic_launch_says_so(finished):
    written = [json.loads(path.read_text()) for path in finished[0].glob("trials/*/environment.json")]
    assert [environment["deterministic"] for environment in written] == ["True"] * 3


def test_the_study_says_when_it_was_launched(finished):
    """Before its first training, not when the last trial was written down."""
    record, _ = finished
    launched = json.loads((record / "studies/schedules-smoke/study.json").read_text())["launched"]
    starts = [read_lines(path)[0]["at"] for path in (record / "cache/trainings").glob("*/starts.jsonl")]
    assert len(starts) == 3
    assert datetime.fromisoformat(launched).timestamp() <= min(starts)


def test_a_trial_folder_holds_all_of_a_trial(finished):
    record, _ = finished
    rows = reader.load("schedules", record)
    assert list(rows["arm"]) == ARMS
    assert set(rows["state"]) == {"complete"}
    folder = Path(rows["folder"][0])
    assert TrialConfig.from_dict(json.loads((folder / "config.json").read_text())).trial_key == folder.name
    wanted = {f"grid_{name}.png" for name in ("validation", "test", "new_test", "unseen")}
    wanted |= {"denoising.png", "noised.png", "schedule_sheet.png", "outcomes.npz", "metrics.jsonl"}
    wanted |= {"diversity.png", "interpolation.png", "features.npz"}
    assert wanted <= {path.name for path in folder.iterdir()}
    sizes = {"diversity.png": (4, 8), "interpolation.png": (8, 2)}  # columns, rows
    for name, (columns, lines) in sizes.items():
        with Image.open(folder / name) as image:
            assert image.size == (columns * 66 + 2, lines * 66 + 2)
    features = np.load(folder / "features.npz")
    assert dict(zip(*np.unique(features["source"], return_counts=True), strict=True)) == {
        "validation": 64, "test": 32, "new_test": 32, "unseen": 136, "real": 5
    }  # fmt: skip
    assert features["features"].dtype == np.float16
    assert len(features["features"]) == len(features["labels"]) == 269
    assert features["labels"][features["source"] == "real"].sum(1).tolist() == [1, 2, 3, 1, 2]  # a frame a scene
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert all(line[f"loss/t_{decile}"] > 0 for decile in range(10) if f"loss/t_{decile}" in line)
    assert any(name.startswith("loss/t_") for name in line)
    assert len(list((folder / "images/test").glob("*.png"))) == 32
    with Image.open(folder / "images/test/0.png") as image:
        assert image.size == (16, 16)
    with Image.open(folder / "grid_test.png") as image:
        assert image.size == (8 * 66 + 2, 4 * 66 + 2)  # 8 x 4 cells of 64, padding 2
    strip = np.asarray(Image.open(folder / "denoising.png").convert("L")).astype(float)
    assert strip.shape[1] == 10 * 66 + 2
    assert strip[2:66, 2:66].std() > 25  # the first frame is noise, not a gray average of it


def test_accuracy_is_what_the_stored_outcomes_say(finished):
    record, _ = finished
    from runners.tasks.iclevr.labels import multi_hot

    for _, row in reader.load("schedules", record).iterrows():
        folder = Path(row["folder"])
        asked = multi_hot(json.loads((folder / "conditions.json").read_text())["test"])
        seen = np.load(folder / "outcomes.npz")["test"]
        assert row["accuracy/test"] == pytest.approx((seen & asked).sum() / 72)
        assert asked.sum() == 72


def test_the_score_sheet_is_what_the_stored_outcomes_say(finished):
    """Spurious and missing objects, hits a label: counted again from outcomes.npz; all arms began from one noise."""
    import csv

    from runners.tasks.iclevr.labels import multi_hot

    record, _ = finished
    rows = reader.load("schedules", record)
    for _, row in rows.iterrows():
        folder = Path(row["folder"])
        asked = multi_hot(json.loads((folder / "conditions.json").read_text())["test"])
        outcomes = np.load(folder / "outcomes.npz")
        assert outcomes["test"].shape == outcomes["test_probability"].shape == (1, 32, 24)
        seen = outcomes["test_probability"][0] > 0.5
        assert row["spurious/test"] == pytest.approx((seen & ~asked).sum() / 32)
        assert row["missing/test"] == pytest.approx((asked & ~seen).sum() / 32)
        classes = [line for line in csv.DictReader((folder / "classes.csv").open()) if line["list"] == "test"]
        assert len(classes) == 24
        assert sum(int(line["hits"]) for line in classes) == round(row["accuracy/test"] * 72)
        assert row["nearest/generated"] > 0
        assert row["memorised_images"] == 0  # five held-out images of each number of objects make no limit
        assert "memorised_matched" not in rows
        assert row["diversity"] > 0
        assert {name for name in rows.columns if name.startswith("x0_error/")} >= {"x0_error/snr_-2_0"}
    for name in ("validation", "test", "new_test", "unseen"):
        assert rows[f"noise_digest/{name}"].nunique() == 1
        assert rows[f"real_accuracy/{name}"].between(0, 1).all()
    assert (rows["treatment/drop_rate"] > 0).all()


def test_mlflow_is_an_index_of_the_folders(finished):
    record, _ = finished
    trials = [found for found in runs(record) if found.data.tags["kind"] == "trial"]
    (parent,) = [found for found in runs(record) if found.data.tags["kind"] == "launch"]
    assert {found.info.status for found in runs(record)} == {"FINISHED"}
    assert sorted(found.info.run_name for found in trials) == sorted(f"{arm} seed=0" for arm in ARMS)
    assert {found.data.tags["mlflow.parentRunId"] for found in trials} == {parent.info.run_id}
    index = client(record)
    for found in trials:
        folder = record / "trials" / found.data.tags["trial_key"]
        config = json.loads((folder / "config.json").read_text())
        assert found.data.params == {name: str(value) for name, value in config.items()}
        result = json.loads((folder / "result.json").read_text())
        for name in ("accuracy/test", "seconds/train", "peak_memory_mb", "parameters"):
            assert found.data.metrics[name] == pytest.approx(result[name])
        assert found.data.tags["evaluator_kind"] == "stand-in"
        assert len(found.data.tags["git_sha"]) in (7, 40)
        losses = index.get_metric_history(found.info.run_id, "curve/loss")
        lines = read_lines(folder / "metrics.jsonl")
        assert [(metric.step, metric.value) for metric in losses] == [
            (line["images"], line["loss"]) for line in lines if "loss" in line
        ]
        names = {item.path for item in index.list_artifacts(found.info.run_id)}
        assert {"grid_test.png", "grid_new_test.png", "denoising.png", "schedule_sheet.png", "images"} <= names
    assert {item.path for item in index.list_artifacts(parent.info.run_id)} == {"launch", "report"}


def test_optuna_holds_every_trial(finished):
    record, _ = finished
    import optuna

    trials = optuna_study(record).trials
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert sorted(trial.params["schedule"] for trial in trials) == ["cosine", "linear", "squaredcos_cap_v2"]
    assert {(*trial.params, trial.user_attrs["seed"]) for trial in trials} == {("schedule", 0)}
    rows = reader.load("schedules", record).set_index("trial_key")
    for trial in trials:
        assert trial.value == pytest.approx(rows.loc[trial.user_attrs["trial_key"], "accuracy/validation"])


def test_the_same_command_again_runs_nothing_and_prints_the_same_table(finished):
    record, done = finished
    kept = (record / "trials", record / "studies/schedules-smoke/report")
    before = {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")}
    again = run(record, "--deterministic", workers=2)
    assert again.returncode == 0
    assert "nothing to run" in again.stdout
    assert table_of(again.stdout) == table_of(done.stdout)
    assert {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")} == before
    assert len(runs(record)) == 4


def test_killed_at_any_moment_the_same_command_finishes_it(finished, tmp_path):
    """More seeds on a record that lost its indexes and a trial; the scheduler is killed with SIGKILL: no worker
    survives it, nothing stays RUNNING, no cell is lost; what was complete stays, what was lost comes out the same."""
    record = Path(
        shutil.copytree(finished[0], tmp_path / "record", ignore=shutil.ignore_patterns("mlflow.db*", "optuna.db*"))
    )
    before = reader.load("schedules", record)
    keys = sorted(before["trial_key"])
    shutil.rmtree(record / "trials" / keys[0])
    shutil.rmtree(record / "cache" / "trainings")
    untouched = {path: path.stat().st_mtime_ns for path in (record / "trials").rglob("*")}
    launched = subprocess.Popen(
        command(record, "--seeds", "2", "--per-device", "1"), cwd=ROOT, stdout=subprocess.PIPE, text=True, env=UNDRAWN
    )
    assert launched.stdout is not None
    printed = ""
    for line in launched.stdout:
        printed += line
        if line.startswith("started"):
            break
    assert "4 trials and 4 trainings to run" in printed
    assert printed.count("was complete but not in MLflow: indexed") == 2
    time.sleep(2)
    children = subprocess.run(["pgrep", "-P", str(launched.pid)], capture_output=True, text=True).stdout.split()
    assert children
    launched.send_signal(signal.SIGKILL)
    launched.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, children))
    done = run(record, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "indexed" not in done.stdout
    rows = reader.load("schedules", record)
    assert list(rows["state"]) == ["complete"] * 6
    assert sorted(path.name for path in (record / "trials").iterdir()) == sorted(rows["trial_key"])
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert "RUNNING" not in {found.info.status for found in runs(record)}
    assert sum(found.data.tags["kind"] == "trial" for found in runs(record)) == 6
    states = [trial.state.name for trial in optuna_study(record).trials]
    assert states.count("COMPLETE") == 6
    assert set(states) == {"COMPLETE", "FAIL"}  # those of the killed launch: FAIL, not RUNNING
    same = [name for name in before if name.startswith(("accuracy/", "x0_error/", "weights_sha256", "noise_digest/"))]
    assert {"accuracy/test", "weights_sha256"} < set(same)
    old = rows[rows["seed"] == 0].set_index("trial_key").loc[before["trial_key"], same]
    assert old.equals(before.set_index("trial_key")[same])


def test_checkpoints_that_are_not_kept_are_deleted_and_made_again(finished, tmp_path):
    """Of a record whose study kept none, another study that needs one trains it again, to the same numbers."""
    record = Path(shutil.copytree(finished[0], tmp_path / "record"))
    path = record / "studies/schedules-smoke/study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"keep_checkpoints": "none"}))
    for path in (record / "cache/trainings").glob("*/*.safetensors"):
        path.unlink()
    folder = record / "cache/trainings" / reader.load("schedules", record)["train_key"][0]
    before = json.loads((folder / "done.json").read_text())
    done = run(record, "--study", "guidance", "--keep-checkpoints", "none")
    assert done.returncode == 0, done.stderr
    assert set(reader.load("guidance", record)["train_key"]) == {folder.name}
    after = json.loads((folder / "done.json").read_text())
    assert after["sha256"] == before["sha256"]
    assert after["seconds/train"] != before["seconds/train"]
    assert len(read_lines(folder / "starts.jsonl")) == 2
    assert not list((record / "cache/trainings").glob("*/*.safetensors"))


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path, finished):
    record = tmp_path / "record"
    shutil.copytree(finished[0] / "cache", record / "cache", ignore=shutil.ignore_patterns("trainings"))
    launched = subprocess.Popen(
        command(record, "--per-device", "1"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=UNDRAWN,
    )
    assert launched.stdout is not None
    for line in launched.stdout:
        if line.startswith("started"):
            break
    launched.send_signal(signal.SIGINT)
    output, errors = launched.communicate(timeout=60)
    assert launched.returncode == 130, errors
    again = output.partition("To resume, run the same command again:\n    ")[2].split()
    assert shutil.which(again[0]) == sys.executable  # also where no environment is activated
    assert again[1:6] == ["study/run.py", "--study", "schedules", "--scale", "smoke"]
    assert "Traceback" not in errors
    assert {found.info.status for found in runs(record)} == {"KILLED"}


def test_a_failing_trial_is_one_trial(finished, tmp_path):
    """A learning rate that explodes: every trial diverges, each is recorded, and the exit code says so."""
    record = tmp_path / "record"
    shutil.copytree(finished[0] / "cache", record / "cache", ignore=shutil.ignore_patterns("trainings"))
    done = run(record, "--set", "lr=1e30", "--set", "clip_norm=1e30")
    assert done.returncode == 1
    assert done.stdout.count("diverged") == 3
    assert "3 of 3 trials are not complete" in done.stdout
    (study_id,) = os.listdir(record / "studies")
    statuses = {found.info.status for found in runs(record, study_id)}
    assert statuses == {"FAILED"}
    (failed, *_) = (found for found in runs(record, study_id) if found.data.tags["kind"] == "trial")
    assert "traceback.txt" in {item.path for item in client(record).list_artifacts(failed.info.run_id)}
    assert {trial.state.name for trial in optuna_study(record, study_id).trials} == {"FAIL"}


def test_databases_are_in_wal_mode(finished):
    for name in ("mlflow.db", "optuna.db"):
        with sqlite3.connect(finished[0] / name) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
