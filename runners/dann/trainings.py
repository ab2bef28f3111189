"""One training in its folder: continued from its checkpoint, watched by a learning curve, kept for its trial.

    <trainings>/<train_key>/  config.json curve.jsonl last.safetensors best_on_target.safetensors done.json
                              state.pt state.previous.pt (until then: what it goes on from)

done.json holds the digests of the weight files: what is read is what was written, or it is trained again.
`best_on_target` is an oracle: of POINTS states of the training the one with the best accuracy on the target's
validation images, whose labels a method that adapts does not have. Without labels of the target there is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from runners.dann import scoring, tasks
from runners.dann.config import TrialConfig
from runners.dann.domains import UNLABELLED, Domain
from runners.dann.model import SOURCE, TARGET
from runners.dann.training import Labelled, Training, TrainProgress, train
from runners.experiment import Curve, Note
from runners.process import checkpoints, heartbeat
from runners.process import device as devices
from runners.process.files import append_lines, read_json, read_lines, sha256, write_aside, write_json, write_lines
from runners.process.locks import Held, lock

POINTS = 10  # of the learning curve, whatever the scale: the oracle chooses among them
REPORTS = 5  # of the losses between two points
CHECKPOINT_SECONDS = 120.0  # between two checkpoints
CURVE = "curve.jsonl"
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


# --- what a folder holds ---------------------------------------------------------------------------------


def facts(folder: Path) -> dict[str, Any]:
    """done.json: seconds, rate, digests of the weights."""
    found: dict[str, Any] = read_json(folder / "done.json")
    return found


def finished(folder: Path) -> bool:
    """Whether the training is there with its weights (`--keep-checkpoints none` leaves the rest of the folder)."""
    if not (folder / "done.json").is_file():
        return False
    try:
        return all((folder / f"{which}.safetensors").is_file() for which in facts(folder)["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return True  # and damaged


def damage(folder: Path) -> str:
    """What is wrong with a finished training's files, in words; "" when each is what was written."""
    try:
        config, known = TrialConfig.from_dict(read_json(folder / "config.json")), facts(folder)
        if config.train_key != folder.name:
            return f"config.json belongs to the training {config.train_key}"
        for which, digest in known["sha256"].items():
            if sha256(folder / f"{which}.safetensors") != digest:
                return f"{which}.safetensors is not the file that was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def load_weights(folder: Path, which: str, device: torch.device) -> dict[str, Tensor]:
    """Raises ValueError when the file is not the one that the training wrote."""
    path = folder / f"{which}.safetensors"
    if sha256(path) != facts(folder)["sha256"][which]:
        raise ValueError(f"{path} is not the file that the training wrote: delete {folder} and run the command again.")
    return load_file(path, device=str(device))


# --- a training in its folder ----------------------------------------------------------------------------


def run(config: TrialConfig, folder: Path, pair: Pair, device: torch.device) -> Iterator[Curve | Note]:
    """Train to the end, from the checkpoint if there is one; yields new lines of the learning curve, and notes on what
    is unusual.

    A finished training yields its whole curve at once. Another process that is at the same training is waited for.
    A finished training whose files are not what was written is kept under other names and done again. Closed before its
    end, or stopped (`heartbeat.Stopped`), it writes a checkpoint first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder / "lock"):
            pass
    except Held as held:
        yield Note(f"the training {folder.name} is held {held}: waiting for it")
    with lock(folder / "lock", wait=True):
        for path in folder.glob("*.partial"):  # a process was killed while it wrote them
            path.unlink()
        if finished(folder):
            broken = damage(folder)
            if not broken:
                checkpoints.discard(folder)
                yield Curve(tuple(read_lines(folder / CURVE)), config.total_images)
                return
            yield Note(f"the training {folder.name} is damaged ({broken}): quarantined as damaged-* and trained again")
            for path in [folder / "done.json", *folder.glob("*.safetensors")]:
                if path.exists() and not path.name.startswith("damaged-"):
                    path.replace(folder / f"damaged-{path.name}")
        yield from _Run(config, folder, pair, device).events()


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
        if not all(bool(value.isfinite().all()) for value in kept[LAST].values()):
            raise FloatingPointError(f"the weights are not finite after {training.images:,} images: lower lr.")
        for which, weights in kept.items():
            # No metadata in these files: equal weights must have equal digests, whatever the settings.
            write_aside(folder / f"{which}.safetensors", partial(save_file, weights))
        found = {
            "seconds/train": training.seconds,
            "images_per_second": training.images / training.seconds,
            "device": devices.name(training.device),
            "sha256": {which: sha256(folder / f"{which}.safetensors") for which in kept},
            "best_on_target/images": self.best.get("images", 0),
            "best_on_target/accuracy": self.best.get("accuracy", math.nan) if self.best else None,
        }
        for name, value in (("config.json", self.config.to_dict()), ("done.json", found)):
            write_json(folder / name, value)
        checkpoints.discard(folder)


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
