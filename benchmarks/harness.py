"""What the harness costs around a trial, what a report takes, and what shared trainings save."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from runners.config import Scalar
from runners.ddpm import denoising, sample, trainings, trial
from runners.ddpm.config import TrialConfig
from runners.evaluation import quality, recognition
from runners.experiment import ExecutionContext
from study.design import plan, registry
from study.design.scales import SCALES

ROOT = Path(__file__).resolve().parent.parent
SCENES = "rendered(scenes=1000, view='near')"
REPORTS = {100: (20, 5), 2000: (40, 50), 10_000: (200, 50)}  # trials -> arms, seeds
SCORING = (
    (recognition, "predict"),
    (recognition, "probabilities"),
    (recognition, "features"),
    (quality, "memorisation"),
    (denoising, "errors"),
)


def command(*arguments: str) -> float:
    """Seconds of a command of the project, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


class Clock:
    """Seconds inside the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def function(self, timed: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return timed(*given, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return wrapped

    def generator(self, timed: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def wrapped(*given: Any, **named: Any) -> Iterator[Any]:
            values = timed(*given, **named)
            following = self.function(lambda: next(values, None))
            while (value := following()) is not None:
                yield value

        return wrapped


def around_a_trial(rounds: int, images: int = 640, **changes: Scalar) -> dict[str, float]:
    """Medians over trials of a short training: seconds of sampling, of scoring, and of everything that is neither
    training nor one of them: checks, checkpoints, pictures, files, digests.

    None of these depends on the length of the training, so they are those of a whole laptop trial; `changes` to its
    config make it another one.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        config = (
            SCALES["laptop"]
            .config.replace(data=SCENES, evaluator="stand_in(size='smoke')", total_images=images, warmup_images=0)
            .replace(**changes)
        )
        context = ExecutionContext(folder, "cpu")
        for _ in trial.prepare(config, context):
            pass
        for seed in range(rounds + 1):
            found.append(_one_trial(config.replace(seed=seed), context))
    sampling, scoring, rest = (statistics.median(column) for column in zip(*found[1:], strict=True))
    return {"sampling": sampling, "scoring": scoring, "harness": rest}


def _one_trial(config: TrialConfig, context: ExecutionContext) -> tuple[float, float, float]:
    """Seconds of sampling, of scoring, and of what is left of the trial without its training."""
    sampling, scoring = Clock(), Clock()
    with ExitStack() as patches:
        patches.enter_context(patch.object(sample, "sample", sampling.generator(sample.sample)))
        for module, name in SCORING:
            patches.enter_context(patch.object(module, name, scoring.function(getattr(module, name))))
        start = time.perf_counter()
        for _ in trial.run(config, context):
            pass
        whole = time.perf_counter() - start
    trained = trainings.facts(context.cache / "trainings" / config.train_key)["seconds/train"]
    return sampling.seconds, scoring.seconds, whole - trained - sampling.seconds - scoring.seconds


def report_seconds(trials: int) -> float:
    """Seconds of `analysis/report.py` on a synthetic record of so many trials."""
    from tests import synthetic_record

    with tempfile.TemporaryDirectory() as folder:
        arms, seeds = REPORTS[trials]
        synthetic_record.many(Path(folder), arms, seeds)
        return command("analysis/report.py", "--record", folder)


def sharing(train_seconds: float, trial_seconds: float) -> dict[str, float]:
    """Hours of the guidance study at scale laptop on one core, with its trainings shared and with one per trial.

    From what a training and the rest of a trial took in this run: it is arithmetic, not a measurement of its own.
    """
    made = plan.make("guidance", registry.find("guidance"), "laptop", SCALES["laptop"], plan.Request())
    shared = len(made.train_keys) * train_seconds + len(made.trials) * trial_seconds
    alone = len(made.trials) * (train_seconds + trial_seconds)
    return {"shared": shared / 3600, "alone": alone / 3600}
