"""Scales: what a task changes of each, and what the machine lacks is said before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.process import cores
from study.cli import request
from study.design import scales


def asked(record: Path, *line: str) -> request.Request:
    return request.read(request.parser().parse_args([*line, "--dry-run", "--record", str(record)]))


@pytest.mark.parametrize("data", ["digits", "rendered"])
@pytest.mark.parametrize("scale", scales.SCALES)
def test_every_task_has_a_baseline_at_every_scale(tmp_path: Path, scale: str, data: str) -> None:
    (plan,) = asked(tmp_path, "--study", "schedules", "--scale", scale, "--set", f"data={data}").plans
    assert ("clipped_eps" in plan.baseline.sampler) == (data == "digits" and scale != "paper")


def test_cores_without_bf16_are_told_of_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "these cores have no instructions for bf16, so precision=bf16 is slower on them than fp32"
    (tmp_path / "cpuinfo").write_text("flags : avx2\n")
    line = ("--study", "schedules", "--scale", "workstation", "--devices", "cpu")
    monkeypatch.setattr(cores, "CPU_INFO", tmp_path / "cpuinfo")
    asked(tmp_path, *line)
    assert capsys.readouterr().err.count(words) == 1
    asked(tmp_path, *line, "--set", "precision=fp32")
    assert words not in capsys.readouterr().err
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16\n")
    asked(tmp_path, *line)
    assert words not in capsys.readouterr().err
