"""One training in its folder: continued from its checkpoint, watched by a learning curve, kept for its trial.

Beside what every training has (`training_folder`): until it is finished, state.pt and state.previous.pt, what it goes
on from; its weights are `last` and `best_on_target`.

`best_on_target` is an oracle: of POINTS states of the training the one with the best accuracy on the target's
validation images, whose labels a method that adapts does not have. Without labels of the target there is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runners import training_folder, training_turn
from runners.dann import scoring, tasks
from runners.dann.config import TrialConfig
from runners.dann.domains import UNLABELLED, Domain
from runners.dann.model import SOURCE, TARGET
from runners.dann.training import Labelled, Training, TrainProgress, train
from runners.experiment import Curve, Note
from runners.process import checkpoints, heartbeat
from runners.process import device as devices
from runners.process.files import append_lines, read_lines, write_lines
from runners.training_folder import CURVE, facts
from runners.training_turn import load_weights

__all__ = ["CURVE", "damage", "facts", "load_weights", "run"]

POINTS = 10  # of the learning curve, whatever the scale: the oracle chooses among them
REPORTS = 5  # of the losses between two points
CHECKPOINT_SECONDS = 120.0  # between two checkpoints
LAST, BEST = "last", "best_on_target"


@dataclass(frozen=True)
class Pair:
    """The two domains of a setting."""

    source: Domain
    target: Domain

    @property
    def target_labelled(self) -> bool:
        return bool((self.target.label_N != UNLABELLED).all())

    def training(self, config: TrialConfig, device: torch.device) -> Training:
        """A training at its start. It gets labels of one domain; of the other one, in adaptation, images alone."""
        labelled = self.target if config.method == "target_only" else self.source
        images_NHWC, label_N = labelled.images_NHWC[labelled.train], labelled.label_N[labelled.train]
        unlabelled_NHWC = self.target.images_NHWC[self.target.train] if config.method == "dann" else None
        return Training(config, Labelled(images_NHWC, label_N), unlabelled_NHWC, device)


def damage(folder: Path) -> str:
    """What is wrong with a finished training's files, in words; "" when each is what was written."""
    return training_folder.damage(folder, TrialConfig)


# --- a training in its folder ----------------------------------------------------------------------------


def run(config: TrialConfig, folder: Path, pair: Pair, device: torch.device) -> Iterator[Curve | Note]:
    """Train to the end, from the checkpoint if there is one; yields new lines of the learning curve, and notes on what
    is unusual.

    Finished, held by another process or damaged: `training_turn.turn`. Closed before its end, or stopped
    (`heartbeat.Stopped`), it writes a checkpoint first.
    """
    return training_turn.turn(config, folder, lambda: _Run(config, folder, pair, device).events())


class _Run:
    """One process's turn at an unfinished training."""

    def __init__(self, config: TrialConfig, folder: Path, pair: Pair, device: torch.device) -> None:
        self.config, self.folder, self.pair = config, folder, pair
        self.training = pair.training(config, device)
        self.trained = scoring.Trained(self.training.network, self.training.scaling, config.method == "dann")
        self.marks = [config.total_images * (point + 1) // POINTS for point in range(POINTS)]
        self.report_images = max(config.batch_size, config.total_images // (POINTS * REPORTS))
        self.scored = 0  # images up to which the points of the learning curve are scored
        self.best: dict[str, Any] = {}  # accuracy, images and weights of the oracle's choice so far
        self.saved = time.perf_counter()

    def events(self) -> Iterator[Curve | Note]:
        if note := self._resume():
            yield Note(note)
        if lines := read_lines(self.folder / CURVE):
            yield Curve(tuple(lines), self.config.total_images)
        training, diverged = self.training, False
        try:
            for progress in train(training, self.report_images):
                if progress is not None:
                    diverged = progress.diverged
                    line = _line(progress)
                    if not diverged and any(self.scored < mark <= training.images for mark in self.marks):
                        line |= self._point()
                    append_lines(self.folder / CURVE, [line])
                    yield Curve((line,), self.config.total_images)
                if time.perf_counter() - self.saved > CHECKPOINT_SECONDS and not diverged:
                    self._save()
                heartbeat.tick()
        except (GeneratorExit, heartbeat.Stopped):
            if not diverged:
                self._save()
            raise
        self._finish()

    def _point(self) -> dict[str, float]:
        """The accuracies at this moment; the weights are kept where the target's is the best so far."""
        source, target = self.pair.source, self.pair.target
        seen = [domain.images_NHWC[domain.validation] for domain in (source, target)]
        on_source = self.trained.accuracy(seen[SOURCE], source.label_N[source.validation], SOURCE)
        found = {tasks.ACCURACY.on(tasks.SOURCE_VALIDATION): on_source}
        if self.pair.target_labelled:
            on_target = self.trained.accuracy(seen[TARGET], target.label_N[target.validation], TARGET)
            found[tasks.ACCURACY.on(tasks.TARGET_VALIDATION)] = on_target
            if not self.best or on_target > self.best["accuracy"]:
                self.best = {"accuracy": on_target, "images": self.training.images, "weights": self.training.weights()}
        if self.config.method == "dann":
            found["domain_accuracy/validation"] = scoring.domain_accuracy(self.trained, *seen)
        self.scored = self.training.images
        return found

    def _save(self) -> None:
        """The curve is a part of the checkpoint, so that both are of one moment."""
        state = {
            "train_key": self.config.train_key,
            "training": self.training.state_dict(),
            "scored": self.scored,
            "best": self.best,
            "lines": read_lines(self.folder / CURVE),
        }
        checkpoints.save(self.folder, state)
        self.saved = time.perf_counter()

    def _resume(self) -> str:
        """Load the newest whole checkpoint and make the folder agree with it; what was wrong with newer ones."""
        state, complaint = checkpoints.load(self.folder, self.training.device)
        if state is not None and not self._fits(state):
            state, complaint = None, "state.pt: it was written for another setting or by another version"
            checkpoints.discard(self.folder)
        lines: list[dict[str, float]] = []
        if state is not None:
            self.training.load_state_dict(state["training"])
            self.scored, self.best, lines = state["scored"], state["best"], state["lines"]
        write_lines(self.folder / CURVE, lines)  # what was reported after the checkpoint is trained again
        goes_on = f"goes on from the one at {self.training.images:,} images" if state is not None else "begins again"
        return complaint and f"a checkpoint of {self.folder.name} is damaged ({complaint}): the training {goes_on}"

    def _fits(self, state: Mapping[str, Any]) -> bool:
        known = set(self.training.state_dict()) == set(state.get("training", {}))
        return known and state.get("train_key") == self.config.train_key

    def _finish(self) -> None:
        training, folder = self.training, self.folder
        kept = {LAST: training.weights()} | ({BEST: self.best["weights"]} if self.best else {})
        training_turn.finish(
            self.config,
            folder,
            kept,
            **{
                "seconds/train": training.seconds,
                "images_per_second": training.images / training.seconds,
                "device": devices.name(training.device),
                "best_on_target/images": self.best.get("images", 0),
                "best_on_target/accuracy": self.best.get("accuracy"),
            },
        )


def _line(progress: TrainProgress) -> dict[str, float]:
    """A line of the learning curve; a number that is not finite, or of a method without adaptation, is left out."""
    line = {
        "images": progress.images,
        "seconds": progress.seconds,
        "loss": progress.label_loss,
        "loss/label": progress.label_loss,
        "loss/domain": progress.domain_loss,
        "domain_accuracy/train": progress.domain_accuracy,
        "lambda": progress.reversal,
        "lr": progress.lr,
        "images_per_second": progress.images_per_second,
    }
    return {name: value for name, value in line.items() if value is not None and math.isfinite(value)}
