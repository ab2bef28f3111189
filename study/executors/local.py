"""Worker processes on this machine, one a device slot, each reused from trial to trial."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
Event = dict[str, Any]


@dataclass(frozen=True)
class Slot:
    """A place for one worker: a device, and the CPU threads that the worker may use."""

    number: int
    device: str
    threads: int


def slots(devices: list[str], per_device: int | None) -> list[Slot]:
    """`per_device` workers on each device; by default one on a GPU, and on a CPU one single-threaded a core.

    Two threads in one process lose to two processes of one thread, badly when the machine is shared; and one thread
    a worker keeps the numbers the same whatever `per_device` is.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = []
    for device in devices:
        count = per_device or (cores if device == "cpu" else 1)
        threads = 1 if device == "cpu" else max(1, cores // (count * len(devices)))
        found += [(device, threads)] * count
    return [Slot(number, device, threads) for number, (device, threads) in enumerate(found)]


class LocalExecutor:
    """submit(slot, job), poll() -> events of any slot, cancel(). Workers start when they are first needed."""

    def __init__(self, slots: list[Slot], logs: Path) -> None:
        self.slots = slots
        self.logs = logs
        self.events: queue.Queue[tuple[Slot, subprocess.Popen[str], Event | None]] = queue.Queue()
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.stopping = False
        self.jobs: dict[int, int] = {}  # slot -> number of its job

    def submit(self, slot: Slot, job: dict[str, Any]) -> None:
        """Give a job to the slot's worker."""
        worker = self.workers.get(slot.number)
        if worker is None or worker.poll() is not None:
            worker = self._start(slot)
        self.jobs[slot.number] = number = self.jobs.get(slot.number, 0) + 1
        self._write(worker, job | {"number": number})

    def stop(self, slot: Slot) -> None:
        """End the slot's job, not its worker: the event `stopped` follows, or `done` if it came first."""
        self._write(self.workers[slot.number], {"kind": "stop", "number": self.jobs[slot.number]})

    def _write(self, worker: subprocess.Popen[str], line: dict[str, Any]) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(line) + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            pass  # the worker died this moment: its reader thread reports it

    def poll(self, timeout: float) -> tuple[Slot, Event] | None:
        """The next event of any worker, or None after `timeout` seconds.

        A worker that ends by itself gives the event `failed`, with its exit code and the end of its log.
        """
        if self.stopping:  # here, and not in the middle of a write to a database
            raise KeyboardInterrupt
        try:
            slot, worker, event = self.events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is not None:
            return None if event["event"] == "beat" else (slot, event)
        if self.workers.get(slot.number) is worker:
            del self.workers[slot.number]
        code = worker.wait()
        log = self._log(slot).read_text(encoding="utf-8", errors="replace")[-4000:]
        error = f"the worker ended with exit code {code}"
        return slot, {"event": "failed", "status": "failed", "error": error, "traceback": f"{error}\n\n{log}"}

    def cancel(self) -> None:
        """End all workers now; what they did since their last checkpoint is done again next time."""
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.workers.clear()

    def _log(self, slot: Slot) -> Path:
        return self.logs / f"worker-{slot.number}.log"

    def _start(self, slot: Slot) -> subprocess.Popen[str]:
        self.logs.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "OMP_NUM_THREADS": str(slot.threads),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
        }
        with self._log(slot).open("w", encoding="utf-8") as log:
            worker = subprocess.Popen(
                [sys.executable, str(ROOT / "runners" / "worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                # A Ctrl-C in the terminal goes to the coordinator alone, which then ends its workers.
                start_new_session=True,
            )
        self.workers[slot.number] = worker
        threading.Thread(target=self._read, args=(slot, worker), daemon=True).start()
        return worker

    def _read(self, slot: Slot, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            self.events.put((slot, worker, json.loads(line)))
        self.events.put((slot, worker, None))
