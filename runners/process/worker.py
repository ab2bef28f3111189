"""A worker process: takes jobs as JSON lines on standard input, gives events as JSON lines on standard output.

Between a job and its last event (`done`, `failed` or `stopped`) it says `beat` every BEAT_SECONDS if it got anything
done: one that is silent hangs. On SIGTERM, and when its input ends (a coordinator that dies leaves no orphan), it saves
the training that it is at, says `stopped` and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any

from runners.process import heartbeat

BEAT_SECONDS = 10.0
ORPHAN_SECONDS = 10.0  # that an orphan has to save its training
TERMINATED = 128 + signal.SIGTERM  # the exit code that shells give a process ended by SIGTERM
ENDS = ("done", "failed", "stopped")  # the last event of a job
Event = dict[str, Any]
Tell = Callable[[Event], None]


def main() -> None:
    jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()  # the one queue that a signal handler may use
    stopped: set[int] = set()  # numbers of jobs that are to end at their next event

    def end(*_: Any) -> None:
        heartbeat.stop()
        jobs.put(None)

    signal.signal(signal.SIGTERM, end)
    # The protocol keeps the real standard output; what libraries print goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    writing, working = threading.Lock(), threading.Event()

    def tell(event: Event) -> None:
        with writing, contextlib.suppress(BrokenPipeError):  # nobody listens: the input has ended too
            if event["event"] != "beat" or working.is_set():
                out.write(json.dumps(event) + "\n")
                out.flush()
            if event["event"] in ENDS:
                working.clear()

    threading.Thread(target=_read, args=(jobs, stopped, end), daemon=True).start()
    threading.Thread(target=beat, args=(tell, BEAT_SECONDS), daemon=True).start()

    import torch

    from runners.ddpm import trial  # noqa: F401  seconds: paid once a worker, not once a trial

    while (job := jobs.get()) is not None:
        torch.set_num_threads(job["place"]["threads"])
        working.set()
        try:
            _work(job, stopped, tell)
        except heartbeat.Stopped:
            tell({"event": "stopped", "reason": "SIGTERM"})
            os._exit(TERMINATED)
        except Exception as error:
            status, text = explain(error)
            tell({"event": "failed", "status": status, "error": text, "traceback": traceback.format_exc()})
    os._exit(0)


def _work(job: dict[str, Any], stopped: set[int], tell: Tell) -> None:
    with contextlib.closing(_events(job)) as events:
        for event in events:
            tell(event)
            if job["number"] in stopped and event["event"] != "done":
                break
        else:
            return
    tell({"event": "stopped", "reason": "asked"})  # when everything is saved


def explain(error: Exception) -> tuple[str, str]:
    """The status of a job that failed, and its error in words."""
    from runners.process import files, memory

    if isinstance(error, FloatingPointError):
        return "diverged", str(error)
    if memory.ran_out(error):
        return "out of memory", f"not even one image at a time fits into memory: {str(error).splitlines()[0]}"
    if files.disk_full(error):
        return "failed", f"the disk is full ({error}): make space and run the same command again."
    return "failed", str(error)


def beat(tell: Tell, seconds: float) -> None:
    """Every `seconds` say that this process lives, if it did any work since the last time."""
    seen = heartbeat.ticks()
    while True:
        time.sleep(seconds)
        if (now := heartbeat.ticks()) != seen:
            seen = now
            tell({"event": "beat"})


def _events(job: dict[str, Any]) -> Generator[Event, None, None]:
    from runners.ddpm import trial
    from runners.ddpm.config import TrialConfig

    config, place = TrialConfig.from_dict(job["config"]), trial.Place(**job["place"])
    return trial.make_stand_in(config, place) if job["kind"] == "evaluator" else trial.run(config, place)


def _read(jobs: queue.SimpleQueue[dict[str, Any] | None], stopped: set[int], end: Callable[[], None]) -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if job["kind"] == "stop":
            stopped.add(job["number"])
        else:
            jobs.put(job)
    end()
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
