"""A surrogate evaluator: the ResNet-18 of i-CLEVR's official one, trained on the images at hand.

Shapes in names: B batch, N list, H height, W width, C channels (RGB), K labels or classes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from runners.evaluation import calibration
from runners.evaluation.networks import ResNet18
from runners.evaluation.pretext import TURNS, rotated, rotations
from runners.evaluation.recognition import (
    Images,
    Labels,
    accuracy,
    as_inputs,
    hits,
    predict,
    probabilities,
    scaled,
    top,
)
from runners.process.device import algorithms, upload

# Of this file: to be raised by whoever changes what it trains, so that records train a new one.
VERSION = 1


Loss = Literal["sets", "classes", "rotations"]


@dataclass(frozen=True)
class Recipe:
    """How a surrogate is trained. A classifier shown only clean images misclassifies samples, hence the distortions."""

    width: int  # channels of the first stage
    stem: str  # see ResNet18
    total_images: int  # images shown, repetitions included
    batch_size: int = 64
    lr: float = 3e-3  # peak of the one-cycle schedule, AdamW
    weight_decay: float = 0.05
    noise: float = 0.08  # largest standard deviation of additive noise, in [-1, 1] units; uniform in [0, noise]
    blur: float = 0.4  # share of images blended with their half-size-and-back version
    shift: float = 0.06  # largest translation, as a share of the picture's side
    zoom: float = 0.08  # largest relative change of scale
    brightness: float = 0.1  # largest relative change of contrast and absolute change of level
    tint: float = 0.03  # largest absolute change of level of one channel
    seed: int = 0
    mirror: bool = True  # half of the images are flipped left to right
    # What is learned: which labels an image shows, a sigmoid each; its one class, by a softmax; or, of images without
    # labels, by how many quarter turns it was turned.
    loss: Loss = "sets"


# Small pictures take milder distortions: at 16 pixels a face of a cube is two pixels wide. Images shown matter more
# than channels, so the nets are narrow; at 64 an image costs width 32 a quarter of the official width 64.
RECIPES: dict[int, Recipe] = {
    16: Recipe(10, "small", 105_000, 32, 6e-3, noise=0.03, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    32: Recipe(12, "half", 120_000, 32, 6e-3, noise=0.05, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    64: Recipe(32, "imagenet", 260_000),
}
SMOKE = Recipe(width=8, stem="half", total_images=512)  # exercises the path, proves nothing
LATER = ("mirror", "loss")  # fields that files lack where they are the defaults, as those of earlier versions do

HEADS = {"sets": "sigmoid", "classes": "softmax", "rotations": "softmax"}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sets": F.binary_cross_entropy_with_logits,  # mean over the labels and the images
    "classes": F.cross_entropy,  # mean over the images
    "rotations": F.cross_entropy,
}
SCORED = 1024  # distorted held-out images at a time, and drawn for: another number draws other distortions


def recipe_for(image_size: int) -> Recipe:
    """The recipe of the nearest size, on a scale of ratios; ValueError below 8 pixels."""
    if image_size < 8:
        raise ValueError(f"image_size={image_size} shows no shapes: use 16, 32 or 64.")
    return RECIPES[min(RECIPES, key=lambda size: abs(np.log2(size / image_size)))]


@dataclass(frozen=True)
class Report:
    """One report of a training; the last one carries the trained model and its held-out accuracies."""

    images_seen: int
    total_images: int
    loss: float  # see `LOSSES`; mean since the last report
    images_per_second: float  # since the start
    model: ResNet18 | None = None  # in eval mode on the CPU
    held_out: dict[str, float] | None = None  # see `held_out_scores`


def distort(x_BCHW: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random flip, zoom, shift, blur, light and noise per image, in [-1, 1]; the labels stay what they were."""

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        shape = (len(x_BCHW), channels, 1, 1)
        return torch.rand(shape, generator=generator, device=x_BCHW.device) * (high - low) + low

    flip_B = uniform(-1, 1).sign().flatten()  # drawn in any case: the other draws do not depend on it
    flip_B = flip_B if recipe.mirror else torch.ones_like(flip_B)
    zoom_B2 = 1 + uniform(-recipe.zoom, recipe.zoom, 2)[:, :, 0, 0]
    theta_B23 = torch.zeros(len(x_BCHW), 2, 3, device=x_BCHW.device)
    theta_B23[:, 0, 0], theta_B23[:, 1, 1] = flip_B * zoom_B2[:, 0], zoom_B2[:, 1]
    theta_B23[:, :, 2] = 2 * uniform(-recipe.shift, recipe.shift, 2)[:, :, 0, 0]  # the side is 2 units long
    grid_BHW2 = F.affine_grid(theta_B23, list(x_BCHW.shape), align_corners=False)
    x_BCHW = F.grid_sample(x_BCHW, grid_BHW2, padding_mode="border", align_corners=False)

    blurred_BCHW = F.interpolate(F.avg_pool2d(x_BCHW, 2), size=x_BCHW.shape[2:], mode="bilinear", align_corners=False)
    weight_B111 = uniform(0, 1) * (uniform(0, 1) < recipe.blur)
    x_BCHW = torch.lerp(x_BCHW, blurred_BCHW, weight_B111)

    contrast_B111 = 1 + uniform(-recipe.brightness, recipe.brightness)
    level_BC11 = uniform(-recipe.brightness, recipe.brightness) + uniform(-recipe.tint, recipe.tint, 3)
    noise_BCHW = torch.randn(x_BCHW.shape, generator=generator, device=x_BCHW.device)
    x_BCHW = x_BCHW * contrast_B111 + level_BC11 + uniform(0, recipe.noise) * noise_BCHW
    return x_BCHW.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def train(
    images_NHWC: Images,
    labels: Labels,
    train_indices: npt.NDArray[np.int64],
    held_out_indices: npt.NDArray[np.int64],
    recipe: Recipe,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
) -> Iterator[Report]:
    """Train on `train_indices` and yield progress about a hundred times; the last report carries the result.

    `deterministic`: by algorithms that give the same bits each time. Whatever flags this process had before come back.
    The frames of a scene are nested: the caller splits by scene, or the held-out accuracy flatters.
    `images_NHWC` may be a memory map; a GPU gets it once, as uint8. On a CPU, same seed and threads: same weights.
    `labels`: bool (N, K), one-hot where the loss is of classes; of rotations, which are made of the images, nothing but
    their number is used.
    """
    if not len(train_indices):  # it would be shuffled forever
        raise ValueError("No image is left for the training of the evaluator: give more images, or hold fewer out.")
    with algorithms(deterministic):
        yield from _train(images_NHWC, labels, train_indices, held_out_indices, recipe, torch.device(device))


def _train(
    images_NHWC: Images,
    labels: Labels,
    train_indices: npt.NDArray[np.int64],
    held_out_indices: npt.NDArray[np.int64],
    recipe: Recipe,
    device: torch.device,
) -> Iterator[Report]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        outputs = TURNS if recipe.loss == "rotations" else labels.shape[1]
        model = ResNet18(recipe.width, recipe.stem, outputs, HEADS[recipe.loss])
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    order = torch.Generator().manual_seed(recipe.seed)
    draws = torch.Generator(device).manual_seed(recipe.seed)
    resident = upload(images_NHWC, train_indices, device) if device.type != "cpu" else None
    target_N = _targets(labels[train_indices], recipe).to(device)

    steps = max(1, recipe.total_images // recipe.batch_size)
    upright = max(1, recipe.batch_size // TURNS) if recipe.loss == "rotations" else recipe.batch_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)
    report_every, queue = max(1, steps // 100), torch.empty(0, dtype=torch.int64)
    start, loss_sum, loss_steps = time.perf_counter(), torch.zeros((), device=device), 0

    def report(step: int) -> Report:
        seen, seconds = step * recipe.batch_size, time.perf_counter() - start
        return Report(seen, steps * recipe.batch_size, float(loss_sum) / loss_steps, seen / seconds)

    model.train()
    for step in range(1, steps + 1):
        while len(queue) < upright:
            queue = torch.cat([queue, torch.randperm(len(train_indices), generator=order)])
        rows_B, queue = queue[:upright], queue[upright:]
        if resident is None:
            x_BCHW = as_inputs(images_NHWC[train_indices[rows_B.numpy()]])
        else:
            x_BCHW = scaled(resident[rows_B.to(device)])
        x_BCHW, target_B = distort(x_BCHW, recipe, draws), target_N[rows_B.to(device)]
        if recipe.loss == "rotations":
            x_BCHW, target_B = rotations(x_BCHW)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_BK = model.logits(x_BCHW)
        loss = LOSSES[recipe.loss](logits_BK.float(), target_B)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        loss_sum, loss_steps = loss_sum + loss.detach(), loss_steps + 1
        if step % report_every == 0 and step < steps:
            yield report(step)
            loss_sum, loss_steps = torch.zeros((), device=device), 0

    last = report(steps)  # before the evaluation, whose seconds are not the training's
    held_out = held_out_scores(model, images_NHWC[held_out_indices], labels[held_out_indices], recipe, device)
    yield dataclasses.replace(last, model=model.cpu().eval(), held_out=held_out)


def _targets(labels: Labels, recipe: Recipe) -> Tensor:
    """What the loss compares with: float32 (N, K) of sets, int64 (N,) of classes; of rotations nothing that is used."""
    if recipe.loss == "classes":
        if not (labels.sum(1) == 1).all():
            raise ValueError("An evaluator of classes needs one class per image: give each image one, or --task sets.")
        return torch.from_numpy(labels.argmax(1))
    return torch.from_numpy(labels).to(torch.float32)


def held_out_scores(
    model: ResNet18, images_NHWC: Images, labels: Labels, recipe: Recipe, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """Accuracies on images not trained on: all, and all under the recipe's distortions. Of sets also by number of
    objects asked; of classes the calibration error of the undistorted ones (see `calibration.of_classes`).

    Of rotations, the accuracy is that of all four turns of every image, where chance is .25.
    """
    asked_NHWC, asked = rotated(images_NHWC) if recipe.loss == "rotations" else (images_NHWC, labels)
    probability_NK = probabilities(model, asked_NHWC, device)
    named = top(probability_NK, asked)
    result = {"images": float(len(images_NHWC)), "accuracy": accuracy(named, asked)}
    if recipe.loss == "sets":
        for count in sorted(set(labels.sum(1).tolist())):
            rows = labels.sum(1) == count
            result[f"accuracy_{count}"] = accuracy(named[rows], labels[rows])
    if recipe.loss == "classes":
        found = calibration.of_classes(probability_NK, labels)
        result |= {"ece": found.ece, "ece_if_calibrated": found.ece_if_calibrated}
    result["accuracy_distorted"] = _accuracy_distorted(model, images_NHWC, labels, recipe, device)
    return result


def _accuracy_distorted(
    model: ResNet18, images_NHWC: Images, labels: Labels, recipe: Recipe, device: str | torch.device
) -> float:
    draws, right, total = torch.Generator().manual_seed(recipe.seed), 0, 0
    for start in range(0, len(images_NHWC), SCORED):
        x_BCHW = distort(as_inputs(images_NHWC[start : start + SCORED]), recipe, draws)
        distorted_BHWC = ((x_BCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        asked = labels[start : start + SCORED]
        if recipe.loss == "rotations":
            distorted_BHWC, asked = rotated(distorted_BHWC)
        right += int(hits(predict(model, distorted_BHWC, asked, device), asked).sum())
        total += int(asked.sum())
    return right / total


def save(path: Path, model: ResNet18, recipe: Recipe, held_out: dict[str, float]) -> None:
    """Write weights with recipe and accuracies in the header (safetensors), under a temporary name, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fields = {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(recipe)
        if field.name not in LATER or getattr(recipe, field.name) != field.default
    }
    metadata = {"recipe": json.dumps(fields), "held_out": json.dumps(held_out)}
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary, metadata)
    os.replace(temporary, path)


def load(path: Path) -> tuple[ResNet18, Recipe, dict[str, float]]:
    """(model in eval mode on the CPU, its recipe, its held-out accuracies); ValueError for any other file."""
    try:
        with safe_open(str(path), "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        state = load_file(path)
        recipe = Recipe(**json.loads(metadata["recipe"]))
        held_out: dict[str, float] = json.loads(metadata["held_out"])
        model = ResNet18(recipe.width, recipe.stem, len(state["fc.0.bias"]), HEADS[recipe.loss])
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no surrogate evaluator: delete it and run the command again.") from error
    return model.eval(), recipe, held_out
