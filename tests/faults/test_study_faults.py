"""Faults of a whole study, injected for real: processes are killed, disks fill up, databases are locked.

`make faults` runs all of them, with a study of 12 trials that is killed 20 times; the seed of the kill moments is
printed and may be given (`make faults FAULT_SEED=1`). `make test` leaves out those that take minutes: it kills a study
in tests/test_study.py and tests/test_search.py.
"""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from launched import Launch, assert_no_orphans, without_root

from runners.experiment import ExecutionContext
from runners.process.locks import lock
from runners.process.protocol import Failed, Job
from study.cli import doctor
from study.executors.local import LocalExecutor, Slot
from study.record import layout, mlflow_index, optuna_store, reader

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("FAULT_KILLS", "0"))
SEEDS = 4 if KILLS else 1  # of three arms
takes_minutes = pytest.mark.skipif(not KILLS, reason="takes minutes: make faults")
MOMENTS = ("1 trial and 1 training to run", "started ")  # at which a disk fills up
TARGETS = ("scheduler", "worker", "both")
STUDY = "schedules-smoke"

# Every Python process of a study notes where it connects to, and which hosts it looks up.
WATCH = """
import os, socket, sys

def note(*what):
    with open(os.environ["SEEN"], "a") as file:
        print(*what, sep="\\t", file=file)

def watched(real):
    def call(self, address, *more):
        note("connect", address)
        return real(self, address, *more)
    return call

socket.socket.connect = watched(socket.socket.connect)
socket.socket.connect_ex = watched(socket.socket.connect_ex)
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: (note("look up", host), look_up(host, *more, **named))[1]
note("process", " ".join(sys.orig_argv))
"""


def complete(record: Path) -> int:
    return sum(layout.KEY.fullmatch(path.name) is not None for path in (record / "trials").glob("*"))


def assert_whole(record: Path, trials: int) -> None:
    """Every trial once, and both databases agree with the folders."""
    assert doctor.main(["--record", str(record)]) == 0
    runs = mlflow_index.MlflowIndex(record, STUDY, "?").finished()
    assert [len(ids) for ids in runs.values()] == [1] * trials
    keys = [trial.key for trial in optuna_store.rows(record, STUDY) if trial.state == "complete"]
    assert len(keys) == len(set(keys)) == trials
    assert list(reader.load(STUDY, record)["state"]) == ["complete"] * trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study that nothing disturbed, and what its processes did on the network."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sitecustomize.py").write_text(WATCH)
    seen = folder / "seen"
    watched = os.environ | {"PYTHONPATH": str(folder), "SEEN": str(seen)}
    launch = Launch(folder / "record", "--seeds", str(SEEDS), workers=2, environment=watched)
    assert launch.end() == 0, launch.text
    return folder / "record", seen


def without_times(table: Path) -> list[list[str]]:
    """The cells of a table, as they are written, but for the seconds that sampling took."""
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    timed = header.index("sampling s")
    return [row[:timed] + row[timed + 1 :] for row in [header, *rows]]


def prepared(undisturbed: tuple[Path, Path], place: Path) -> Path:
    """A new record with the data and the surrogate evaluator, and nothing else."""
    shutil.copytree(undisturbed[0] / "cache", place / "cache", ignore=shutil.ignore_patterns("trainings", "logs"))
    return place


def all_but_one(undisturbed: tuple[Path, Path], place: Path, *names: str) -> Path:
    """A record that lacks the last trial of seed 0, with the files of `names` besides."""
    prepared(undisturbed, place)
    study = reader.load_study(STUDY, undisturbed[0])
    keys = [trial.trial_key for trial in study.trials if trial.seed == 0]
    for key in keys[:-1]:
        shutil.copytree(undisturbed[0] / "trials" / key, place / "trials" / key)
    for name in names:
        shutil.copy(undisturbed[0] / name, place / name)
    return place


def test_a_study_talks_to_nobody(undisturbed):
    """Every connection of its processes goes to this machine, and no foreign name is looked up."""
    rows = [line.split("\t") for line in undisturbed[1].read_text().splitlines()]
    processes = " ".join(row[1] for row in rows if row[0] == "process")
    assert "study/run.py" in processes
    assert "runners.process.worker" in processes
    abroad = [row for row in rows if row[0] != "process" and not re.match(r"\(?'?(127\.|::1|localhost|/)", row[1])]
    assert abroad == []


@takes_minutes
def test_killed_again_and_again_it_ends_with_the_table_of_the_undisturbed_study(undisturbed, tmp_path):
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 1_000_000))
    print(f"FAULT_SEED={seed} FAULT_KILLS={KILLS}")
    rng = random.Random(seed)
    record = prepared(undisturbed, tmp_path / "record")
    launches: list[Launch] = []
    pids: set[int] = set()

    def go_on() -> Launch:
        if not launches or launches[-1].process.poll() is not None:
            launches.append(Launch(record, "--seeds", str(SEEDS), "--retries", str(KILLS), workers=2))
        return launches[-1]

    for number in range(KILLS):
        launch, target = go_on(), TARGETS[number % len(TARGETS)]
        if target != "scheduler" or rng.random() < 0.7:  # else it may be killed while it starts
            launch.wait_for(lambda launch=launch: launch.workers)
            launch.wait_for(lambda number=number: complete(record) >= number * 3 * SEEDS // KILLS)
        time.sleep(rng.uniform(0, 4))
        workers = launch.workers
        pids |= set(workers)
        print(f"kill {number}: {target}, {complete(record)} trials complete, {len(workers)} workers")
        if target != "scheduler" and workers:
            for pid in workers if target == "both" else [rng.choice(workers)]:
                os.kill(pid, signal.SIGKILL)
        if target != "worker":
            launch.process.kill()
            launch.process.wait()
    while go_on().end() != 0:
        assert launches[-1].process.returncode == -signal.SIGKILL, launches[-1].text
    assert_no_orphans(pids)
    assert_whole(record, 3 * SEEDS)
    tables = sorted((undisturbed[0] / "studies" / STUDY / "report/tables").glob("accuracy_*.csv"))
    assert len(tables) >= 4
    for path in tables:
        assert without_times(record / "studies" / STUDY / "report/tables" / path.name) == without_times(path)
    told = "".join(launch.text for launch in launches)
    assert "was interrupted: it goes on from its last checkpoint" in told
    assert "Traceback" not in told


@takes_minutes
def test_a_worker_that_is_killed_leaves_its_arm_incomplete_without_retries(undisturbed, tmp_path):
    record = all_but_one(undisturbed, tmp_path / "record")
    launch = Launch(record, "--retries", "0")
    launch.says("started ")
    os.kill(launch.workers[0], signal.SIGKILL)
    assert launch.end() == 1, launch.text
    assert "crashed: the worker was ended by SIGKILL" in launch.text
    assert "1 of 3 trials is not complete" in launch.text
    index = mlflow_index.MlflowIndex(record, STUDY, "?")
    (failed,) = (run for run in index._runs("attributes.status = 'FAILED'") if run.data.tags["kind"] == "trial")
    assert failed.data.tags["status"] == "crashed"
    assert "traceback.txt" in {item.path for item in index.client.list_artifacts(failed.info.run_id)}
    assert sorted(trial.state for trial in optuna_store.rows(record, STUDY)) == ["complete", "complete", "failed"]


def test_a_worker_that_is_killed_is_tried_again(undisturbed, tmp_path):
    record = all_but_one(undisturbed, tmp_path / "record")
    launch = Launch(record)
    launch.says("started ")
    os.kill(launch.workers[0], signal.SIGKILL)
    assert launch.end() == 0, launch.text
    assert "retry 1" in launch.text
    assert_whole(record, 3)


def test_a_worker_that_says_nothing_is_ended(tmp_path):
    executor = LocalExecutor([Slot(0, "cpu", 1)], tmp_path / "logs", timeout=1.0)
    executor.submit(executor.slots[0], Job("trial", 1, "ddpm", {}, ExecutionContext(str(tmp_path), "cpu")))
    os.kill(executor.workers[0].pid, signal.SIGSTOP)
    answer, deadline = None, time.monotonic() + 30
    while answer is None and time.monotonic() < deadline:
        answer = executor.poll(0.2)
    executor.cancel()
    assert answer is not None
    assert isinstance(answer[1], Failed)
    assert answer[1].status == "hung"


@takes_minutes
def test_the_second_ctrl_c_stops_now(undisturbed, tmp_path):
    """The first one waits for a checkpoint, which a worker that is stopped never writes."""
    launch = Launch(all_but_one(undisturbed, tmp_path / "record"))
    launch.says("started ")
    (worker,) = launch.workers
    os.kill(worker, signal.SIGSTOP)
    launch.process.send_signal(signal.SIGINT)
    launch.says("stopping: 1 at its checkpoint, at most ")
    assert launch.process.poll() is None
    launch.process.send_signal(signal.SIGINT)
    assert launch.end() == 130
    assert_no_orphans({worker})
    assert "To resume, run the same command again:" in launch.text
    assert "Traceback" not in launch.text


def test_a_study_is_run_once_at_a_time(undisturbed, tmp_path):
    record = all_but_one(undisturbed, tmp_path / "record")
    with lock(record / "studies" / STUDY / "lock"):
        launch = Launch(record)
        assert launch.end() == 2
    assert re.search(rf"is being run by process {os.getpid()} since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d: wait", launch.text)


@takes_minutes
def test_two_studies_of_one_record_run_at_once(undisturbed, tmp_path):
    record = all_but_one(undisturbed, tmp_path / "record")
    both = Launch(record), Launch(record, "--seeds", "1", study="null")
    for launch in both:
        assert launch.end() == 0, launch.text
    assert_whole(record, 3)
    assert list(reader.load("null-smoke", record)["state"]) == ["complete"] * 2


def test_mlflow_may_be_locked_while_trials_run(undisturbed, tmp_path):
    """Another program holds the database: the trial is trained and scored, the index catches up."""
    record = all_but_one(undisturbed, tmp_path / "record", "mlflow.db")
    mlflow_index.relocate(record)
    with sqlite3.connect(record / "mlflow.db", isolation_level=None) as connection:
        connection.execute("DELETE FROM tags WHERE key IN ('kind', 'trial_key')")  # what is known of the trials
        connection.execute("BEGIN EXCLUSIVE")
        launch = Launch(record)
        launch.says("[3/3]")
        assert "mlflow.db is locked by another program: training goes on" in launch.text
        connection.execute("ROLLBACK")
    connection.close()
    assert launch.end() == 0, launch.text
    assert "the index catches up" in launch.text
    assert_whole(record, 3)


@contextmanager
def disk(place: Path) -> Iterator[Callable[[int | None], None]]:
    """A file system of its own in memory; the function leaves so many bytes free, or plenty."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a tmpfs here")

    def leave(free: int | None) -> None:
        usage = shutil.disk_usage(place)
        size = 2**30 if free is None else usage.used + free
        subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)

    try:
        yield leave
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@takes_minutes
def test_a_full_disk_stops_the_study_with_one_sentence(undisturbed, tmp_path):
    """Full when the databases are made, and while a trial runs; with room it goes on."""
    with disk(tmp_path / "disk") as leave:
        record = all_but_one(undisturbed, tmp_path / "disk" / "record")
        for moment in MOMENTS:
            launch = Launch(record)
            launch.says(moment)
            leave(64 * 1024)
            assert launch.end() == 1, launch.text
            last = launch.text.strip().splitlines()[-1]
            assert (
                last
                == f"run.py: stopped, because the disk of {record} is full: make room and run the same command again."
            )
            assert "Traceback" not in launch.text
            leave(None)
        launch = Launch(record)
        assert launch.end() == 0, launch.text
        assert_whole(record, 3)


def test_a_folder_that_may_not_be_written_stops_the_study_with_one_sentence(undisturbed, tmp_path):
    record = all_but_one(undisturbed, tmp_path / "record")
    (record / "trials").chmod(0o555)
    launch = Launch(record, before=without_root)
    assert launch.end() == 1, launch.text
    last = launch.text.strip().splitlines()[-1]
    assert last.endswith("cannot be written: grant yourself write permission there and run the same command again.")
    assert "Traceback" not in launch.text
    (record / "trials").chmod(0o755)
    assert Launch(record).end() == 0
    assert_whole(record, 3)
