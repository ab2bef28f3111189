"""What reads a record needs no right to write it: on a read-only mount, or in a folder of somebody else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
import synthetic_record
from launch import ROOT, UNDRAWN
from launched import without_root

from analysis import report
from runners.process.locks import Held, glance, lock
from study.cli import doctor
from study.record import access, database_copies, mlflow_index, optuna_store

STUDY = "schedules-smoke"
COPY = (
    "import sys; from pathlib import Path; from study.record.database_copies import copy; "
    "copy(*map(Path, sys.argv[1:]))"
)
LEAST = ["--study", "null", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]


def closed(record: Path) -> None:
    """Nobody may write there: neither into folders nor to files."""
    for path in [*record.rglob("*"), record]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def opened(record: Path) -> None:
    for path in [record, *record.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def command(*line: object) -> list[str]:
    return [sys.executable, *map(str, line)]


def run(
    *line: object, before: Callable[[], None] | None = without_root, environment: Mapping[str, str] = UNDRAWN
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*line), cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment, preexec_fn=before
    )


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic record with its report and MLflow's database, written elsewhere than it will be read."""
    record = synthetic_record.make(tmp_path_factory.mktemp("indexed") / "written here", seeds=(0, 1))
    assert doctor.main(["--record", str(record), "--rebuild-mlflow"]) == 0
    optuna_store.OptunaStudy(record, STUDY, "?", "accuracy/validation")
    report.build(STUDY, record)
    return record


@pytest.fixture(params=["closed", "mounted read-only"])
def record(request: pytest.FixtureRequest, indexed: Path, tmp_path: Path) -> Iterator[Path]:
    """A record that cannot be written: by its rights, and on a real mount where one can be made."""
    place = tmp_path / "a record"
    if request.param == "closed":
        shutil.copytree(indexed, place)
        closed(place)
        yield place
        opened(place)
        return
    place.mkdir()
    mounted = subprocess.run(["mount", "--bind", indexed, place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def contents(record: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in record.rglob("*")}


def test_the_report_of_a_record_that_cannot_be_written_is_shown(record):
    before = contents(record)
    done = run("-m", "analysis.report", "--record", record)
    assert (done.returncode, done.stderr) == (0, "")
    assert "schedule=linear" in done.stdout
    assert done.stdout.endswith(f"\nReport: {record}/studies/{STUDY}/report/index.html\n")
    assert contents(record) == before


def test_the_reports_of_all_studies_need_another_folder(record, tmp_path):
    done = run("-m", "analysis.report", "--all", "--record", record)
    assert done.returncode == 2
    assert done.stderr.startswith("report: The record cannot be written (")
    assert done.stderr.endswith("write --out DIR, a folder for the reports.\n")
    done = run("-m", "analysis.report", "--all", "--record", record, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_doctor_checks_what_it_cannot_write_and_refuses_to_repair_it(record):
    before = contents(record)
    done = run("-m", "study.doctor", "--record", record)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{record}: nothing is wrong\n", "")
    for action in ("--repair", "--relocate"):
        done = run("-m", "study.doctor", "--record", record, action)
        assert done.returncode == 2
        assert done.stderr.startswith(f"doctor.py: The record {record} cannot be written ({record}: ")
        assert done.stderr.count("\n") == 1
    assert contents(record) == before


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_the_browser_shows_a_record_that_cannot_be_written_and_leaves_nothing(record, tmp_path):
    """From copies of its databases; its pictures come from the record, wherever that was written."""
    port, scratch, before = free_port(), tmp_path / "scratch", contents(record)
    scratch.mkdir()
    server = subprocess.Popen(
        command("study/ui.py", "--record", record, "--port", port), cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, env=UNDRAWN | {"TMPDIR": str(scratch)}, preexec_fn=without_root,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline
            time.sleep(0.3)
        (copy,) = scratch.glob("record-*")
        folder = next(record.glob("trials/*/grid_test.png")).parent
        run_id = mlflow_index.MlflowIndex(copy, STUDY, "?").finished()[folder.name][0]
        address = f"http://127.0.0.1:{port}/get-artifact?path=grid_test.png&run_uuid={run_id}"
        with urlopen(address, timeout=60) as response:
            assert response.read() == (folder / "grid_test.png").read_bytes()
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()
    assert f"The record cannot be written ({record}: " in out
    assert server.returncode == 0
    assert not list(scratch.glob("record-*"))
    assert not answers(port)
    assert contents(record) == before


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study, as its command leaves it."""
    record = tmp_path_factory.mktemp("studied") / "record"
    done = run("study/run.py", *LEAST, "--record", record, before=None)
    assert done.returncode == 0, done.stderr
    return record


@pytest.mark.long
def test_a_complete_study_is_answered_where_nothing_can_be_written(studied, tmp_path):
    record = Path(shutil.copytree(studied, tmp_path / "record"))
    again = run("study/run.py", *LEAST, "--record", record, before=None).stdout
    closed(record)
    before = contents(record)
    done = run("study/run.py", *LEAST, "--record", record)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The record cannot be written ({record}: Permission denied): it is opened for reading only, " in done.stdout
    assert done.stdout.splitlines()[-12:] == again.splitlines()[-12:]
    more = run("study/run.py", *LEAST[:-6], "--seeds", "2", "--devices", "cpu", "--record", record)
    assert more.returncode == 2
    assert more.stderr.endswith("Permission denied): give --record DIR, a folder that you may write to.\n")
    assert more.stderr.count("\n") == 1
    assert contents(record) == before
    opened(record)


@pytest.mark.long
def test_one_database_that_cannot_be_written_does_not_hide_the_answer(studied, tmp_path):
    """A record of which somebody else wrote a part."""
    record = Path(shutil.copytree(studied, tmp_path / "record"))
    (record / "optuna.db").chmod(0o444)
    done = run("study/run.py", *LEAST, "--record", record)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"({record}/optuna.db: Permission denied): it is opened for reading only, " in done.stdout


def test_what_a_write_ahead_log_holds_is_copied(tmp_path):
    """While a study runs, and after it was killed: the log's changes count, with and without the shared memory."""
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("CREATE TABLE numbers (value)")
        connection.execute("INSERT INTO numbers VALUES (7)")
        database_copies.copy(database, tmp_path / "of a running one.db")
        killed = tmp_path / "killed"
        killed.mkdir()
        for ending in ("", "-wal"):
            shutil.copyfile(f"{database}{ending}", killed / f"mlflow.db{ending}")
    closed(killed)
    done = run("-c", COPY, killed / "mlflow.db", tmp_path / "of a killed one.db")
    opened(killed)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("of a running one.db", "of a killed one.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            assert connection.execute("SELECT value FROM numbers").fetchall() == [(7,)]


def test_a_reader_without_the_right_to_write_waits_for_who_repairs(tmp_path):
    path = tmp_path / "lock"
    with lock(path), pytest.raises(Held, match=f"by process {os.getpid()}"), glance(path, shared=True):
        pass
    with glance(path, shared=True), glance(tmp_path / "none"), glance(path, shared=True):
        pass


def test_a_record_that_can_be_written_or_is_not_there_is_not_taken_for_closed(tmp_path, miniature_record):
    assert access.unwritable(tmp_path / "none", STUDY) == ""
    assert access.unwritable(miniature_record, STUDY) == ""
    assert access.closed(tmp_path / "none" / "deeper") == ""


def test_a_notebook_shows_the_figures_of_a_record_that_cannot_be_written(record):
    before = contents(record)
    code = "from analysis.notebook import Opened; opened = Opened('schedules'); opened.show('accuracy_by_arm')"
    drawn = os.environ | {"ABLATION_RECORD": str(record), "PYTHONPATH": str(ROOT)}
    done = run("-c", code, environment=drawn)
    assert (done.returncode, done.stderr) == (0, "")
    assert "IPython.core.display.Image" in done.stdout
    assert contents(record) == before


def test_a_page_of_other_results_is_not_shown_as_today_s(indexed, tmp_path):
    record = Path(shutil.copytree(indexed, tmp_path / "a record"))
    (record / "studies" / STUDY / "report" / "built_from.json").write_text("{}")
    closed(record)
    done = run("-m", "analysis.report", "--record", record)
    opened(record)
    assert (done.returncode, done.stderr) == (1, "")
    command = f"python -m analysis.report --study {STUDY} --record '{record}' --out DIR"
    assert done.stdout.endswith(f"\nReport: none of today's results; write one with `{command}`\n")
