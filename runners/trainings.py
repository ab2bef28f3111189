"""One training in its folder: continued from its checkpoint, watched by a learning curve, kept for every trial
that shares its `train_key`.

    <trainings>/<train_key>/  config.json curve.jsonl ema.safetensors raw.safetensors done.json (state.pt until then)
                              starts.jsonl (a line each time a process began or went on with it)

done.json holds the digests of both weight files: what is read is what was written, or it is trained again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from runners import evaluator, sample
from runners.config import Call, TrialConfig
from runners.data import SceneData, multi_hot
from runners.files import append_lines, read_json, read_lines, write_aside, write_json
from runners.locks import Held, lock
from runners.train import Training, TrainProgress, train

CURVE_STEPS = 10  # DDIM-10 ranks trainings like the full sampler at a hundredth of its cost
CURVE_GUIDANCE = 2.0
CHECKPOINT_SECONDS = 120.0
CURVE = "curve.jsonl"
WAITING = "waiting-"  # waiting-<images>-<seconds>.npy: pictures of a curve point without a score
STARTS = "starts.jsonl"
WEIGHTS = ("ema", "raw")
Judge = Callable[[], evaluator.ResNet18 | None]


def finished(folder: Path) -> bool:
    """Whether the training is there with its weights (`--keep-checkpoints none` leaves the rest of the folder)."""
    return (folder / "done.json").is_file() and all((folder / f"{which}.safetensors").is_file() for which in WEIGHTS)


def damage(folder: Path) -> str:
    """What is wrong with a finished training's files, in words; "" when each is what was written."""
    try:
        config, facts = TrialConfig.from_dict(read_json(folder / "config.json")), read_json(folder / "done.json")
        if config.train_key != folder.name:
            return f"config.json belongs to the training {config.train_key}"
        for which in WEIGHTS:
            if sha256(folder / f"{which}.safetensors") != facts["sha256"][which]:
                return f"{which}.safetensors is not the file that was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts(folder: Path) -> dict[str, Any]:
    """done.json: seconds, rate, the digests of the weights and the treatment."""
    found: dict[str, Any] = read_json(folder / "done.json")
    return found


def load_weights(folder: Path, which: str, device: str) -> dict[str, torch.Tensor]:
    """The averaged ("ema") or the last ("raw") weights.

    Raises ValueError when the file is not the one that the training wrote.
    """
    path = folder / f"{which}.safetensors"
    if sha256(path) != facts(folder)["sha256"][which]:
        raise ValueError(f"{path} is not the file that the training wrote: delete {folder} and run the command again.")
    return load_file(path, device=device)


def same_weights(folder: Path) -> str:
    """The key of another training with the very same weights, "" if there is none.

    Settings that differ must train differently; equal weights say that a factor did not reach the training.
    """
    own = facts(folder)["sha256"]["raw"]
    for other in sorted(folder.parent.glob("*/done.json")):
        if other.parent != folder and read_json(other).get("sha256", {}).get("raw") == own:
            return other.parent.name
    return ""


def run(
    config: TrialConfig,
    folder: Path,
    model: nn.Module,
    device: torch.device,
    scenes: SceneData,
    judge: Judge,
    curve_points: int,
) -> Iterator[list[dict[str, float]] | str]:
    """Train `model` to the end, from the checkpoint if there is one; yields new lines of the learning curve, and
    sentences about what is unusual.

    A finished training yields its whole curve at once. Another process that is at the same training is waited for.
    A finished training whose files are not what was written is put aside and done again.
    `judge()` is the evaluator, or None while it is being trained: a point of the learning curve waits, as a file, until
    there is one. After the last line `score_waiting` may have points left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder / "lock"):
            pass
    except Held as held:
        yield f"the training {folder.name} is held {held}: waiting for it"
    with lock(folder / "lock", wait=True):
        if finished(folder):
            broken = damage(folder)
            if not broken:
                yield read_lines(folder / CURVE)
                return
            yield f"the training {folder.name} is damaged ({broken}): put aside as damaged-* and trained again"
            _put_aside(folder)
        training = Training(config, model, device)
        seconds = _resume(training, folder)
        append_lines(folder / STARTS, [{"pid": os.getpid(), "at": time.time(), "images": training.images}])
        lines = [line for line in read_lines(folder / CURVE) if line["images"] <= training.images]
        # What was reported after the checkpoint is trained, and reported, again.
        (folder / CURVE).unlink(missing_ok=True)
        append_lines(folder / CURVE, lines)
        for path in folder.glob(f"{WAITING}*.npy"):
            if int(path.stem.removeprefix(WAITING).split("-")[0]) > training.images:
                path.unlink()
        if lines:
            yield lines
        training_set = scenes.images_NHWC[scenes.train_indices], scenes.labels_NK[scenes.train_indices]
        report_images = max(config.batch_size, config.total_images // (20 * curve_points))
        marks = [config.total_images * (point + 1) // curve_points for point in range(curve_points)]
        before, saved = training.images, time.perf_counter()
        for progress in train(training, *training_set, report_images):
            line = _line(progress, seconds)
            append_lines(folder / CURVE, [line])
            yield [line]
            if any(before < mark <= progress.images for mark in marks):
                images_NHWC = _validation_images(training, scenes)
                waiting = folder / f"{WAITING}{progress.images}-{line['seconds']:.3f}.npy"
                write_aside(waiting, partial(_save_array, images_NHWC))
                yield score_waiting(folder, scenes, judge, device)
            before = progress.images
            if time.perf_counter() - saved > CHECKPOINT_SECONDS and progress.images < config.total_images:
                state = {"training": training.state_dict(), "seconds": line["seconds"]}
                write_aside(folder / "state.pt", partial(torch.save, state))
                saved = time.perf_counter()
        _finish(training, folder, line["seconds"])


def _resume(training: Training, folder: Path) -> float:
    """Load the checkpoint if there is one; the seconds that the training took up to it."""
    if not (folder / "state.pt").is_file():
        return 0.0
    state = torch.load(folder / "state.pt", map_location=training.device, weights_only=True)
    training.load_state_dict(state["training"])
    return float(state["seconds"])


def _put_aside(folder: Path) -> None:
    """Rename what a damaged training left, so that nobody reads it and nothing is lost."""
    for name in ("done.json", *(f"{which}.safetensors" for which in WEIGHTS)):
        if (folder / name).exists():
            (folder / name).replace(folder / f"damaged-{name}")


def _finish(training: Training, folder: Path, seconds: float) -> None:
    # No metadata in these files: equal weights must have equal digests, whatever the settings.
    for which in WEIGHTS:
        weights = training.weights(which)
        write_aside(folder / f"{which}.safetensors", partial(save_file, weights))
    facts = {
        "seconds/train": seconds,
        "images_per_second": training.images / seconds,
        "sha256": {which: sha256(folder / f"{which}.safetensors") for which in WEIGHTS},
        "treatment": training.treatment(),
    }
    for name, value in (("config.json", training.config.to_dict()), ("done.json", facts)):
        write_json(folder / name, value)
    (folder / "state.pt").unlink(missing_ok=True)


def _line(progress: TrainProgress, seconds_before: float) -> dict[str, float]:
    return {
        "images": progress.images,
        "seconds": seconds_before + progress.seconds,
        "loss": progress.loss,
        "gradient_norm": progress.gradient_norm,
        "lr": progress.lr,
        "images_per_second": progress.images_per_second,
        **{f"loss/t_{decile}": error for decile, error in progress.error_by_decile.items()},
    }


def _validation_images(training: Training, scenes: SceneData) -> NDArray[np.uint8]:
    """The validation list, drawn by the averaged weights with a short DDIM: uint8 (N, H, W, 3).

    The curve belongs to the training, which several trials may share: it has one protocol for all of them and
    knows nothing of a trial's own sampler and guidance.
    """
    short = training.config.replace(
        sampler=str(Call("ddim", (("steps", min(CURVE_STEPS, training.config.timesteps)),))),
        guidance_scale=CURVE_GUIDANCE if training.config.drop_probability > 0 else 1.0,
    )
    conditions = scenes.lists["validation"]
    c_NK = torch.from_numpy(multi_hot(conditions)).to(training.device, torch.float32)
    training.ema.store(training.model.parameters())
    training.ema.copy_to(training.model.parameters())
    training.model.eval()
    images_KNHWC = sample.sample_list(short, training.model, "validation", conditions, c_NK, seeds=1)
    training.model.train()
    training.ema.restore(training.model.parameters())
    first: NDArray[np.uint8] = images_KNHWC[0]
    return first


def score_waiting(folder: Path, scenes: SceneData, judge: Judge, device: torch.device) -> list[dict[str, float]]:
    """Score the curve points that wait, if there is an evaluator: new lines of the curve, with their accuracy."""
    model = judge()
    if model is None:
        return []
    asked_NK = multi_hot(scenes.lists["validation"])
    lines = []
    waiting = {tuple(path.stem.removeprefix(WAITING).split("-")): path for path in folder.glob(f"{WAITING}*.npy")}
    for (images, seconds), path in sorted(waiting.items(), key=lambda item: int(item[0][0])):
        seen_NK = evaluator.predict(model, np.load(path), asked_NK, device)
        accuracy = evaluator.accuracy(seen_NK, asked_NK)
        lines.append({"images": int(images), "seconds": float(seconds), "accuracy/validation": accuracy})
        append_lines(folder / CURVE, lines[-1:])
        path.unlink()
    return lines


def _save_array(array: NDArray[np.uint8], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array)
