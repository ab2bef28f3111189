"""Worker processes on this machine, one per device slot, each reused from trial to trial."""

from __future__ import annotations

import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runners.process.cores import usable
from runners.process.protocol import LAST, Failed, Heartbeat, Job, Message, Status, Stop, decode, encode
from study.executors import Slot

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SECONDS = 15 * 60.0  # a worker that makes progress says so every few seconds
PYTHON = (sys.executable, "-P", "-m")  # -P: nothing is imported from the folder that a study is started in
ASLEEP_SECONDS = 60.0  # when nobody polled for so long, this process itself was stopped, not its workers


def slots(devices: list[str], per_device: int | None, deterministic: bool = False, compile: str = "auto") -> list[Slot]:
    """`per_device` workers on each device; by default one per GPU, and on a CPU one single-threaded worker per core.

    Two threads in one process lose to two processes of one thread, badly when the machine is shared; and one thread
    per worker keeps the numbers the same whatever `per_device` is.
    """
    found = []
    for device in devices:
        count = per_device or (usable() if device == "cpu" else 1)
        threads = 1 if device == "cpu" else max(1, usable() // (count * len(devices)))
        colocated = -(-count // usable()) if device == "cpu" else count
        found += [(device, threads, colocated)] * count
    return [Slot(number, *place, deterministic, compile) for number, place in enumerate(found)]


def surroundings() -> dict[str, str]:
    """The environment of a worker: this copy of the project before all that PYTHONPATH names. What an experiment of a
    user's starts imports as ever, from where its script lies."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if not sys.flags.safe_path:  # it is ours, not the user's
        environment.pop("PYTHONSAFEPATH", None)
    return environment


class LocalExecutor:
    """An `Executor` of processes. Workers start when they are first needed; one that has a job and sends nothing for
    `timeout` seconds is ended."""

    def __init__(self, slots: Sequence[Slot], logs: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        self.slots = slots
        self.logs = logs
        self.timeout = timeout
        self.events: queue.Queue[tuple[Slot, subprocess.Popen[str], Message | None]] = queue.Queue()
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.stopping = False
        self.jobs: dict[int, int] = {}  # slot -> number of its job
        self.since: dict[int, float] = {}  # slot at a job -> from when on its worker's silence counts
        self.heard: dict[int, float] = {}  # pid -> when the worker last said something
        self.hung: set[int] = set()  # pids that were ended for their silence
        self.polled = time.monotonic()

    def submit(self, slot: Slot, job: Job) -> None:
        """Give a job to the slot's worker."""
        worker = self.workers.get(slot.number)
        if worker is None or worker.poll() is not None:
            worker = self._start(slot)
        self.jobs[slot.number] = number = self.jobs.get(slot.number, 0) + 1
        self.since[slot.number] = time.monotonic()
        self._write(worker, dataclasses.replace(job, number=number))

    def stop(self, slot: Slot) -> None:
        """End the slot's job, not its worker: the message `Stopped` follows, or `Done` if it came first."""
        self._write(self.workers[slot.number], Stop(self.jobs[slot.number]))

    def renew(self, slot: Slot) -> None:
        """End the slot's idle worker: its next job gets a new process."""
        if worker := self.workers.pop(slot.number, None):
            worker.kill()
            worker.wait()

    def _write(self, worker: subprocess.Popen[str], message: Job | Stop) -> None:
        assert worker.stdin is not None
        try:
            worker.stdin.write(encode(message) + "\n")
            worker.stdin.flush()
        except BrokenPipeError:
            pass  # the worker died this moment: its reader thread reports it

    def poll(self, timeout: float) -> tuple[Slot, Message] | None:
        """The next message of any worker, or None after `timeout` seconds.

        A worker that ends in the middle of a job gives `Failed` with the status "crashed", or "hung" where it was ended
        for its silence, and with the end of its log. Raises KeyboardInterrupt once `stopping` is set.
        """
        if self.stopping:  # here, and not in the middle of a write to a database
            raise KeyboardInterrupt
        self._end_silent()
        try:
            slot, worker, message = self.events.get(timeout=timeout)
        except queue.Empty:
            return None
        if self.workers.get(slot.number) is not worker:
            return None  # the last words of a worker that has a successor
        if message is None:
            return self._ended(slot, worker)
        if isinstance(message, LAST):
            self.since.pop(slot.number, None)
        return None if isinstance(message, Heartbeat) else (slot, message)

    def _end_silent(self) -> None:
        """Kill the workers that have said nothing for too long; their end is reported as any other."""
        now = time.monotonic()
        if now - self.polled > ASLEEP_SECONDS:
            self.since = dict.fromkeys(self.since, now)
        self.polled = now
        for number, since in self.since.items():
            worker = self.workers[number]
            if now - max(since, self.heard.get(worker.pid, 0.0)) > self.timeout and worker.poll() is None:
                self.hung.add(worker.pid)
                worker.kill()

    def _ended(self, slot: Slot, worker: subprocess.Popen[str]) -> tuple[Slot, Message] | None:
        """What a worker's end means: nothing when it was idle."""
        del self.workers[slot.number]
        code = worker.wait()
        if self.since.pop(slot.number, None) is None:
            return None
        status: Status = "crashed"
        error = f"the worker ended with exit code {code}"
        if worker.pid in self.hung:
            status, error = "hung", f"the worker sent no heartbeat for {self.timeout / 60:g} minutes and was ended"
        elif code < 0:
            error = f"the worker was ended by {signal.Signals(-code).name}"
            error += " (the kernel does so when memory runs out)" if code == -signal.SIGKILL else ""
        log = self._log(slot).read_text(encoding="utf-8", errors="replace")[-4000:]
        return slot, Failed(status, error, f"{error}\n\n{log}")

    def wind_down(self, seconds: float) -> Iterator[tuple[int, float]]:
        """Ask the workers to write a checkpoint and end; those that are not done after `seconds` are ended.

        Yields, while it waits, how many are at it and the seconds that they still have.
        """
        for number, worker in self.workers.items():
            if number in self.since:
                worker.terminate()
            else:
                worker.kill()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            working = sum(worker.poll() is None for worker in self.workers.values())
            if not working:
                break
            yield working, left
            time.sleep(0.2)
        self.cancel()

    def cancel(self) -> None:
        """End all workers now; what they did since their last checkpoint is done again next time."""
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.workers.clear()
        self.since.clear()

    def _log(self, slot: Slot) -> Path:
        return self.logs / f"worker-{slot.number}.log"

    def _start(self, slot: Slot) -> subprocess.Popen[str]:
        self.logs.mkdir(parents=True, exist_ok=True)
        environment = surroundings() | {
            "OMP_NUM_THREADS": str(slot.threads),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
        }
        with self._log(slot).open("w", encoding="utf-8") as log:
            worker = subprocess.Popen(
                [*PYTHON, "runners.process.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                # A Ctrl-C in the terminal goes to the scheduler alone, which then ends its workers.
                start_new_session=True,
            )
        self.workers[slot.number] = worker
        threading.Thread(target=self._read, args=(slot, worker), daemon=True).start()
        return worker

    def _read(self, slot: Slot, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            if not line.endswith("\n"):
                break  # killed in the middle of an event
            self.heard[worker.pid] = time.monotonic()
            self.events.put((slot, worker, decode(line)))
        self.events.put((slot, worker, None))
