"""What is shown and run is what is there now, whatever the clocks of files and machines say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN
from test_own_experiment import EXPERIMENT, copied, line

CACHING = {name: value for name, value in UNDRAWN.items() if name != "PYTHONDONTWRITEBYTECODE"}
QUESTION = """
from study.spec import StudySpec

STUDY = StudySpec(question="?", experiment="my_experiment", factors={"lr": (0.1, 0.2)}, baseline={"lr": 0.1}, seeds=1)
"""


def said(study: Path, record: Path, *arguments: str) -> str:
    program = line(study, record, "--scale", "smoke", *arguments)
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=CACHING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def edited(path: Path, old: str, new: str) -> None:
    """The file with another text of the same length, and its old times: as a copy or an archive leaves it."""
    times, text = path.stat(), path.read_text(encoding="utf-8")
    assert len(old) == len(new)
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_edited_study_is_run_as_it_is_now(tmp_path):
    """Its id had a digest of the new file, and its arms were those of the old one."""
    study = copied(tmp_path)
    assert "hidden=64" in said(study, tmp_path / "record", "--dry-run")
    edited(study, "(4, 16, 64)", "(4, 16, 32)")
    now = said(study, tmp_path / "record", "--dry-run")
    assert "hidden=32" in now
    assert "hidden=64" not in now
    assert not list(tmp_path.rglob("*.pyc"))


def test_an_edited_experiment_is_run_as_it_is_now(tmp_path):
    """So are its own modules, and those that lie beside the study."""
    study = copied(tmp_path)
    package = study.with_name("my_experiment")
    code = EXPERIMENT.replace(
        "import time\n", "import time\nimport my_numbers\nfrom my_experiment.numbers import WIDE\n"
    )
    (package / "__init__.py").write_text(code.replace("train_field(16, ", "train_field(WIDE * my_numbers.ONE, "))
    (package / "numbers.py").write_text("WIDE = 16\n")
    beside = study.with_name("my_numbers.py")
    beside.write_text("ONE = 1\n")
    study.write_text(QUESTION)
    assert "hidden = 16" in said(study, tmp_path / "record", "--dry-run")
    edited(package / "numbers.py", "16", "20")
    assert "hidden = 20" in said(study, tmp_path / "record", "--dry-run")
    edited(beside, "1", "2")
    assert "hidden = 40" in said(study, tmp_path / "record", "--dry-run")


@pytest.mark.slow
def test_a_report_of_the_future_is_made_anew_when_the_study_grows(tmp_path):
    study, record = copied(tmp_path), tmp_path / "record"
    said(study, record, "--seeds", "1")
    report = next(record.glob("studies/*/report"))
    for path in (report, *report.rglob("*")):
        os.utime(path, (2**31 - 1,) * 2)  # in 2038
    table = said(study, record, "--seeds", "2")
    assert re.search(r"hidden=16 +2 ", table)
    rows = (report / "tables" / "accuracy_validation.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"2"}
    assert "n = 2" in (report / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_report_that_is_not_what_was_written_is_made_anew(tmp_path):
    """The same command again printed the places of tables that were gone, and of half a page."""
    study, record = copied(tmp_path), tmp_path / "record"
    said(study, record)
    report = next(record.glob("studies/*/report"))
    page, table = report / "index.html", report / "tables" / "accuracy_validation.csv"
    whole = {path: path.read_bytes() for path in (page, table)}
    os.truncate(page, 1000)
    table.unlink()
    assert "nothing to run" in said(study, record)
    assert {path: path.read_bytes() for path in whole} == whole
