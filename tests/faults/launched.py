"""A study that runs as a process: what it prints, its workers, and its end."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from launch import ROOT, UNDRAWN

WAIT_SECONDS = 240.0  # seconds that anything may take on a busy machine


def without_root() -> None:
    """The rights of files count for root too, in what this process starts next."""
    drop_from_bounding_set, override, read_search = 24, 1, 2  # prctl(2), capabilities(7)
    for capability in (override, read_search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


class Launch:
    """A study that runs: its process, what it has printed, and every worker that it ever had."""

    def __init__(
        self,
        record: Path,
        *arguments: str,
        study: str = "schedules",
        workers: int = 1,
        environment: Mapping[str, str] = UNDRAWN,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.log = record.with_name(f"{record.name}-{time.monotonic_ns()}.log")
        line = [sys.executable, "study/run.py", "--study", study, "--scale", "smoke", "--record", str(record)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*line, "--per-device", str(workers), *arguments],
                cwd=ROOT, stdout=log, stderr=log, env=environment, preexec_fn=before,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def workers(self) -> list[int]:
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return []
        return [int(pid) for pid in children if b"process.worker" in _command_line(int(pid))]

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Until something has happened, or the launch has ended."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not happened() and self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def says(self, text: str) -> None:
        self.wait_for(lambda: text in self.text)
        assert text in self.text

    def end(self) -> int:
        return self.process.wait(WAIT_SECONDS)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def assert_no_orphans(pids: set[int]) -> None:
    deadline = time.monotonic() + 30
    while left := [pid for pid in pids if b"process.worker" in _command_line(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
