"""A small record with both indexes, and the doctor that looks after it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import synthetic_record

from runners.process.files import read_json
from study.cli import doctor
from study.design import plan as planning
from study.design import registry, scales
from study.record import mlflow_index
from study.scheduling.grid import GridCells

ROOT = Path(__file__).resolve().parents[3]
STUDY = "schedules-smoke"
SETTINGS = [(name, seed) for name in ("linear", "cosine") for seed in (0, 1)]
KEYS = [synthetic_record.BASELINE.replace(schedule=name).at_seed(seed, seed).trial_key for name, seed in SETTINGS]


def plan(seeds: int = 3) -> planning.Plan:
    """The plan of the synthetic record."""
    row = dataclasses.replace(scales.find("smoke"), config=synthetic_record.BASELINE)
    return planning.make("schedules", registry.find("schedules"), "smoke", row, planning.Request(seeds=seeds))


def run(record: Path, *arguments: str) -> int:
    return doctor.main(["--record", str(record), *arguments])


def index(record: Path) -> mlflow_index.MlflowIndex:
    return mlflow_index.MlflowIndex(record, STUDY, "?")


def synchronise(record: Path) -> None:
    """Optuna's study as a launch leaves it: every complete trial, nothing waiting."""
    complete = {
        path.name: read_json(path / "result.json")["accuracy/validation"] for path in (record / "trials").iterdir()
    }
    GridCells(record, plan(), complete)
