"""What the harness costs per trial, and whether that grows with the study: real MLflow, Optuna and study.json around an
executor that answers at once.

    python -m benchmarks.growth [TRIALS ...]

The executor writes each trial's small files when the trial is submitted; the time for that is not the harness's and is
taken off.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runners.experiment import Curve
from runners.process.protocol import Done, Job, Message
from study.design import cost, plan, scales
from study.design.spec import StudySpec
from study.executors import Slot
from study.record import layout
from study.scheduling import standing
from study.scheduling.scheduler import Launch
from study.scheduling.settings import Settings

SLOTS = 64
ARMS = 50
TRIALS = (100, 1_000, 10_000)
SCORES = 90  # numbers in the result of a trial, as a real one has
LISTS = ("validation", "test", "new_test", "unseen")


class Instant:
    """An executor on which every trial is complete the moment it is submitted."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.slots = [Slot(number, "cpu", 1) for number in range(slots)]
        self.stopping = False
        self.messages: deque[tuple[Slot, Message]] = deque()
        self.seconds = 0.0  # of writing the files of trials

    def submit(self, slot: Slot, job: Job) -> None:
        start = time.perf_counter()
        config = scales.find("smoke").config.from_dict(job.config)
        write_trial(layout.trial_folder(Path(job.context.record), config.trial_key), dict(job.config))
        self.messages.append((slot, Curve(({"images": 320.0, "loss": 0.5, "images_per_second": 100.0},), 320)))
        self.messages.append((slot, Done()))
        self.seconds += time.perf_counter() - start

    def poll(self, timeout: float) -> tuple[Slot, Message] | None:
        return self.messages.popleft() if self.messages else None

    def stop(self, slot: Slot) -> None: ...

    def renew(self, slot: Slot) -> None: ...

    def wind_down(self, seconds: float) -> Iterator[tuple[int, float]]:
        yield from ()

    def cancel(self) -> None: ...


def write_trial(folder: Path, config: dict[str, object]) -> None:
    """The files of a complete trial without its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    number = int(folder.name, 16)
    result: dict[str, object] = {
        f"accuracy/{name}": 0.5 + (number >> 8 * i) % 100 / 1000 for i, name in enumerate(LISTS)
    }
    result |= {f"chance/{name}": 0.1 for name in LISTS} | {f"objects/{name}": 100 for name in LISTS}
    result |= {f"score_{index}": index / SCORES for index in range(SCORES - len(result))}
    result |= {"evaluator_kind": "surrogate", "weights_sha256": folder.name, "checkpoint_rule": "last step"}
    texts = {"config": config, "result": result, "environment": {"device": "none", "python": "3"}}
    for name, value in texts.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    (folder / "metrics.jsonl").write_text('{"images": 320, "loss": 0.5, "images_per_second": 100.0}\n')


@dataclass(frozen=True)
class Growth:
    """Seconds until the first trial was submitted, milliseconds per trial after that, and seconds to find on a second
    start that nothing is missing."""

    trials: int
    start: float
    per_trial: float
    resume: float


def grown(trials: int, record: Path) -> Growth:
    """A study of so many trials, launched twice on an empty record."""
    arms = min(ARMS, trials)
    spec = StudySpec(
        question="What does the harness cost?",
        factors={"lr": tuple(1e-3 * (1 + index) for index in range(arms))},
        baseline={"lr": 1e-3},
    )
    smoke = scales.find("smoke")
    asked = plan.Request(seeds=trials // arms)
    executor = Instant()

    def launch() -> tuple[float, float]:
        """Seconds until the first trial was given out (or until nothing was found to do), and in all."""
        begin = time.perf_counter()
        made = plan.make("growth", spec, "smoke", smoke, asked)
        cost.estimate(made, smoke, record, SLOTS)
        first = 0.0
        for _ in Launch(made, record, executor, Settings("growth"), standing.complete(made, record)).run():
            first = first or time.perf_counter() - begin
        whole = time.perf_counter() - begin
        return first or whole, whole

    first, whole = launch()
    _, resumed = launch()
    return Growth(trials, first, 1000 * (whole - first - executor.seconds) / trials, resumed)


def main(counts: list[int]) -> None:
    for trials in counts or TRIALS:
        with tempfile.TemporaryDirectory() as folder:
            found = grown(trials, Path(folder))
        print(
            f"{found.trials:>6,} trials: start {found.start:5.1f} s, {found.per_trial:5.1f} ms per trial, "
            f"resume {found.resume:5.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
