"""One training in its folder: continued from its checkpoint, watched by a learning curve, kept for every trial
that shares its `train_key`.

Beside what every training has (`training_folder`), here of the weights ema and raw:

    state.pt state.previous.pt (until it is finished: what it goes on from)
    starts.jsonl (a line each time a process began or went on with it)
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners import training_folder, training_turn
from runners.config import Call
from runners.ddpm import execution, precision, sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import TrainProgress
from runners.ddpm.train import Training, train
from runners.evaluation import one_pass
from runners.evaluation.evaluator import Evaluator
from runners.experiment import Curve, Note
from runners.images import Images
from runners.process import checkpoints, heartbeat
from runners.process import device as devices
from runners.process.files import append_lines, read_lines, write_lines
from runners.training_folder import CURVE, facts, finished
from runners.training_turn import load_weights

__all__ = ["CURVE", "damage", "facts", "finished", "load_weights", "run"]

CURVE_STEPS = 10  # DDIM-10 ranks trainings like the full sampler at a hundredth of its cost
CURVE_GUIDANCE = 2.0
CHECKPOINT_SECONDS = 120.0  # between two checkpoints that take CHECKPOINT_COST or less to write, 2 % of the time;
CHECKPOINT_COST = 2.4  # one that takes longer is written as much less often
WAITING = "waiting-"  # waiting-<images>-<seconds>.npy: what older versions left of a curve point without a score
STARTS = "starts.jsonl"
WEIGHTS = ("ema", "raw")
SINCE = frozenset({"clipped", "steps", "parts"})  # what checkpoints of older versions lack


def damage(folder: Path) -> str:
    """What is wrong with a finished training's files, in words; "" when each is what was written."""
    return training_folder.damage(folder, TrialConfig)


def run(
    config: TrialConfig,
    folder: Path,
    model: nn.Module,
    device: torch.device,
    images: Images,
    evaluator: Evaluator,
    curve_points: int,
    choose: Callable[[], execution.Choice] = execution.Choice,
) -> Iterator[Curve | Note]:
    """Train `model` to the end, from the checkpoint if there is one; yields new lines of the learning curve, and notes
    on what is unusual.

    Finished, held by another process or damaged: `training_turn.turn`.
    Closed before its end, or stopped (`heartbeat.Stopped`), it writes a checkpoint first.
    `choose()` says how the steps are executed; it is asked when there is something to train.
    """

    def begun() -> Iterator[Curve | Note]:
        chosen = choose()
        if chosen.rates:
            yield Note(str(chosen))
        training = Training(config, model, device, chosen.execution)
        yield from _Run(config, folder, training, images, evaluator, curve_points, chosen.compile_seconds).events()

    return training_turn.turn(config, folder, begun)


class _Run:
    """One process's turn at an unfinished training."""

    def __init__(
        self,
        config: TrialConfig,
        folder: Path,
        training: Training,
        images: Images,
        evaluator: Evaluator,
        curve_points: int,
        compile_seconds: float,
    ) -> None:
        self.compile_seconds = compile_seconds
        self.config, self.folder, self.training = config, folder, training
        self.images, self.evaluator, self.score = images, evaluator, config.task.choice
        self.marks = [config.total_images * (point + 1) // curve_points for point in range(curve_points)]
        self.report_images = max(config.batch_size, config.total_images // (20 * curve_points))
        self.drawn = 0  # images up to which the points of the learning curve are drawn
        self.saved, self.pause = time.perf_counter(), CHECKPOINT_SECONDS

    def events(self) -> Iterator[Curve | Note]:
        if note := self._resume():
            yield Note(note)
        training, images = self.training, self.images
        start = {"pid": os.getpid(), "at": time.time(), "images": training.images}
        how = {"execution": str(training.execution), "seconds/compile": self.compile_seconds}
        how["device"] = devices.name(training.device)
        append_lines(self.folder / STARTS, [start | how])
        if lines := read_lines(self.folder / CURVE):
            yield Curve(tuple(lines), self.config.total_images)
        training_set = images.images_NHWC, images.labels_NK, self.report_images, images.train_indices
        diverged, micro_batch = False, training.micro_batch
        try:
            yield from self._point()  # one that the process before was stopped at
            for progress in train(training, *training_set):
                if training.micro_batch != micro_batch:
                    micro_batch = training.micro_batch
                    parts = f"out of memory: a batch goes through the network in parts of {micro_batch}"
                    yield Note(parts if micro_batch else "a whole batch fits into memory again")
                if progress is not None:
                    diverged = progress.diverged
                    yield self._reported(_line(progress))
                    if not diverged:
                        yield from self._point()
                if time.perf_counter() - self.saved > self.pause and not diverged:
                    self._save()
                heartbeat.tick()
        except (GeneratorExit, heartbeat.Stopped):
            if not diverged:
                self._save()
            raise
        _finish(training, self.folder)
        for network in (training.model, training.network):
            network.zero_grad(set_to_none=True)  # gradients would keep the memory of the training's graph

    def _reported(self, line: dict[str, float]) -> Curve:
        append_lines(self.folder / CURVE, [line])
        return Curve((line,), self.config.total_images)

    def _point(self) -> Iterator[Curve]:
        """Draw and score the point of the learning curve that is due here, if one is."""
        training = self.training
        if any(self.drawn < mark <= training.images for mark in self.marks) and training.steps_since == 0:
            if training.images in self._scored_points():  # a process was killed between its line and its checkpoint
                self.drawn = training.images
                return
            images_NHWC = _validation_images(training, self.images)
            line = self._scored(images_NHWC, training.images, float(f"{training.seconds:.3f}"))
            self.drawn = training.images  # from now on: stopped before, it is drawn again
            yield self._reported(line)

    def _scored_points(self) -> set[float]:
        """The images at which the learning curve has a score."""
        return {line["images"] for line in read_lines(self.folder / CURVE) if self.score in line}

    def _scored(self, images_NHWC: NDArray[np.uint8], images: int, seconds: float) -> dict[str, float]:
        """The line of a curve point whose pictures of the list that choices are made on are given."""
        task = self.config.task
        found = one_pass.score(task, self.evaluator, self.images, task.choice_list, images_NHWC, self.training.device)
        return {"images": images, "seconds": seconds, self.score: found}

    def _save(self) -> None:
        """The curve is a part of the checkpoint, so that both are of one moment."""
        start = time.perf_counter()
        state = {
            "train_key": self.config.train_key,
            "training": self.training.state_dict(),
            "drawn": self.drawn,
            "lines": read_lines(self.folder / CURVE),
        }
        checkpoints.save(self.folder, state)
        self.saved = time.perf_counter()
        self.pause = CHECKPOINT_SECONDS * max(1.0, (self.saved - start) / CHECKPOINT_COST)

    def _resume(self) -> str:
        """Load the newest whole checkpoint and make the folder agree with it; what was wrong with newer ones."""
        state, complaint = checkpoints.load(self.folder, self.training.device)
        if state is not None and not self._fits(state):
            state, complaint = None, "state.pt: it was written for another setting or by another version"
            checkpoints.discard(self.folder)
        lines: list[dict[str, float]] = []
        if state is not None:
            self.training.load_state_dict(state["training"])
            self.drawn, lines = state["drawn"], state["lines"]
        images = self.training.images
        # What was reported after the checkpoint is trained, and reported, again; a point that was drawn before it may
        # have got its score after it.
        known = {line["images"] for line in lines if self.score in line}
        kept = read_lines(self.folder / CURVE)
        scored = (line for line in kept if self.score in line and line["images"] <= images)
        write_lines(self.folder / CURVE, [*lines, *(line for line in scored if line["images"] not in known)])
        self._score_waiting(images)
        goes_on = f"goes on from the one at {images:,} images" if state is not None else "begins again"
        return complaint and f"a checkpoint of {self.folder.name} is damaged ({complaint}): the training {goes_on}"

    def _score_waiting(self, images: int) -> None:
        """Pictures that an older version left, to be scored when its evaluator would be there."""
        known = self._scored_points()
        for path in sorted(self.folder.glob(f"{WAITING}*.npy"), key=lambda path: int(path.stem.split("-")[1])):
            at, seconds = path.stem.removeprefix(WAITING).split("-")
            if int(at) <= images and int(at) not in known:
                self._reported(self._scored(np.load(path), int(at), float(seconds)))
            path.unlink()

    def _fits(self, state: dict[str, Any]) -> bool:
        wanted, given = set(self.training.state_dict()), set(state.get("training", {}))
        return state.get("train_key") == self.config.train_key and given <= wanted and wanted - given <= SINCE


def _finish(training: Training, folder: Path) -> None:
    starts = read_lines(folder / STARTS)  # of older versions they do not say how
    begun = max((number for number, start in enumerate(starts) if start["images"] == 0), default=0)
    starts = starts[begun:]  # before it is what a damaged file or checkpoint took with it
    training_turn.finish(
        training.config,
        folder,
        {which: training.weights(which) for which in WEIGHTS},
        **{
            "seconds/train": training.seconds,
            "images_per_second": training.images / training.seconds,
            "seconds/compile": sum(start.get("seconds/compile", 0.0) for start in starts),
            "execution": _each(starts, "execution"),
            "device": _each(starts, "device"),
            "arithmetic": training.arithmetic,
            "treatment": training.treatment(),
        },
    )


def _each(starts: list[dict[str, Any]], name: str) -> str:
    """What the processes that were at a training say of themselves, each word once: `channels last / plainly`."""
    return " / ".join(dict.fromkeys(str(start[name]) for start in starts if name in start))


def _line(progress: TrainProgress) -> dict[str, float]:
    """A line of the learning curve; a number that is not finite is left out, because JSON has none."""
    line = {
        "images": progress.images,
        "seconds": progress.seconds,
        "loss": progress.loss,
        "gradient_norm": progress.gradient_norm,
        "lr": progress.lr,
        "images_per_second": progress.images_per_second,
        **{f"loss/t_{decile}": error for decile, error in progress.error_by_decile.items()},
    }
    return {name: value for name, value in line.items() if math.isfinite(value)}


def _validation_images(training: Training, images: Images) -> NDArray[np.uint8]:
    """The list that choices are made on, drawn by the averaged weights with a short DDIM: uint8 (N, H, W, 3).

    The curve belongs to the training, which several trials may share: it has one protocol for all of them and
    knows nothing of a trial's own sampler and guidance.
    """
    short = training.config.replace(
        sampler=str(Call("ddim", (("steps", min(CURVE_STEPS, training.config.timesteps)),))),
        guidance_scale=CURVE_GUIDANCE if training.config.drop_probability > 0 else 1.0,
    )
    name = training.config.task.choice_list
    conditions = images.lists[name]
    c_NK = torch.from_numpy(images.hot(conditions)).to(training.device, torch.float32)
    training.ema.store(training.model.parameters())
    training.ema.copy_to(training.model.parameters())
    training.model.eval()
    try:
        network = precision.working(training.model, short.precision)
        images_KNHWC = sample.sample_list(short, network, name, conditions, c_NK, seeds=1)
    finally:  # stopped in between, the training is saved as it was
        training.model.train()
        training.ema.restore(training.model.parameters())
    first: NDArray[np.uint8] = images_KNHWC[0]
    return first
