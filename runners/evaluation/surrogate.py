"""The ResNet-18 that scores generated scenes: the official checkpoint, or a stand-in trained on the scenes at hand.

Scores of two evaluators are not comparable: `is_official` says which one judged, and a report has to repeat it.

Shapes in names: B batch, N list, H height, W width, C channels (RGB), K = 24 labels (8 colours x 3 shapes).
"""

from __future__ import annotations

import dataclasses
import hashlib
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
from torch import Tensor, nn

OFFICIAL_SHA256 = "38a27369dac0ad64302bec2ee8d98bd6f27de17f4bde60ebcd2e3ff7981e9d63"  # checkpoint.pth, 44,815,714 bytes
LABELS = 24

Images = npt.NDArray[np.uint8]  # (N, H, W, 3)
Labels = npt.NDArray[np.bool_]  # (N, 24)
Counts = npt.NDArray[np.int64]  # (N,)


# ---------------------------------------------------------------- architecture


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2; projection shortcut: option B of section 3.3)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_BCHW)))))
        return F.relu(residual + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016, table 1) under torchvision's state-dict keys; the head is 24 independent sigmoids.

    `stem` says how much the picture shrinks before the four stages, which halve it three times more:
    "imagenet" 4x (7x7 stride 2, max pool), "half" 2x (3x3 stride 2), "small" not at all (3x3).
    Width 64 with the stem "imagenet" is the official evaluator.
    """

    def __init__(self, width: int = 64, stem: str = "imagenet", classes: int = LABELS) -> None:
        super().__init__()
        if stem not in ("imagenet", "half", "small"):
            raise ValueError(f'stem={stem!r} is unknown: write "imagenet", "half" or "small".')
        kernel, stride = {"imagenet": (7, 2), "half": (3, 2), "small": (3, 1)}[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.fc = nn.Sequential(nn.Linear(8 * width, classes), nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) before the sigmoid, for a loss that is stable in low precision."""
        h_BCHW = self.maxpool(F.relu(self.bn1(self.conv1(x_BCHW))))
        h_BCHW = self.layer4(self.layer3(self.layer2(self.layer1(h_BCHW))))
        y_BK: Tensor = self.fc[0](h_BCHW.mean((2, 3)))
        return y_BK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, K) probabilities."""
        y_BK: Tensor = self.fc[1](self.logits(x_BCHW))
        return y_BK


# ---------------------------------------------------------------- the official checkpoint


def is_official(sha256: str) -> bool:
    """Whether the file with this SHA-256 (hexadecimal) is the evaluator whose scores are published."""
    return sha256.lower() == OFFICIAL_SHA256


def load_checkpoint(path: Path) -> tuple[ResNet18, str]:
    """Read `{"model": state_dict}` as tensors only: (model in eval mode on the CPU, SHA-256 of the file).

    ValueError, one sentence: not a file, not tensors only, no key "model", not a ResNet-18 of 24 outputs.
    """
    path = Path(path)
    wanted = 'give the evaluator\'s checkpoint.pth, {"model": state dict of a ResNet-18 with 24 outputs}'
    if not path.is_file():
        raise ValueError(f"There is no file {path}: {wanted}.")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise whatever the unpickler stumbles over
        raise ValueError(f"{path} does not hold tensors only (code in it is never run): {wanted}.") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f'{path} has no state dict under the key "model": {wanted}.')
    model, state = ResNet18(), checkpoint["model"]
    expected = model.state_dict()
    for key in [*expected, *(key for key in state if key not in expected)]:
        given = tuple(state[key].shape) if isinstance(state.get(key), Tensor) else "missing"
        right = tuple(expected[key].shape) if key in expected else "absent"
        if given != right:
            raise ValueError(f"{path} is no ResNet-18 of 24 outputs, {key} is {given} instead of {right}: {wanted}.")
    model.load_state_dict(state)
    return model.eval(), sha256


# ---------------------------------------------------------------- judging


def as_inputs(images_NHWC: Images, device: str | torch.device = "cpu") -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in [-1, 1], the official Normalize(.5, .5); channels last in memory."""
    return _scaled(torch.from_numpy(np.array(images_NHWC)).to(device))  # a copy: a memory map is often read-only


def _scaled(images_BHWC: Tensor) -> Tensor:
    return images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def probabilities(
    model: ResNet18, images_NHWC: Images, device: str | torch.device = "cpu", batch_size: int = 256
) -> npt.NDArray[np.float32]:
    """(N, 24): the evaluator's outputs. Moves `model` to `device` and into eval mode, and leaves it there."""
    model.to(device).eval()
    parts = [
        model(as_inputs(images_NHWC[start : start + batch_size], device)).float().cpu().numpy()
        for start in range(0, len(images_NHWC), batch_size)
    ]
    return np.concatenate(parts) if parts else np.empty((0, LABELS), np.float32)


def top(probability_NK: npt.NDArray[np.float32], labels: Labels) -> Labels:
    """(N, 24): per image the k largest outputs, where k is the number of labels asked (ties: the lower index)."""
    if len(probability_NK) != len(labels):
        raise ValueError(f"{len(probability_NK)} images but {len(labels)} rows of labels: give one row per image.")
    rank_NK = np.argsort(np.argsort(-probability_NK, axis=1, kind="stable"), axis=1)
    chosen: Labels = rank_NK < labels.sum(1, keepdims=True)
    return chosen


def predict(
    model: ResNet18, images_NHWC: Images, labels: Labels, device: str | torch.device = "cpu", batch_size: int = 256
) -> Labels:
    """(N, 24): the labels that the evaluator names in each image, as many as were asked (the official rule)."""
    return top(probabilities(model, images_NHWC, device, batch_size), labels)


def hits(predicted: Labels, labels: Labels) -> Counts:
    """(N,): how many of the labels asked are among those predicted."""
    count: Counts = (predicted & labels).sum(1).astype(np.int64)
    return count


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Hits / objects over the whole list (micro): an image of three objects weighs three times one of a single."""
    return float(hits(predicted, labels).sum() / labels.sum())


# ---------------------------------------------------------------- the stand-in


@dataclass(frozen=True)
class StandInRecipe:
    """How a stand-in is trained. A classifier shown only clean images misjudges samples, hence the distortions."""

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
RECIPES: dict[int, StandInRecipe] = {
    16: StandInRecipe(10, "small", 105_000, 32, 6e-3, noise=0.03, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    32: StandInRecipe(12, "half", 120_000, 32, 6e-3, noise=0.05, blur=0.25, zoom=0, brightness=0.05, tint=0.01),
    64: StandInRecipe(32, "imagenet", 260_000),
}
SMOKE = StandInRecipe(width=8, stem="half", total_images=512)  # exercises the path, proves nothing


def recipe_for(image_size: int) -> StandInRecipe:
    """The recipe of the nearest size, on a scale of ratios; ValueError below 8 pixels."""
    if image_size < 8:
        raise ValueError(f"image_size={image_size} shows no shapes: use 16, 32 or 64.")
    return RECIPES[min(RECIPES, key=lambda size: abs(np.log2(size / image_size)))]


@dataclass(frozen=True)
class StandInProgress:
    """One report of a training; the last one carries the trained model and its held-out accuracies."""

    images_seen: int
    total_images: int
    loss: float  # binary cross-entropy, mean over the 24 labels and the images since the last report
    images_per_second: float  # since the start
    model: ResNet18 | None = None  # in eval mode on the CPU
    held_out: dict[str, float] | None = None  # see `judge_held_out`


def distort(x_BCHW: Tensor, recipe: StandInRecipe, generator: torch.Generator) -> Tensor:
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


def train_stand_in(
    images_NHWC: Images,
    labels: Labels,
    train_indices: npt.NDArray[np.int64],
    held_out_indices: npt.NDArray[np.int64],
    recipe: StandInRecipe,
    device: str | torch.device = "cpu",
) -> Iterator[StandInProgress]:
    """Train on `train_indices` and yield progress about a hundred times; the last report carries the result.

    The frames of a scene are nested: the caller splits by scene, or the held-out accuracy flatters.
    `images_NHWC` may be a memory map; a GPU gets it once, as uint8. On a CPU, same seed and threads: same weights.
    """
    assert len(train_indices), "an empty split would be shuffled forever"
    device = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = ResNet18(recipe.width, recipe.stem, labels.shape[1])
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    order = torch.Generator().manual_seed(recipe.seed)
    draws = torch.Generator(device).manual_seed(recipe.seed)
    resident = torch.from_numpy(images_NHWC[train_indices]).to(device) if device.type != "cpu" else None
    y_NK = torch.from_numpy(labels[train_indices]).to(device, torch.float32)

    steps = max(1, recipe.total_images // recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)
    report_every, queue = max(1, steps // 100), torch.empty(0, dtype=torch.int64)
    start, loss_sum, loss_steps = time.perf_counter(), torch.zeros((), device=device), 0

    def report(step: int) -> StandInProgress:
        seen, seconds = step * recipe.batch_size, time.perf_counter() - start
        return StandInProgress(seen, steps * recipe.batch_size, float(loss_sum) / loss_steps, seen / seconds)

    model.train()
    for step in range(1, steps + 1):
        while len(queue) < recipe.batch_size:
            queue = torch.cat([queue, torch.randperm(len(train_indices), generator=order)])
        rows_B, queue = queue[: recipe.batch_size], queue[recipe.batch_size :]
        if resident is None:
            x_BCHW = as_inputs(images_NHWC[train_indices[rows_B.numpy()]])
        else:
            x_BCHW = _scaled(resident[rows_B.to(device)])
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

    last = report(steps)  # before the judging, whose seconds are not the training's
    held_out = judge_held_out(model, images_NHWC[held_out_indices], labels[held_out_indices], recipe, device)
    yield dataclasses.replace(last, model=model.cpu().eval(), held_out=held_out)


def judge_held_out(
    model: ResNet18, images_NHWC: Images, labels: Labels, recipe: StandInRecipe, device: str | torch.device = "cpu"
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


def save_stand_in(path: Path, model: ResNet18, recipe: StandInRecipe, held_out: dict[str, float]) -> None:
    """Write weights with recipe and accuracies in the header (safetensors), under a temporary name, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    metadata = {"recipe": json.dumps(dataclasses.asdict(recipe)), "held_out": json.dumps(held_out)}
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary, metadata)
    os.replace(temporary, path)


def load_stand_in(path: Path) -> tuple[ResNet18, StandInRecipe, dict[str, float]]:
    """(model in eval mode on the CPU, its recipe, its held-out accuracies); ValueError for any other file."""
    try:
        with safe_open(str(path), "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        state = load_file(path)
        recipe = StandInRecipe(**json.loads(metadata["recipe"]))
        held_out: dict[str, float] = json.loads(metadata["held_out"])
        model = ResNet18(recipe.width, recipe.stem, len(state["fc.0.bias"]))
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is no stand-in evaluator: delete it and train a new one.") from error
    return model.eval(), recipe, held_out
