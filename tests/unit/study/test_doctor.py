"""The doctor: every damage is found, put right, and then found no more; on synthetic records with real databases."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic_record
from indexed import KEYS, ROOT, STUDY, index, plan, run

from runners.ddpm.config import TrialConfig
from runners.process.files import read_json, write_json, write_manifest
from runners.process.locks import Held, lock
from study.design import plan as planning
from study.design import scales
from study.record import mlflow_index, optuna_store, reader
from study.scheduling.grid import GridCells


def test_a_healthy_record_has_nothing_wrong(record, capsys):
    assert run(record) == 0
    assert run(record, "--repair") == 0
    assert capsys.readouterr().out == f"{record}: nothing is wrong\n" * 2


def truncated(record: Path) -> None:
    path = record / "trials" / KEYS[0] / "result.json"
    os.truncate(path, 40)


def swapped(record: Path) -> None:
    config = record / "trials" / KEYS[0] / "config.json"
    shutil.copy(record / "trials" / KEYS[1] / "config.json", config)
    write_manifest(config.parent)


def torn(record: Path) -> None:
    path = record / "trials" / KEYS[0] / "metrics.jsonl"
    os.truncate(path, path.stat().st_size - 7)
    write_manifest(path.parent)


def changed_picture(record: Path) -> None:
    with (record / "trials" / KEYS[0] / "outcomes.npz").open("ab") as file:
        file.write(b"x")


def broken_study(record: Path) -> None:
    os.truncate(record / "studies" / STUDY / "study.json", 300)


def foreign_keys(record: Path) -> None:
    path = record / "studies" / STUDY / "study.json"
    study = read_json(path)
    study["trials"][0]["trial_key"] = "../../outside"
    write_json(path, study)


def broken_training(record: Path) -> None:
    from runners.process.files import sha256

    config = synthetic_record.BASELINE
    folder = record / "cache" / "trainings" / config.train_key
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config.to_dict())
    for which in ("ema", "raw"):
        (folder / f"{which}.safetensors").write_bytes(b"weights")
    write_json(folder / "done.json", {"sha256": {w: sha256(folder / f"{w}.safetensors") for w in ("ema", "raw")}})
    assert run(record) == 0
    (folder / "ema.safetensors").write_bytes(b"weightz")


def stuck_run(record: Path) -> None:
    index(record).start_trial(None, "x", TrialConfig(), {})


def second_run(record: Path) -> None:
    folder = record / "trials" / KEYS[0]
    index(record).index_trial("", "x", TrialConfig.from_dict(read_json(folder / "config.json")), folder, {})


def run_without_folder(record: Path) -> None:
    shutil.rmtree(record / "trials" / KEYS[0])
    optuna_store.delete(record, STUDY)


def folder_without_run(record: Path) -> None:
    mlflow = index(record)
    mlflow.client.delete_run(mlflow.indexed()[KEYS[0]])


def lost_database(record: Path) -> None:
    (record / "mlflow.db").unlink()


def damaged_index(record: Path) -> None:
    with (record / "mlflow.db").open("rb+") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def damaged_optuna(record: Path) -> None:
    (record / "optuna.db").write_bytes(b"this is no database, whatever its name says" * 100)


def moved(record: Path) -> None:
    with sqlite3.connect(record / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, '/elsewhere')", (str(record),))


def running_cell(record: Path) -> None:
    cells = GridCells(record, plan(4), {})
    assert cells.next(set()) is not None


def another_value(record: Path) -> None:
    with sqlite3.connect(record / "optuna.db") as connection:
        connection.execute("UPDATE trial_values SET value = value + 1 WHERE trial_value_id = 1")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a truncated result": (truncated, f"trial {KEYS[0]}: result.json is changed"),
    "the config of another trial": (swapped, f"config.json belongs to the trial {KEYS[1]}"),
    "a torn line": (torn, "metrics.jsonl has a line that is not JSON"),
    "a changed file": (changed_picture, "outcomes.npz is changed"),
    "a truncated study.json": (broken_study, f"study {STUDY}: study.json: JSONDecodeError"),
    "keys that lead out of the record": (foreign_keys, "the keys of trial '../../outside' are not those of its config"),
    "changed weights": (broken_training, "ema.safetensors is not the file that was written"),
    "a run that is stuck": (stuck_run, "1 MLflow runs are marked RUNNING, but no study is running"),
    "two runs of one trial": (second_run, f"trial {KEYS[0]} has more than one finished run"),
    "a run without its folder": (run_without_folder, f"trial {KEYS[0]} has a run in MLflow, but no complete folder"),
    "a folder without its run": (folder_without_run, "1 complete trial is not in MLflow"),
    "no mlflow.db": (lost_database, "mlflow.db is missing"),
    "a damaged mlflow.db": (damaged_index, "mlflow.db is damaged"),
    "a damaged optuna.db": (damaged_optuna, "optuna.db is damaged"),
    "paths to another place": (moved, "mlflow.db has the paths of the record's old location"),
    "a cell that is stuck": (running_cell, "1 trial is RUNNING in Optuna"),
    "another value in Optuna": (another_value, "1 trial is COMPLETE in Optuna with a value that no folder has"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_put_right(name, record, capsys):
    harm, text = DAMAGES[name]
    harm(record)
    capsys.readouterr()
    assert run(record) == 1
    told = capsys.readouterr().out
    assert f"wrong: {text}" in told or f": {text}" in told
    assert "1 things" not in told
    assert run(record, "--repair") == 0
    assert text in capsys.readouterr().out
    assert run(record) == 0, capsys.readouterr().out


def test_trials_beyond_the_latest_plan_are_not_wrong(record, capsys):
    """After a launch with fewer seeds: their folders are complete, and so they keep their runs."""
    path = record / "studies" / STUDY / "study.json"
    value = json.loads(path.read_text())
    left = [trial for trial in value["trials"] if trial["seed"] == 0]
    assert 0 < len(left) < len(value["trials"])
    path.write_text(json.dumps(value | {"trials": left, "seeds": [0]}))
    assert run(record) == 0, capsys.readouterr().out


def test_what_is_damaged_is_quarantined_whole(record):
    truncated(record)
    before = sorted(path.name for path in (record / "trials" / KEYS[0]).iterdir())
    assert run(record, "--repair") == 0
    assert not (record / "trials" / KEYS[0]).exists()
    (quarantined,) = (record / "damaged").glob("*/trials/*")
    assert sorted(path.name for path in quarantined.iterdir()) == before
    assert list(reader.load(STUDY, record)["state"]).count("missing") == 1


def test_a_moved_record_finds_its_artifacts(healthy, tmp_path, capsys):
    """A copy leads to the original until it is relocated: all three kinds of paths."""
    copy = Path(shutil.copytree(healthy, tmp_path / "über den Berg"))
    run_id = index(copy).indexed()[KEYS[0]]
    with sqlite3.connect(copy / "mlflow.db") as connection:
        (experiment,) = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (STUDY,)).fetchone()
        model = f"{(healthy / 'artifacts' / STUDY).as_uri()}/models/m-1/artifacts"
        sql = "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms, "
        sql += "last_updated_timestamp_ms, status, lifecycle_stage) VALUES ('m-1', ?, 'm', ?, 0, 0, 2, 'active')"
        connection.execute(sql, (experiment, model))
    assert run(copy, "--relocate") == 0
    assert f"now lead to {copy}" in capsys.readouterr().out
    with sqlite3.connect(copy / "mlflow.db") as connection:
        (location,) = connection.execute("SELECT artifact_location FROM logged_models").fetchone()
    assert location == f"{(copy / 'artifacts' / STUDY).as_uri()}/models/m-1/artifacts"
    mlflow = index(copy)
    assert mlflow.client.get_run(run_id).info.artifact_uri.startswith(copy.as_uri())
    names = {item.path for item in mlflow.client.list_artifacts(run_id)}
    assert {"result.json", "grid_test.png"} <= names
    assert run(copy, "--relocate") == 0
    assert "now lead" not in capsys.readouterr().out
    assert mlflow_index.displaced(healthy) == []


def test_the_ui_relocates_the_record_first(healthy, tmp_path, monkeypatch):
    from study.cli import ui

    copy = Path(shutil.copytree(healthy, tmp_path / "record"))
    assert mlflow_index.displaced(copy)
    monkeypatch.setattr(ui, "serve", lambda _: 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ui.main(["--record", str(copy), "--port", str(port)])
    assert mlflow_index.displaced(copy) == []


def test_relocating_goes_on_while_a_study_runs(record):
    """The UI is for looking at what runs."""
    with lock(record / "lock", shared=True):
        assert run(record, "--relocate") == 0


def test_mlflow_is_rebuilt_from_the_folders_alone(record):
    (record / "trials" / KEYS[0]).rename(record / "elsewhere")
    failed = record / "trials" / f"{KEYS[0]}.failed"
    failed.mkdir()
    (failed / "traceback.txt").write_text("it exploded")
    assert run(record, "--rebuild-mlflow") == 0
    mlflow = index(record)
    runs = [found for found in mlflow._runs("") if found.data.tags["kind"] == "trial"]
    assert sorted(found.info.status for found in runs) == ["FAILED"] + ["FINISHED"] * 8
    (run_id,) = (found.info.run_id for found in runs if found.info.status == "FAILED")
    text = Path(mlflow.client.download_artifacts(run_id, "traceback.txt")).read_text()
    assert text == "it exploded"
    ids = {row["trial_key"]: row["run_id"] for row in read_json(record / "studies" / STUDY / "study.json")["trials"]}
    assert mlflow.indexed() == {key: value for key, value in ids.items() if key != KEYS[0]}
    value = mlflow.client.get_run(ids[KEYS[1]]).data.metrics["accuracy/validation"]
    assert value == read_json(record / "trials" / KEYS[1] / "result.json")["accuracy/validation"]


def test_checkpoints_that_no_missing_trial_needs_are_deleted(record, capsys):
    keys = [synthetic_record.BASELINE.replace(seed=seed).train_key for seed in range(3)]
    for key in keys:
        folder = record / "cache" / "trainings" / key
        folder.mkdir(parents=True)
        for name in ("done.json", "ema.safetensors", "raw.safetensors", "state.pt"):
            (folder / name).write_text("{}")
    shutil.rmtree(record / "trials" / synthetic_record.BASELINE.at_seed(1, 1).trial_key)
    assert run(record, "--prune-checkpoints") == 0
    assert "deleted the weights of 2 trainings" in capsys.readouterr().out
    assert {path.parent.name for path in record.rglob("*.safetensors")} == {keys[1]}
    assert len(list((record / "cache").rglob("done.json"))) == 3
    assert run(record, "--prune-checkpoints") == 0
    assert "deleted the weights of 0 trainings" in capsys.readouterr().out


# --- who may ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["--check", "--repair", "--rebuild-mlflow", "--prune-checkpoints"])
def test_nothing_is_done_while_a_study_runs(action, record, capsys):
    with lock(record / "lock", shared=True):
        assert run(record, action) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"is in use by process {os.getpid()} since 20" in error


def test_what_is_no_record_is_refused(tmp_path, capsys):
    assert run(tmp_path) == 2
    assert "is not a record: write --record DIR" in capsys.readouterr().err
    assert run(tmp_path, "--relocate") == 0


def test_help_is_quick():
    """No heavy import: --help answers in a fraction of a second."""
    code = "import sys; sys.argv = ['doctor', '--help']; import runpy\n"
    code += "try: runpy.run_module('study.doctor', run_name='__main__')\n"
    code += "except SystemExit: print({'torch', 'mlflow', 'optuna', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "--rebuild-mlflow" in done.stdout
    assert done.stdout.endswith("set()\n"), done.stderr


def test_a_lock_belongs_to_a_living_process(tmp_path):
    """The file of a lock says who, but the kernel says whether: a copied or left one is no lock."""
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 1, "since": "2020-01-01 00:00:00"}))
    with lock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with pytest.raises(Held, match=f"by process {os.getpid()} since 20"), lock(path):
            pass
        copied = shutil.copy(path, tmp_path / "copy")
        with lock(Path(copied)):
            pass
    with lock(path, shared=True), lock(path, shared=True), pytest.raises(Held), lock(path):
        pass


def test_a_new_arm_runs_only_its_own_cells(record):
    """Optuna fixes a factor's choices for good; a study that gets another value keeps what it has."""
    wider: Any = dataclasses.replace(
        plan().spec, factors={"schedule": ("linear", "cosine", "squaredcos_cap_v2", "sqrt")}
    )
    row = dataclasses.replace(scales.find("smoke"), config=synthetic_record.BASELINE)
    grown = planning.make("schedules", wider, "smoke", row, planning.Request(seeds=3))
    complete = {p.name: read_json(p / "result.json")["accuracy/validation"] for p in (record / "trials").iterdir()}
    cells = GridCells(record, grown, complete)
    asked = []
    while cells.more():
        cell = cells.next(set())
        asked.append((cell.trial.config.schedule, cell.trial.seed))
        cells.complete(cell, 0.5)
    assert asked == [("sqrt", 0), ("sqrt", 1), ("sqrt", 2)]
    states = [row.state for row in optuna_store.rows(record, STUDY)]
    assert states == ["complete"] * 12
