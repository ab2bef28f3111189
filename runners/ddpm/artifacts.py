"""What a trial's folder holds beside its scores: pictures, strips of them, and tables.

Images are uint8 (N, H, W, 3) unless their names say otherwise; a `network` is what `precision.working` made.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.contents import Shown
from runners.ddpm import diffusion, noise, sample, schedules
from runners.ddpm.config import TrialConfig
from runners.ddpm.noise import KeyedNoise
from runners.images import Images
from runners.process import png

CLASS_GRID = "class_grid"  # its list of noises, and its file: ten classes in rows, ten noises in columns
CLASSES = NOISES = 10
MIXES = {"slerp": noise.slerp, "lerp": noise.lerp}


def save_pictures(images_NHWC: png.Pixels, name: str, folder: Path, later: png.Later) -> None:
    """grid_<list>.png and images/<list>/: the first pass over a list."""
    later(lambda: png.save(folder / f"grid_{name}.png", png.grid(images_NHWC)))
    later(lambda: png.save_tree(folder / "images" / name, images_NHWC))


def save_classes(rows: list[dict[str, Any]], path: Path) -> None:
    """One row per list and label: asked, hits, named_unasked."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def save_strips(config: TrialConfig, network: nn.Module, images: Images, folder: Path) -> None:
    """denoising.png: x_t above the estimate of x0, step by step; noised.png: a training image at rising t."""
    shape = (3, config.image_size, config.image_size)
    device = next(network.parameters()).device
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    c_BK = torch.from_numpy(images.hot([images.about.shown.strip])).to(device, torch.float32)
    shown, one = images.about.shown, [(0, images.about.shown.strip)]
    # That of a list has the trial's draw; the strip's own is one for all trials.
    key = (shown.first_of, one, 0, config.noise_seed) if shown.first_of else ("denoising", one, 0, 0)
    states = list(sample.sample_as(config, network, c_BK, KeyedNoise(*key)))
    start = KeyedNoise(*key).draw(shape)[0]  # what the sampler drew first
    chosen = [states[i] for i in np.linspace(0, len(states) - 1, shown.frames - 1).round().astype(int)]
    rows = [
        png.visible([start, *(state.x_BCHW[0].cpu() for state in chosen)]),
        torch.stack([torch.zeros(shape), *(state.x0_BCHW[0].cpu() for state in chosen)]),
    ]
    png.save(folder / "denoising.png", png.grid(sample.to_uint8(torch.cat(rows)), shown.frames))

    fullest = int(images.labels_NK.sum(1).argmax())
    x0 = torch.from_numpy(np.array(images.images_NHWC[fullest])).permute(2, 0, 1) / 127.5 - 1
    eps = KeyedNoise("noised", one, 0).draw(shape)[0]
    times = np.linspace(0, config.timesteps - 1, shown.frames).round().astype(int)[1:]
    frames = [x0, *(diffusion.add_noise(x0, eps, torch.tensor(alpha_bar_T[t]).float()) for t in times)]
    png.save(folder / "noised.png", png.grid(sample.to_uint8(png.visible(frames)), shown.frames))


def interpolated(config: TrialConfig, network: nn.Module, images: Images) -> png.Pixels:
    """Samples whose first noise moves from one to another, uint8 (R, F, H, W, 3): a row per condition and way."""
    device, shown = next(network.parameters()).device, images.about.shown
    c_NK = torch.from_numpy(images.hot(shown.interpolation)).to(device, torch.float32)
    rows = [
        sample.interpolate(config, network, shown.interpolation, c_NK, shown.steps, MIXES[mix]) for mix in shown.mixes
    ]
    return np.concatenate(rows)


def save_distances(images_RFHWC: png.Pixels, features_RFD: NDArray[np.float32], shown: Shown, path: Path) -> None:
    """interpolation.csv: root mean square distances between neighbours of each row, in pixels (white minus black is 1)
    and in features: mix, condition, step, pixels, features."""
    pixels_RFD = images_RFHWC.reshape(*images_RFHWC.shape[:2], -1) / 255.0
    steps = [np.sqrt((np.diff(rows, axis=1) ** 2).mean(-1)) for rows in (pixels_RFD, features_RFD)]
    names = [(mix, ", ".join(condition)) for mix in shown.mixes for condition in shown.interpolation]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mix", "condition", "step", "pixels", "features"])
        for name, of_pixels, of_features in zip(names, *steps, strict=True):
            pairs = enumerate(zip(of_pixels, of_features, strict=True), start=1)
            writer.writerows([*name, step, *map(float, pair)] for step, pair in pairs)


def class_grid(config: TrialConfig, network: nn.Module, images: Images) -> png.Pixels:
    """The first ten classes in rows, ten noises in columns: uint8 (R, 10, H, W, 3)."""
    device, conditions = next(network.parameters()).device, [(label,) for label in images.about.labels[:CLASSES]]
    c_NK = torch.from_numpy(images.hot(conditions)).to(device, torch.float32)
    drawn_SNHWC = sample.sample_list(config, network, CLASS_GRID, conditions, c_NK, NOISES)
    return drawn_SNHWC.swapaxes(0, 1)


def save_rows(images_RFHWC: png.Pixels, path: Path) -> None:
    png.save(path, png.grid(np.concatenate(images_RFHWC), images_RFHWC.shape[1]))


def save_schedule(alpha_bar_T: NDArray[np.float64], path: Path) -> None:
    """One row per timestep: t, beta, alpha_bar, sqrt_alpha_bar, log_snr."""
    beta_T = 1 - alpha_bar_T / np.concatenate([[1.0], alpha_bar_T[:-1]])
    columns = zip(beta_T, alpha_bar_T, np.sqrt(alpha_bar_T), schedules.log_snr(alpha_bar_T), strict=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t", "beta", "alpha_bar", "sqrt_alpha_bar", "log_snr"])
        writer.writerows([t, *map(float, row)] for t, row in enumerate(columns))
