"""Factors that may come to nothing, through the real command: a study of them ends, and its report says so."""

from __future__ import annotations

import json
from pathlib import Path

import launch
import pytest

SMALL = "unet(attention=(), channels=(8,), groups=8, layers=1)"
STUDY = '''"""{question}"""

from study.design.spec import StudySpec

STUDY = StudySpec(question="{question}", factors={factors!r}, baseline={baseline!r})
'''


def launched(tmp_path: Path, name: str, factors: dict, baseline: dict) -> tuple[str, list[dict]]:
    """What the command printed, and the results of the trials."""
    path = tmp_path / f"{name}.py"
    path.write_text(STUDY.format(question=f"Does {name} matter?", factors=factors, baseline=baseline))
    record = tmp_path / "record"
    done = launch.run(record, "--study", str(path), "--set", f"model={SMALL}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(found.read_text()) for found in record.glob("trials/*/result.json")]
    (report,) = record.glob("studies/*/report/index.html")
    return done.stdout + report.read_text(), results


@pytest.mark.long
def test_a_study_of_the_half_life_ends_with_two_averages(tmp_path: Path) -> None:
    """Two half-lives train the same last weights, which earlier versions took for a factor that was not reached."""
    said, results = launched(
        tmp_path, "halflife", {"ema_halflife_images": (32, 256)}, {"ema_halflife_images": 32, "ema_ramp": "unbiased"}
    )
    assert len({result["weights_sha256"] for result in results}) == 2
    assert "same weights" not in said


@pytest.mark.long
def test_a_study_of_limits_that_nobody_reaches_ends_with_a_caveat(tmp_path: Path) -> None:
    said, results = launched(tmp_path, "clipping", {"clip_norm": (1000.0, 2000.0)}, {"clip_norm": 1000.0})
    assert len({result["weights_sha256"] for result in results}) == 1
    assert "clip_norm made no difference to these trainings" in said
