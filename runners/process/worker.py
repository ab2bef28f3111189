"""A worker process: takes jobs on standard input and answers on standard output, in the words of `protocol`.

Between a job and its last message it sends a heartbeat every HEARTBEAT_SECONDS if it got anything done: one that is
silent hangs. On SIGTERM, and when its input ends (a scheduler that dies leaves no orphan), it saves the training that
it is at, says so and ends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any

from runners import experiment
from runners.experiment import Event
from runners.process import heartbeat
from runners.process.protocol import LAST, Done, Failed, Heartbeat, Job, Message, Status, Stop, Stopped, decode, encode
from runners.process.system import refuse_windows

HEARTBEAT_SECONDS = 10.0
ORPHAN_SECONDS = 10.0  # that an orphan has to save its training
TERMINATED = 128 + signal.SIGTERM  # the exit code that shells give a process ended by SIGTERM
# Errors after which a process can compute nothing more on its GPU, whatever their cause: it needs a successor.
POISONED = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "illegal memory access")
Send = Callable[[Message], None]


def main() -> None:
    refuse_windows()
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # the one queue that a signal handler may use
    stopped: set[int] = set()  # numbers of jobs that are to end at their next event

    def end(*_: Any) -> None:
        heartbeat.stop()
        jobs.put(None)

    signal.signal(signal.SIGTERM, end)
    # The protocol keeps the real standard output; what libraries print goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    writing, working = threading.Lock(), threading.Event()

    def send(message: Message) -> None:
        with writing, contextlib.suppress(BrokenPipeError):  # nobody listens: the input has ended too
            if not isinstance(message, Heartbeat) or working.is_set():
                out.write(encode(message) + "\n")
                out.flush()
            if isinstance(message, LAST):
                working.clear()

    threading.Thread(target=_read, args=(jobs, stopped, end), daemon=True).start()
    threading.Thread(target=send_heartbeats, args=(send, HEARTBEAT_SECONDS), daemon=True).start()

    import torch

    from runners.process import memory

    while (job := jobs.get()) is not None:
        torch.set_num_threads(job.context.threads)
        working.set()
        try:
            _work(job, stopped, send)
        except heartbeat.Stopped:
            send(Stopped(asked=False))
            os._exit(TERMINATED)
        except Exception as error:
            status, text = explain(error)
            send(Failed(status, text, traceback.format_exc()))
        memory.give_back()  # an idle worker holds no memory of its last job
    os._exit(0)


def _work(job: Job, stopped: set[int], send: Send) -> None:
    with contextlib.closing(_events(job)) as events:
        for event in events:
            send(event)
            if job.number in stopped:
                break
        else:
            send(Done())
            return
    send(Stopped(asked=True))  # when everything is saved


def explain(error: Exception) -> tuple[Status, str]:
    """The status of a job that failed, and its error in words; "crashed" where this process can do no other job."""
    from runners.process import files, memory

    if isinstance(error, FloatingPointError):
        return "diverged", str(error)
    if memory.ran_out(error):
        found = next(iter(getattr(error, "__notes__", ())), "memory ran out outside of the network's own pass")
        return "out of memory", f"{found}: {(str(error) or type(error).__name__).splitlines()[0]}"
    if isinstance(error, RuntimeError) and any(word in str(error) for word in POISONED):
        return "crashed", str(error)
    if files.disk_full(error):
        return "failed", f"the disk is full ({error}): make space and run the same command again."
    return "failed", str(error)


def send_heartbeats(send: Send, seconds: float) -> None:
    """Every `seconds` say that this process lives, if it did any work since the last time."""
    seen = heartbeat.ticks()
    while True:
        time.sleep(seconds)
        if (now := heartbeat.ticks()) != seen:
            seen = now
            send(Heartbeat())


def _events(job: Job) -> Generator[Event, None, None]:
    found = experiment.find(job.experiment)
    if job.identity and found.Config.identity() != job.identity:
        raise RuntimeError(f"{job.experiment} was edited while its study ran: run the same command again.")
    config = found.Config.from_dict(job.config)
    yield from found.prepare(config, job.context) if job.kind == "prepare" else found.run(config, job.context)


def _read(jobs: queue.SimpleQueue[Job | None], stopped: set[int], end: Callable[[], None]) -> None:
    for line in sys.stdin:
        message = decode(line)
        if isinstance(message, Stop):
            stopped.add(message.number)
        else:
            jobs.put(message)
    end()
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
