"""The four recipes: a schedule, a study, an architecture and a figure are each added by touching one file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    for room in ("study", "runners", "analysis"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(tree: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    words = [sys.executable, *map(str, arguments)]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


STUDY = '''"""How long should the warm-up be?"""

from study.spec import StudySpec

STUDY = StudySpec(
    question="How long should the warm-up be?",
    factors={"warmup_images": (0, 320), "schedule": ("linear", "constant_beta(beta=0.02)")},
    baseline={"warmup_images": 0, "schedule": "linear"},
)
'''
SCHEDULE = '''

def constant_beta(timesteps: int, beta: float = 0.01) -> Betas:
    """The same beta at every timestep (Sohl-Dickstein et al. 2015, appendix B.1)."""
    return np.full(timesteps, beta)


SCHEDULES'''


def test_a_schedule_and_a_study(tree):
    path = tree / "runners/ddpm/schedules.py"
    path.write_text(path.read_text().replace("\n\nSCHEDULES", SCHEDULE, 1))
    (tree / "study/studies/warmup.py").write_text(STUDY)
    assert re.search(r"(?m)^warmup +How long should the warm-up be\?$", run(tree, "study/run.py", "--list"))
    plan = run(tree, "study/run.py", "--study", "warmup", "--scale", "smoke", "--dry-run", "--record", tree / "record")
    assert "warmup_images=320 schedule=constant_beta(beta=0.02)" in plan
    assert "4 trials = 4 arms x 1 seed, 4 distinct trainings" in plan


def test_a_study_in_a_file_of_its_own(tree, tmp_path):
    """Outside the project: named after its file; an edited file is another study."""
    path = tmp_path / "elsewhere" / "warmup.py"
    path.parent.mkdir()
    dry = ("--scale", "smoke", "--dry-run", "--json", "--record", tree / "record")
    ids = []
    for text in (STUDY, STUDY.replace("320", "640")):
        path.write_text(text.replace(', "constant_beta(beta=0.02)"', ', "cosine"'))
        ids.append(json.loads(run(tree, "study/run.py", "--study", path, *dry))["study_id"])
    assert all(re.fullmatch("warmup-smoke-[0-9a-f]{6}", study_id) for study_id in ids)
    assert ids[0] != ids[1]


MODEL = '''"""One convolution that adds the condition: the smallest architecture there is."""

import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self, labels: int, width: int) -> None:
        super().__init__()
        self.condition = nn.Linear(labels, 3)
        self.net = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.net(x + self.condition(c)[:, :, None, None] + t[:, None, None, None] / 1000)


def build(image_size: int, labels: int, width: int = 8) -> nn.Module:
    if width < 1:
        raise ValueError("tiny needs a width of 1 or more.")
    return Tiny(labels, width)

'''


@pytest.mark.long
def test_an_architecture(tree):
    (tree / "runners/models/tiny.py").write_text(MODEL)
    run(
        tree, "study/run.py", "--study", "null", "--scale", "smoke", "--record", tree / "record",
        "--per-device", "1", "--set", "model=tiny(width=4)", "--set", "data=rendered(scenes=40, view='near')",
    )  # fmt: skip
    parameters = 24 * 3 + 3 + 3 * 4 * 9 + 4 + 4 * 3 * 9 + 3
    results = [path.read_text() for path in (tree / "record/trials").glob("*/result.json")]
    assert len(results) == 2
    assert all(f'"parameters": {parameters},' in text for text in results)


FIGURE = '''"""Seconds per arm."""

from __future__ import annotations

import pandas as pd

from analysis.plotting import style


def table(results) -> pd.DataFrame:
    return results.rows[["arm", "seed", "seconds/train"]]


def draw(table: pd.DataFrame, results):
    figure = style.figure()
    figure.subplots().scatter(table["arm"], table["seconds/train"])
    return figure


def caption(table: pd.DataFrame, results) -> str:
    return f"Seconds of {len(table)} trainings."
'''


def test_a_figure(tree):
    (tree / "analysis/figures/seconds.py").write_text(FIGURE)
    synthetic_record.make(tree / "record")
    run(tree, "analysis/report.py", "--record", tree / "record")
    (report,) = (tree / "record/studies").glob("*/report")
    assert (report / "figures/seconds.png").stat().st_size > 1000
    assert "Seconds of 9 trainings." in (report / "index.html").read_text()
