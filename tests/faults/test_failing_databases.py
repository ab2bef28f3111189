"""A database that the system refuses to write for another reason than want of space: a quota, a network drive."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN
from launched import Launch

from study.record import errors

SENTENCE = "cannot be written (disk I/O error): see to its disk, network drive or quota"
# Writes a table until the process may make no longer file, as one may not whose quota is used up.
WRITER = """
import resource, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("create table t (x)")
database.commit()
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
from study.record import errors
try:
    database.execute("insert into t values (zeroblob(100000))")
    database.commit()
except Exception as error:
    print(errors.sentence(RuntimeError("a library's own words"), sys.argv[2]), file=sys.stderr)
    try:
        raise ValueError("a library's own words") from error
    except ValueError as wrapped:
        print(errors.sentence(wrapped, sys.argv[2]))
"""


def test_what_sqlite_says_of_a_refusal_is_a_sentence(tmp_path: Path) -> None:
    line = [sys.executable, "-c", WRITER, tmp_path / "optuna.db", tmp_path]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"a database of {tmp_path} {SENTENCE}"
    assert done.stderr.strip() == ""
    assert "failing" in errors.SENTENCES


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    """A library that refuses writes as a quota does, in what it is preloaded into."""
    library, source = tmp_path / "refused_writes.so", Path(__file__).with_name("refused_writes.c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler, or no /proc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.slow
def test_a_quota_that_a_database_meets_stops_the_study_with_one_sentence(refusing: Path, tmp_path: Path) -> None:
    record, since = (tmp_path / "record").resolve(), tmp_path / "since"
    refuse = {"LD_PRELOAD": str(refusing), "REFUSE_BELOW": str(record / "optuna.db"), "REFUSE_SINCE": str(since)}
    launch = Launch(record, "--seeds", "1", study="null", environment=UNDRAWN | refuse)
    launch.says("started ")
    since.touch()
    assert launch.end() == 1
    assert launch.text.splitlines()[-1] == (
        f"run.py: stopped, because a database of {record} {SENTENCE} and run the same command again."
    )
    assert "Traceback" not in launch.text
