"""A report looks the same whatever the user has set for matplotlib, and says nothing that nobody can act on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_record
from launch import ROOT

ARMS = {"line=線形": "linear", "line=余弦": "cosine"}


def report(record: Path, out: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "analysis/report.py", "--record", str(record), "--out", str(out)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(folder)} | more


@pytest.mark.slow
@pytest.mark.parametrize(
    ("matplotlibrc", "more"),
    [
        (b"text.usetex: True\nfont.size: 30\naxes.facecolor: red\n", {}),
        ("font.family: café\n".encode("latin-1"), {}),
        (b"", {"MPLBACKEND": "nonsense"}),
    ],
    ids=["LaTeX", "Latin-1", "backend"],
)
def test_what_a_user_has_set_for_matplotlib_stays_out_of_a_report(
    matplotlibrc: bytes, more: dict[str, str], tmp_path: Path
) -> None:
    """No LaTeX, a matplotlibrc that cannot be read, a backend that is not installed."""
    arms = {f"schedule={name}": replace(synthetic_record.BASELINE, schedule=name) for name in ("linear", "cosine")}
    record = synthetic_record.write(tmp_path / "record", arms, lambda _: 0.5, seeds=[0])
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "matplotlibrc").write_bytes(matplotlibrc)
    done = report(record, tmp_path / "report", environment_of(tmp_path / "user", **more))
    assert (done.returncode, done.stderr) == (0, "")
    assert "not drawn" not in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [True, False])
def test_a_report_of_names_in_chinese_prints_no_warning(drawn: bool, tmp_path: Path) -> None:
    """Of complete trials, and of none."""
    arms = {arm: replace(synthetic_record.BASELINE, schedule=name) for arm, name in ARMS.items()}
    failed = [] if drawn else [(arm, 0) for arm in arms]
    record = synthetic_record.write(tmp_path / "record", arms, lambda _: 0.5, seeds=[0], failed=failed)
    done = report(record, tmp_path / "report", environment_of(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "line=線形" in (tmp_path / "report" / "index.html").read_text()
