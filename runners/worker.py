"""A worker process: takes jobs as JSON lines on standard input, gives events as JSON lines on standard output.

It ends when its input ends, also in the middle of a job: a coordinator that dies leaves no orphan.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)


def main() -> None:
    # The protocol keeps the real standard output; what libraries print goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    stopped: set[int] = set()  # numbers of jobs that are to end at their next event
    threading.Thread(target=_read, args=(jobs, stopped), daemon=True).start()

    def tell(event: dict[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    import torch

    from runners import trial  # seconds: paid once a worker, not once a trial

    while True:
        job = jobs.get()
        torch.set_num_threads(job["place"]["threads"])
        try:
            place = trial.Place(**job["place"])
            for event in _events(job, place):
                tell(event)
                if job["number"] in stopped and event["event"] != "done":
                    tell({"event": "stopped"})
                    break
        except Exception as error:
            status = "diverged" if isinstance(error, FloatingPointError) else "failed"
            tell({"event": "failed", "status": status, "error": str(error), "traceback": traceback.format_exc()})


def _events(job: dict[str, Any], place: Any) -> Iterator[dict[str, Any]]:
    from runners import trial
    from runners.config import TrialConfig

    config = TrialConfig.from_dict(job["config"])
    return trial.make_stand_in(config, place) if job["kind"] == "evaluator" else trial.run(config, place)


def _read(jobs: queue.Queue[dict[str, Any]], stopped: set[int]) -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if job["kind"] == "stop":
            stopped.add(job["number"])
        else:
            jobs.put(job)
    os._exit(0)


if __name__ == "__main__":
    main()
