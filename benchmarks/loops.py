"""Our training and sampling loops, and the plain ones of a tutorial: same network, same batch, same arithmetic.

Shapes: N images, B batch, K labels. Every function returns seconds of one round: of the processor where one thread
trains, because another program's turn is not its time; of the clock for sampling and for a whole machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from runners.ddpm import sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.train import Training, train
from runners.ddpm.trial import build_model
from runners.process.cores import usable
from runners.tasks.iclevr.labels import LABELS

STEPS = 12  # of a round of training
IMAGES = 2000  # of the data set that both loops draw from
FILES = 256  # of them as PNGs
PUBLISHED = (320, 240)  # pixels of an i-CLEVR image
SAMPLED = 16  # images of a round of sampling
SAMPLING_STEPS = 20
CORES = usable()
Pixels = NDArray[np.uint8]


def scenes(image_size: int) -> tuple[Pixels, NDArray[np.bool_]]:
    """Noise with labels: images_NHWC, labels_NK. What an image shows costs nothing."""
    rng = np.random.default_rng(0)
    images_NHWC = rng.integers(0, 256, (IMAGES, image_size, image_size, 3), dtype=np.uint8)
    return images_NHWC, np.eye(len(LABELS), dtype=bool)[rng.integers(0, len(LABELS), IMAGES)]


CPU = torch.device("cpu")


def _clock(device: torch.device) -> float:
    """Of the processor on a CPU; on a GPU of the wall, once the device has done what was queued."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def ours(config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_]) -> float:
    """The project's loop."""
    training = Training(config, build_model(config), CPU)
    start = time.process_time()
    for _ in train(training, images_NHWC, labels_NK):
        pass
    return time.process_time() - start


class Folder(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A folder of PNGs, opened, scaled down and normalised when an item is asked for: the data set of the reports.

    `published`: 320x240 as i-CLEVR comes, else of the network's size already.
    """

    def __init__(self, folder: Path, images_NHWC: Pixels, labels_NK: NDArray[np.bool_], published: bool) -> None:
        self.paths = [folder / f"{index}.png" for index in range(FILES)]
        self.labels_NK, self.side = labels_NK, images_NHWC.shape[1]
        for path, image_HWC in zip(self.paths, images_NHWC, strict=False):
            image = Image.fromarray(image_HWC)
            # Noise does not compress; a smooth picture takes as long to decode as a scene, about 3 ms.
            (image.resize(PUBLISHED, Image.Resampling.BICUBIC) if published else image).save(path)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        with Image.open(self.paths[index]) as file:
            image = file.convert("RGB")
        if image.width != self.side:
            image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        pixels_HWC = np.asarray(image)
        x0_CHW = torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1).float() / 255
        return (x0_CHW - 0.5) / 0.5, torch.from_numpy(self.labels_NK[index]).float()


def _plain(
    config: TrialConfig,
    dataset: Dataset[Any],
    average: Callable[[nn.Module], Callable[[], object]],
    device: torch.device,
) -> float:
    """DataLoader, an epoch's Python loop, diffusers' scheduler, torch's optimiser as it comes, the loss every step."""
    model = build_model(config).to(device).train()
    scheduler = DDPMScheduler(config.timesteps)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr)
    step_average = average(model)
    loader = DataLoader(dataset, config.batch_size, shuffle=True, drop_last=True)
    start = _clock(device)
    for x0_BCHW, c_BK in _endless(loader):
        x0_BCHW, c_BK = x0_BCHW.to(device), c_BK.to(device)
        t_B = torch.randint(0, config.timesteps, (len(x0_BCHW),), device=device)
        eps_BCHW = torch.randn_like(x0_BCHW)
        kept_B1 = (torch.rand(len(x0_BCHW), 1, device=device) >= config.drop_probability).float()
        output = model(scheduler.add_noise(x0_BCHW, eps_BCHW, t_B), t_B, c_BK * kept_B1)
        loss = F.mse_loss(output, eps_BCHW)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step_average()
        loss.item()
    return _clock(device) - start


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    done = 0
    while True:
        for batch in loader:
            yield batch
            done += 1
            if done == STEPS:
                return


def in_memory(
    config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_], device: torch.device = CPU
) -> float:
    """The plain loop at its best: all images decoded and normalised before it begins, the average in two lines."""

    def average(model: nn.Module) -> Callable[[], object]:
        kept = [parameter.detach().clone() for parameter in model.parameters()]

        def step() -> None:
            for mean, parameter in zip(kept, model.parameters(), strict=True):
                mean.mul_(0.999).add_(parameter.detach(), alpha=0.001)

        return step

    x0_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    return _plain(config, TensorDataset(x0_NCHW, torch.from_numpy(labels_NK).float()), average, device)


def _from_folder(
    config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_], published: bool, device: torch.device
) -> float:
    """PNGs from a folder, and diffusers' EMAModel as its training script has it."""

    def average(model: nn.Module) -> Callable[[], object]:
        ema = EMAModel(model.parameters(), decay=0.9999)
        return lambda: ema.step(model.parameters())

    with tempfile.TemporaryDirectory() as folder:
        return _plain(config, Folder(Path(folder), images_NHWC, labels_NK, published), average, device)


def of_the_reports(
    config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_], device: torch.device = CPU
) -> float:
    """The plain loop that the reports use: the published PNGs, decoded and scaled down in every epoch."""
    return _from_folder(config, images_NHWC, labels_NK, published=True, device=device)


def scaled_down_before(
    config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_], device: torch.device = CPU
) -> float:
    """The plain loop on PNGs of the network's own size."""
    return _from_folder(config, images_NHWC, labels_NK, published=False, device=device)


def _ours_on_one_thread(config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_]) -> None:
    torch.set_num_threads(1)
    ours(config, images_NHWC, labels_NK)


def _reports_on_all_threads(config: TrialConfig, images_NHWC: Pixels, labels_NK: NDArray[np.bool_]) -> None:
    torch.set_num_threads(CORES)
    scaled_down_before(config, images_NHWC, labels_NK)


class Machine:
    """All cores: one training per core and thread, as a study runs them, beside one training on all threads, as torch
    does unasked, on PNGs of the network's size. Seconds per training, in processes that are started before."""

    def __init__(self) -> None:
        self.processes = ProcessPoolExecutor(CORES, get_context("spawn"))

    def ours(self, *given: Any) -> float:
        return self._seconds(_ours_on_one_thread, CORES, *given) / CORES

    def reports(self, *given: Any) -> float:
        return self._seconds(_reports_on_all_threads, 1, *given)

    def _seconds(self, side: Callable[..., None], trainings: int, *given: Any) -> float:
        start = time.perf_counter()
        for running in [self.processes.submit(side, *given) for _ in range(trainings)]:
            running.result()
        return time.perf_counter() - start


def _conditions() -> tuple[list[list[str]], torch.Tensor]:
    each = torch.arange(SAMPLED) % len(LABELS)
    return [[LABELS[index]] for index in each], torch.eye(len(LABELS))[each]


@torch.no_grad()
def sampled_at_once(config: TrialConfig, model: nn.Module) -> float:
    """SAMPLED guided images as the project samples a list."""
    conditions, c_NK = _conditions()
    start = time.perf_counter()
    sample.sample_list(config, model, "bench", conditions, c_NK, seeds=1)
    return time.perf_counter() - start


@torch.no_grad()
def sampled_one_by_one(config: TrialConfig, model: nn.Module) -> float:
    """The same one image at a time, with two forward passes per step."""
    _, c_NK = _conditions()
    scheduler = DDPMScheduler(config.timesteps)
    scheduler.set_timesteps(config.timesteps)
    start = time.perf_counter()
    for c_K in c_NK:
        x = torch.randn(1, 3, config.image_size, config.image_size)
        for t in scheduler.timesteps:
            eps_u = model(x, t.view(1), torch.zeros(1, len(LABELS)))
            eps_c = model(x, t.view(1), c_K.view(1, -1))
            x = scheduler.step(eps_u + config.guidance_scale * (eps_c - eps_u), t, x).prev_sample
    return time.perf_counter() - start
