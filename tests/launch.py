"""The schedules study at smoke scale, started as a user starts it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# For studies whose figures are not looked at; of this tree, whichever one is installed.
UNDRAWN = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "undrawn"), str(ROOT)])}


def command(record: Path, *arguments: str) -> list[str]:
    study = ["--study", "schedules", "--scale", "smoke", "--record", str(record)]
    return [sys.executable, "study/run.py", *study, *arguments]


def run(
    record: Path,
    *arguments: str,
    workers: int | str = 1,
    drawn: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """One worker unless the test is about several: each pays seconds for its imports. Figures on demand only."""
    line = command(record, *arguments, "--per-device", str(workers))
    environment = (os.environ if drawn else UNDRAWN) | (environment or {})
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)


def refused(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command's own `main` in this process, for what it refuses: a process would pay seconds for its imports."""
    from study.cli.launch import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def table_of(output: str) -> str:
    return output[output.index("arm ") : output.index("report:")]
