"""Temporary files find no room (TMPDIR, /dev/shm), or a quota is used up: a study goes on, or what is full is named."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import file_systems
import matplotlib
import pytest
from launch import ROOT, UNDRAWN
from launched import Launch

from analysis.pages import figure_pool
from analysis.plotting import style
from runners.process import scratch
from runners.process.protocol import Failed
from study.cli import doctor
from study.record import errors
from study.scheduling.settings import refuse_full_disk

LEAST = ["--study", "null", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]


def run(environment: dict[str, str], *line: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, line)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes of a small disk."""
    (folder / "filler").unlink(missing_ok=True)
    with (folder / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - left))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]
    mounted = subprocess.run(line, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def _places_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test changes of them comes back."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())


@pytest.mark.long
def test_a_study_goes_on_when_the_temporary_disk_is_full_and_when_it_fills_up(small, tmp_path):
    environment = UNDRAWN | {"TMPDIR": str(small)}
    record = tmp_path / "record"
    launch = Launch(record, *LEAST[4:], study="null", environment=environment)
    launch.says("to run, about")
    fill(small, 0)
    assert launch.end() == 0, launch.text
    assert f"{small} takes no temporary files (No space left on device): they go to {record}/cache/" in launch.text
    fill(small, 8192)  # enough for Python, which tries four bytes, not for what MLflow writes
    launch = Launch(record, *LEAST[4:], study="null", environment=environment)
    assert launch.end() == 0, launch.text
    first = launch.text.splitlines()[0]
    assert first.startswith(f"{small} takes no temporary files (No space left on device): they go to {record}/cache/")
    assert not list((record / "cache").glob("temporary-*"))
    assert doctor.main(["--record", str(record)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_an_index_is_rebuilt_when_temporary_files_find_no_room(miniature_record, tmp_path, number):
    record, full = Path(shutil.copytree(miniature_record, tmp_path / "record")), tmp_path / "full"
    full.mkdir()
    environment = file_systems.environment(tmp_path / "replaced", file_systems.FULL_FOLDER, number=number)
    done = run(
        environment | {"TMPDIR": str(full), "FULL": str(full)},
        "-m", "study.doctor", "--record", record, "--rebuild-mlflow",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()  # between them, on a busy machine, how far it is
    assert first.startswith(f"{full} takes no temporary files ({os.strerror(number)}): they go to {record}/cache/")
    assert last == "schedules-smoke: 9 trials indexed"
    assert not list((record / "cache").glob("temporary-*"))


def test_a_full_temporary_disk_is_named_and_not_the_record_s(small, tmp_path, monkeypatch):
    """Where no file is named it is looked for; where one is, that one counts."""
    monkeypatch.setattr(tempfile, "tempdir", str(small))
    monkeypatch.setenv("TMPDIR", str(small))
    fill(small, 0)
    nameless = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wanted = f"the disk of {small} is full, not that of {tmp_path}: make room, or set TMPDIR to another folder"
    assert errors.sentence(nameless, tmp_path) == wanted
    named = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(small / "deeper" / "file"))
    assert errors.sentence(named, tmp_path) == wanted
    own = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "trials" / "file"))
    assert errors.sentence(own, tmp_path) == f"the disk of {tmp_path} is full: make room"


def test_a_quota_is_told_from_a_full_disk(tmp_path):
    """Where a quota is used up the disk has room, and looking at its free space would mislead."""
    error = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(tmp_path / "trials" / "file"))
    assert errors.sentence(error, tmp_path) == f"your quota on the disk of {tmp_path} is used up: make room"
    with pytest.raises(OSError, match="Disk quota exceeded") as raised:
        refuse_full_disk(Failed("failed", "the disk is full ([Errno 122] Disk quota exceeded): ...", ""), tmp_path)
    assert errors.sentence(raised.value, tmp_path) == f"your quota on the disk of {tmp_path} is used up: make room"


def test_a_file_system_without_inodes_is_told_from_a_full_disk(tmp_path):
    """On a real one of 16 files and 8 MiB."""
    small = ["-t", "tmpfs", "-o", "size=8m,nr_inodes=16", "tmpfs"]
    if subprocess.run(["mount", *small, tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for number in range(15):
            (tmp_path / f"{number}").touch()
        with pytest.raises(OSError, match="No space left") as raised:
            (tmp_path / "one more").touch()
        assert "can take no more files" in errors.sentence(raised.value, tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.usefixtures("_places_of_this_process")
def test_a_worker_without_temporary_room_is_told_another_place(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(small))
    monkeypatch.setenv("TMPDIR", str(small))
    fill(small, 0)
    message = Failed("failed", "the disk is full ([Errno 28] No space left on device): ...", "")
    moved = refuse_full_disk(message, tmp_path)
    assert moved.startswith(f"{small} takes no temporary files (No space left on device): they go to {tmp_path}/cache/")
    assert os.environ["TMPDIR"] == tempfile.gettempdir()
    assert Path(tempfile.gettempdir()).parent == tmp_path / "cache"
    assert scratch.settle(tmp_path / "cache") == ""


@pytest.mark.usefixtures("_places_of_this_process")
def test_a_temporary_folder_that_is_not_there_is_passed_over_in_words(tmp_path, monkeypatch):
    """Python passes over it in silence; compilers and SQLite do not."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    usual = tempfile.gettempdir()
    sentence = scratch.settle(tmp_path / "cache")
    none = f"{tmp_path / 'none'} takes no temporary files (No such file or directory)"
    assert sentence == f"{none}: they go to {usual}."
    assert os.environ["TMPDIR"] == usual
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOSYS], ids=errno.errorcode.get)
def test_figures_are_drawn_here_where_no_semaphores_can_be_made(monkeypatch, number):
    """/dev/shm is full, or closed, as in some containers."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)
    with figure_pool.opened(2) as pool:
        assert pool is None


def test_a_report_is_written_while_the_shared_memory_is_full(miniature_record, tmp_path):
    """In a real /dev/shm of this test alone."""
    line = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/filler && exec "$@"'
    allowed = subprocess.run(["unshare", "-m", "sh", "-c", line, "sh", "true"], capture_output=True, text=True)
    if allowed.returncode:
        pytest.skip(f"no file system can be mounted here: {allowed.stderr.strip()}")
    command = [sys.executable, "-m", "analysis.report", "--record", str(miniature_record), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", line, "sh", *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.endswith(f"\nReport: {tmp_path}/index.html\n")


def test_figures_take_the_whole_font_where_a_temporary_one_finds_no_room(monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refused)
    assert style._slim_font() is None
    monkeypatch.setattr(style, "_FONT", None)
    with style.look():
        assert matplotlib.rcParams["font.family"] == ["DejaVu Sans"]
