"""A worker that lives, but whose GPU can compute nothing more, is replaced before anything else is tried in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growth import Instant
from runners.process.protocol import Done, Failed, Job
from study.design import plan, scales
from study.design.spec import StudySpec
from study.executors import Slot
from study.record import reader
from study.scheduling.preparation import prepare
from study.scheduling.scheduler import Launch
from study.scheduling.settings import Settings

CRASHED = Failed("crashed", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "Traceback ...")


class FailsOnce(Instant):
    """The first job ends with `failure`, every other is done at once."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(slots=1)
        self.failure, self.renewed = failure, 0

    def submit(self, slot: Slot, job: Job) -> None:
        if self.failure:
            self.messages.append((slot, self.failure))
            self.failure = None
        elif job.kind == "prepare":
            self.messages.append((slot, Done()))
        else:
            super().submit(slot, job)

    def renew(self, slot: Slot) -> None:
        self.renewed += 1


def two_arms() -> plan.Plan:
    spec = StudySpec(question="Does the rate matter?", factors={"lr": (1e-3, 2e-3)}, baseline={"lr": 1e-3})
    return plan.make("renewal", spec, "smoke", scales.find("smoke"), plan.Request(seeds=1))


@pytest.mark.parametrize(("failure", "renewed"), [(CRASHED, 1), (Failed("out of memory", "too little", ""), 0)])
def test_of_a_trial(failure: Failed, renewed: int, tmp_path: Path) -> None:
    executor = FailsOnce(failure)
    for _ in Launch(two_arms(), tmp_path, executor, Settings("renewal"), set()).run():
        pass
    assert executor.renewed == renewed
    assert list(reader.load("renewal", tmp_path)["state"]) == ["complete"] * 2


@pytest.mark.parametrize(("failure", "renewed"), [(CRASHED, 1), (Failed("out of memory", "too little", ""), 0)])
def test_of_the_preparation(failure: Failed, renewed: int, tmp_path: Path) -> None:
    executor = FailsOnce(failure)
    told = [event.text for event in prepare(two_arms(), tmp_path, executor, Settings("renewal"))]
    assert executor.renewed == renewed
    assert told == [f"preparing the study: {failure.status}: {failure.error}; it is tried again"]
