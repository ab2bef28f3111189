"""What is printed never decides what is done: a reader that has gone, a full disk under it, a reader that waits."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN

FULL = Path("/dev/full")  # where every write finds the disk full
NULL = ["--study", "null", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]
PRINTING = {  # commands whose result is what they print; {} is a record
    "list": "study/run.py --list",
    "dry run": "study/run.py --study null --scale smoke --dry-run --record {}",
    "explain": "study/run.py --study schedules --scale smoke --explain schedule=linear --record {}",
    "doctor": "-m study.doctor --record {}",
}
UNWANTED = ("Traceback", "Errno", "Exception", "make room")  # on standard error
CODES = {"doctor": 1}  # no database has the trials of a synthetic record
HELP = {name: f"{name} --help" for name in ("study/run.py", "study/ui.py", "analysis/report.py", "-m runners.render")}
OTHERS = {"report": "analysis/report.py --record {} --out {}/elsewhere", **HELP}


def python(line: str, record: Path) -> list[str]:
    return [sys.executable, *line.format(record, record).split()]


@pytest.fixture(scope="module")
def record(miniature_record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(miniature_record, tmp_path_factory.mktemp("printed") / "record"))


# --- commands that print ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PRINTING, *OTHERS])
def test_a_reader_that_has_gone_is_no_error(name: str, record: Path) -> None:
    """As of `| head -1`: not a word about it, and the exit code is the one that the command has with a reader."""
    read, write = os.pipe()
    os.close(read)
    line, environment = python((PRINTING | OTHERS)[name], record), UNDRAWN | {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run(line, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=120, env=environment)
    os.close(write)
    assert done.returncode == CODES.get(name, 0)
    assert not [word for word in UNWANTED if word in done.stderr.decode()]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this machine")
@pytest.mark.parametrize("name", PRINTING)
def test_a_full_disk_under_the_output_is_said_in_one_sentence(name: str, record: Path) -> None:
    """What was to be printed is incomplete, so the command has failed; the record's disk is not blamed."""
    with FULL.open("w") as full:
        line = python(PRINTING[name], record)
        done = subprocess.run(line, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, env=UNDRAWN)
    assert done.returncode == 1
    sentence = "Standard output cannot be written (No space left on device): what is printed there is lost."
    assert done.stderr.splitlines().count(sentence) == 1
    assert not [word for word in UNWANTED if word in done.stderr]


def test_what_was_closed_gets_nothing_of_what_is_printed(tmp_path: Path) -> None:
    """Descriptor 1 of `>&-` leads to nowhere: no file that is opened later gets it."""
    program = "import os, sys; from runners.process import command\n"
    program += f"def main():\n    file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY)\n"
    program += "    os.write(1, b'lost'); print('lost'); return file\n"
    program += "sys.exit(command.run(main))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, preexec_fn=lambda: os.close(1), timeout=60)
    assert done.returncode > 2
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize(("name", "shown"), [(b"k\xc3\xb6ln", b"k\\xf6ln"), (b"k\xf6ln", b"k\\udcf6ln")])
def test_letters_that_the_output_has_not_are_shown_by_their_code(
    name: bytes, shown: bytes, encoding: str, tmp_path: Path
) -> None:
    """The name of a folder, in UTF-8 and in Latin-1, which is no text in UTF-8."""
    folder = os.fsencode(tmp_path) + b"/" + name
    line = [sys.executable, "-m", "study.doctor", "--relocate", "--record", folder]
    environment = UNDRAWN | {"PYTHONIOENCODING": encoding}
    os.makedirs(folder + b"/trials")
    done = subprocess.run(line, cwd=ROOT, capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (name if encoding == "utf-8" and b"\xc3" in name else shown) in done.stdout


def filled(size: int = 4096) -> tuple[int, int]:
    """A pipe that takes nothing more until somebody reads."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, size)
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"." * size)
        except BlockingIOError:
            return read, write


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the size of a pipe is set on Linux only")
def test_a_pipe_that_another_program_made_non_blocking_gets_everything() -> None:
    read, write = filled()
    shown = subprocess.Popen(
        [sys.executable, "study/run.py", "--list"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, env=UNDRAWN
    )
    os.close(write)
    time.sleep(2)
    with open(read, "rb") as reader:
        text = reader.read().lstrip(b".").decode()
    _, errors = shown.communicate(timeout=60)
    assert (shown.returncode, errors) == (0, b"")
    assert text.startswith("adaptation_lambda  ")
    assert "\ntimesteps " in text


# --- studies ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unread(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A smoke study whose log lies on a full disk."""
    record = tmp_path_factory.mktemp("unread") / "record"
    line = [sys.executable, "study/run.py", *NULL, "--record", str(record), "--set", "total_images=64"]
    with FULL.open("w") as full:
        done = subprocess.run(line, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, env=UNDRAWN, timeout=300)
    return record, done


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this machine")
def test_a_full_disk_under_the_log_stops_no_study(unread: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    record, done = unread
    assert done.returncode == 0, done.stderr
    assert "Standard output cannot be written" in done.stderr
    assert len(list((record / "trials").glob("*/result.json"))) == 2


def started(unread: Path, record: Path, **streams: int | None) -> subprocess.Popen[bytes]:
    """A study whose training takes minutes."""
    shutil.copytree(unread / "cache", record / "cache", ignore=shutil.ignore_patterns("logs", "trainings"))
    line = [sys.executable, "study/run.py", *NULL, "--record", str(record), "--set", "total_images=400000"]
    environment = UNDRAWN | {"PYTHONUNBUFFERED": "1", "TERM": "xterm"}
    return subprocess.Popen(line, cwd=ROOT, env=environment, start_new_session=True, **streams)


def ends_with_a_checkpoint(record: Path, study: subprocess.Popen[bytes], end: Callable[[], None]) -> None:
    """Once it trains, `end` ends it: with what was trained up to then, and soon."""
    deadline = time.monotonic() + 120
    while not list((record / "cache/trainings").glob("*/curve.jsonl")):
        assert study.poll() is None, "the study ended by itself"
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.1)
    at = time.time()
    end()
    assert study.wait(60) == 130
    (state,) = (record / "cache/trainings").glob("*/state.pt")
    assert state.stat().st_mtime >= at


@pytest.mark.slow
def test_a_ctrl_c_that_ends_the_reader_too_keeps_what_was_trained(unread: tuple[Path, object], tmp_path: Path) -> None:
    """As of `| tee log`, which dies of the same Ctrl-C."""
    tee = subprocess.Popen(["tee", tmp_path / "log"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert tee.stdin is not None
    with (tmp_path / "errors").open("w") as errors:
        study = started(unread[0], tmp_path / "record", stdout=tee.stdin.fileno(), stderr=errors.fileno())
    tee.stdin.close()

    def end() -> None:
        tee.send_signal(signal.SIGINT)
        tee.wait()
        study.send_signal(signal.SIGINT)

    ends_with_a_checkpoint(tmp_path / "record", study, end)
    assert "started   one seed=0" in (tmp_path / "log").read_text()
    said = (tmp_path / "errors").read_text()  # that stream is still read
    assert said.startswith("\nStopped. To resume, run the same command again:\n    ")
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the size of a pipe is set on Linux only")
def test_a_reader_that_takes_nothing_stops_no_study(unread: tuple[Path, object], tmp_path: Path) -> None:
    """As of a `tee` that Ctrl-Z has stopped: trained all the same, and ended by one Ctrl-C."""
    read, write = filled()
    os.set_blocking(write, True)
    study = started(unread[0], tmp_path / "record", stdout=write, stderr=None)
    os.close(write)
    ends_with_a_checkpoint(tmp_path / "record", study, lambda: study.send_signal(signal.SIGINT))
    os.close(read)


@pytest.mark.slow
def test_a_terminal_that_closes_keeps_what_was_trained(unread: tuple[Path, object], tmp_path: Path) -> None:
    """An SSH session that drops: the terminal is gone, and the kernel sends SIGHUP."""
    master, terminal = pty.openpty()
    study = started(unread[0], tmp_path / "record", stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    reading = threading.Event()

    def read() -> None:
        while not reading.is_set():
            try:
                os.read(master, 4096)
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def end() -> None:
        reading.set()
        reader.join(10)
        os.close(master)
        study.send_signal(signal.SIGHUP)  # the kernel's own goes to the terminal's session alone

    ends_with_a_checkpoint(tmp_path / "record", study, end)
