"""A surrogate evaluator: the ResNet-18 of the official one, trained on the scenes at hand.

Shapes in names: B batch, N list, H height, W width, C channels (RGB), K = 24 labels (8 colours x 3 shapes).
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from runners.evaluation.networks import ResNet18
from runners.evaluation.recognition import Images, Labels, accuracy, as_inputs, predict, scaled
from runners.process.device import algorithms, upload

# Of this file: to be raised by whoever changes what it trains, so that records train a new one.
VERSION = 1


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


# Small pictures take milder distortions: at 16 pixels a face of a cube is two pixels wide. Images shown matter more
# than channels, so the nets are narrow; at 64 an image costs width 32 a quarter of the official width 64.
RECIPES: dict[int, Recipe] = {
    16: Recipe(10, "small", 105_000, 32, 6e-3, noise=0.03, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    32: Recipe(12, "half", 120_000, 32, 6e-3, noise=0.05, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    64: Recipe(32, "imagenet", 260_000),
}
SMOKE = Recipe(width=8, stem="half", total_images=512)  # exercises the path, proves nothing


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
    loss: float  # binary cross-entropy, mean over the 24 labels and the images since the last report
    images_per_second: float  # since the start
    model: ResNet18 | None = None  # in eval mode on the CPU
    held_out: dict[str, float] | None = None  # see `held_out_scores`


def distort(x_BCHW: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random flip, zoom, shift, blur, light and noise per image, in [-1, 1]; the labels stay what they were."""

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        shape = (len(x_BCHW), channels, 1, 1)
        return torch.rand(shape, generator=generator, device=x_BCHW.device) * (high - low) + low

    flip_B = uniform(-1, 1).sign().flatten()
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
    """
    assert len(train_indices), "an empty split would be shuffled forever"
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
        model = ResNet18(recipe.width, recipe.stem, labels.shape[1])
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    order = torch.Generator().manual_seed(recipe.seed)
    draws = torch.Generator(device).manual_seed(recipe.seed)
    resident = upload(images_NHWC, train_indices, device) if device.type != "cpu" else None
    y_NK = torch.from_numpy(labels[train_indices]).to(device, torch.float32)

    steps = max(1, recipe.total_images // recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)
    report_every, queue = max(1, steps // 100), torch.empty(0, dtype=torch.int64)
    start, loss_sum, loss_steps = time.perf_counter(), torch.zeros((), device=device), 0

    def report(step: int) -> Report:
        seen, seconds = step * recipe.batch_size, time.perf_counter() - start
        return Report(seen, steps * recipe.batch_size, float(loss_sum) / loss_steps, seen / seconds)

    model.train()
    for step in range(1, steps + 1):
        while len(queue) < recipe.batch_size:
            queue = torch.cat([queue, torch.randperm(len(train_indices), generator=order)])
        rows_B, queue = queue[: recipe.batch_size], queue[recipe.batch_size :]
        if resident is None:
            x_BCHW = as_inputs(images_NHWC[train_indices[rows_B.numpy()]])
        else:
            x_BCHW = scaled(resident[rows_B.to(device)])
        x_BCHW = distort(x_BCHW, recipe, draws)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_BK = model.logits(x_BCHW)
        loss = F.binary_cross_entropy_with_logits(logits_BK.float(), y_NK[rows_B.to(device)])
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


def held_out_scores(
    model: ResNet18, images_NHWC: Images, labels: Labels, recipe: Recipe, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """Accuracies on images not trained on: all, by number of objects asked, and all under the recipe's distortions."""
    predicted = predict(model, images_NHWC, labels, device)
    result = {"images": float(len(labels)), "accuracy": accuracy(predicted, labels)}
    for count in sorted(set(labels.sum(1).tolist())):
        rows = labels.sum(1) == count
        result[f"accuracy_{count}"] = accuracy(predicted[rows], labels[rows])
    x_NCHW = distort(as_inputs(images_NHWC), recipe, torch.Generator().manual_seed(recipe.seed))
    distorted_NHWC = ((x_NCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    result["accuracy_distorted"] = accuracy(predict(model, distorted_NHWC, labels, device), labels)
    return result


def save(path: Path, model: ResNet18, recipe: Recipe, held_out: dict[str, float]) -> None:
    """Write weights with recipe and accuracies in the header (safetensors), under a temporary name, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    metadata = {"recipe": json.dumps(dataclasses.asdict(recipe)), "held_out": json.dumps(held_out)}
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
        model = ResNet18(recipe.width, recipe.stem, len(state["fc.0.bias"]))
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no surrogate evaluator: delete it and run the command again.") from error
    return model.eval(), recipe, held_out
