"""The schedules study at smoke scale, started as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNDRAWN = os.environ | {"PYTHONPATH": str(ROOT / "tests" / "undrawn")}  # for studies whose figures are not looked at


def command(record: Path, *arguments: str) -> list[str]:
    study = ["--study", "schedules", "--scale", "smoke", "--record", str(record)]
    return [sys.executable, "study/run.py", *study, *arguments]


def run(record: Path, *arguments: str, workers: int = 1, drawn: bool = False) -> subprocess.CompletedProcess[str]:
    """One worker unless the test is about several: each pays seconds for its imports. Figures on demand only."""
    line = command(record, *arguments, "--per-device", str(workers))
    environment = None if drawn else UNDRAWN
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)


def table_of(output: str) -> str:
    return output[output.index("arm ") : output.index("report:")]
