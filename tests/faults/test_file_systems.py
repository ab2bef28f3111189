"""A record on a file system that cannot force folders to the disk, or that has no flock(2), or no locks at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import file_systems
import pytest
from launch import ROOT

from runners.process import files
from runners.process.locks import lock

LEAST = ["--study", "null", "--scale", "smoke", "--seeds", "1", "--devices", "cpu", "--per-device", "1"]
# Takes the lock of the file that it is given, or says who has it.
TAKE = (
    "import sys; from pathlib import Path; from runners.process.locks import lock\nwith lock(Path(sys.argv[1])): pass"
)


def run(environment: dict[str, str], *line: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, line)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.long
def test_a_study_runs_where_folders_are_not_synced_and_flock_is_missing(tmp_path):
    replaced = (file_systems.FOLDERS_UNSYNCED, file_systems.WITHOUT_FLOCK)
    record = tmp_path / "record"
    environment = file_systems.environment(tmp_path / "replaced", *replaced, number=errno.EINVAL, drawn=False)
    done = run(environment, "study/run.py", *LEAST, "--record", record)
    assert (done.returncode, done.stderr) == (0, "")
    sentence = f"The file system of {record} cannot force folders to the disk (Invalid argument): the study runs"
    assert done.stdout.count(sentence) == 1
    assert "[2/2]" in done.stdout


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_record_on_a_file_system_without_locks_is_refused_with_path_and_reason(tmp_path, number):
    environment = file_systems.environment(tmp_path / "replaced", file_systems.WITHOUT_LOCKS, number=number)
    record = tmp_path / "record"
    done = run(environment, "study/run.py", *LEAST, "--record", record)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"run\.py: The record {re.escape(str(record))} cannot be locked \({os.strerror(number)}\): its file system "
        r"has no file locks, .* Give --record DIR on a local disk\.\n",
        done.stderr,
    )
    assert not record.exists()


@pytest.mark.slow
def test_another_record_is_imported_where_folders_are_not_synced(miniature_record, tmp_path):
    environment = file_systems.environment(tmp_path / "replaced", file_systems.FOLDERS_UNSYNCED, number=errno.EBADF)
    done = run(environment, "-m", "study.doctor", "--record", tmp_path / "new", "--import", miniature_record)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trials: 9 new, 0 already here" in done.stdout


def test_a_doctor_that_cannot_lock_a_record_says_so(miniature_record, tmp_path):
    record = Path(shutil.copytree(miniature_record, tmp_path / "record"))
    environment = file_systems.environment(tmp_path / "replaced", file_systems.WITHOUT_LOCKS, number=errno.ENOLCK)
    done = run(environment, "-m", "study.doctor", "--record", record, "--prune-checkpoints")
    assert done.returncode == 1
    assert done.stderr == (
        f"doctor.py: stopped, because the file system of {record} has no file locks: copy the record to a disk that "
        "has them and run the same command again.\n"
    )


def test_a_record_that_was_moved_to_where_no_locks_are_is_checked(miniature_record, tmp_path):
    """Reading needs no lock; what would change it is refused."""
    record = Path(shutil.copytree(miniature_record, tmp_path / "record"))
    with lock(record / "lock"):
        pass
    environment = file_systems.environment(tmp_path / "replaced", file_systems.WITHOUT_LOCKS, number=errno.ENOLCK)
    done = run(environment, "-m", "study.doctor", "--record", record)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("wrong: mlflow.db is missing\n")
    done = run(environment, "-m", "study.doctor", "--record", record, "--prune-checkpoints")
    assert done.returncode == 2
    assert f"cannot be written ({record}/lock: No locks available)" in done.stderr


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP], ids=errno.errorcode.get)
def test_files_are_written_where_nothing_can_be_synced(tmp_path, monkeypatch, number):
    def unable(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", unable)
    files.write_json(tmp_path / "value.json", {"a": 1})
    files.append_lines(tmp_path / "lines.jsonl", [{"b": 2}])
    files.write_manifest(tmp_path)
    assert files.read_json(tmp_path / "value.json") == {"a": 1}
    assert files.damaged(tmp_path) == {"result.json": "missing"}  # of a folder that is no trial
    assert files.sync_folder(tmp_path) == os.strerror(number)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_disk_that_fails_to_sync_is_no_success_and_the_file_is_named(tmp_path, monkeypatch, number):
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "value.json"))) as error:
        files.write_json(tmp_path / "value.json", {"a": 1})
    assert error.value.errno == number
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "lines.jsonl"))):
        files.append_lines(tmp_path / "lines.jsonl", [{"b": 2}])
    assert (tmp_path / "lines.jsonl").read_bytes() == b""
    assert not (tmp_path / "value.json").exists()


def test_two_commands_exclude_each_other_without_flock(tmp_path, monkeypatch):
    """By the locks that SQLite uses, which belong to a process."""
    environment = file_systems.environment(tmp_path / "replaced", file_systems.WITHOUT_FLOCK, number=errno.ENOSYS)
    monkeypatch.setattr("fcntl.flock", refuse_flock)
    with lock(tmp_path / "lock"):
        done = run(environment, "-c", TAKE, tmp_path / "lock")
        assert done.returncode == 1
        assert f"Held: by process {os.getpid()} since 20" in done.stderr
    done = run(environment, "-c", TAKE, tmp_path / "lock")
    assert (done.returncode, done.stderr) == (0, "")


def refuse_flock(file: object, operation: int) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
