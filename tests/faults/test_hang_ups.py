"""A terminal or an SSH session that goes away in the middle of a training, `nohup`, and jobs in the background."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN
from launched import WAIT_SECONDS, Launch, assert_no_orphans

pytestmark = pytest.mark.slow
LONG = ("--seeds", "1", "--set", "total_images=40000")  # a minute of training: it is at it when the signal comes


def states(record: Path) -> set[str]:
    """Of every run in MLflow."""
    with contextlib.closing(sqlite3.connect(record / "mlflow.db")) as database:
        return {state for (state,) in database.execute("select status from runs")}


def take_terminal() -> None:
    """Standard input becomes the terminal that says when it goes away, whatever the tests themselves run under."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Session:
    """A study in the foreground of a terminal of its own, as `ssh` and a terminal's window give it."""

    def __init__(self, record: Path) -> None:
        self.master, terminal = pty.openpty()
        line = [sys.executable, "study/run.py", "--study", "null", "--scale", "smoke", "--record", str(record)]
        self.process = subprocess.Popen(
            [*line, "--per-device", "1", *LONG],
            cwd=ROOT,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=UNDRAWN | {"TERM": "xterm", "COLUMNS": "120"},
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(terminal)

    def says(self, text: bytes) -> None:
        shown, deadline = b"", time.monotonic() + WAIT_SECONDS
        while text not in shown:
            assert time.monotonic() < deadline, shown
            shown += os.read(self.master, 65536)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path / "record")
    made.says(b"images/s")  # a bar of a training, or of what comes before it
    made.says(b"of 2 done")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.parametrize("hang_ups", [0, 3], ids=["the terminal alone", "the shell and a login manager too"])
def test_a_terminal_that_goes_away_stops_a_study_with_a_checkpoint(hang_ups: int, session: Session, tmp_path: Path):
    children = Path(f"/proc/{session.process.pid}/task/{session.process.pid}/children").read_text().split()
    os.close(session.master)
    for _ in range(hang_ups):
        time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            session.process.send_signal(signal.SIGHUP)
    assert session.process.wait(WAIT_SECONDS) == 130
    assert states(tmp_path / "record") == {"KILLED"}
    assert list((tmp_path / "record").glob("cache/trainings/*/state.pt"))
    assert_no_orphans({int(pid) for pid in children})


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT], ids=["under nohup", "in a script's background"])
def test_a_signal_that_was_ignored_at_the_start_stops_nothing(ignored: signal.Signals, tmp_path: Path):
    record = tmp_path / "record"
    launch = Launch(record, *LONG, study="null", before=lambda: signal.signal(ignored, signal.SIG_IGN))
    launch.says("started ")
    launch.process.send_signal(ignored)
    time.sleep(1)
    assert launch.process.poll() is None
    assert "stopping" not in launch.text
    launch.process.send_signal(signal.SIGTERM)
    assert launch.end() == 130
    assert states(record) == {"KILLED"}
