"""The scorers of a trial, one after the other: each is given the samples, leaves files in the trial's folder, and adds
its scores to the result.

Shapes: E evaluators, K sampling seeds, N conditions, L labels; images uint8 (N, H, W, 3). A `network` is what
`precision.working` made.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.contents import Pixels
from runners.ddpm import artifacts, denoising, earlier_passes, sample, schedules
from runners.ddpm.config import TrialConfig
from runners.ddpm.earlier_passes import Earlier, Probabilities
from runners.ddpm.noise import noise_digest
from runners.evaluation import evaluator as evaluators
from runners.evaluation import quality, recognition, score_sheet
from runners.evaluation.evaluator import Evaluator
from runners.images import Images, open_images
from runners.process import heartbeat, png

REAL_FEATURES = 200  # real images whose features are kept: as many as a map of dots can take
DIVERSE_CONDITIONS, DRAWS = 8, 4  # of the diversity of samples of one condition
Scores = dict[str, Any]  # numbers, and digests as text


@dataclass(frozen=True)
class Subject:
    """What a scorer is given. `samples`: list -> uint8 (K, N, H, W, 3) of the passes that this trial has drawn itself,
    which come after those of `earlier`; `later` does work until the trial ends."""

    config: TrialConfig
    device: torch.device
    images: Images
    evaluators: tuple[Evaluator, ...]
    network: nn.Module
    samples: Mapping[str, Pixels]
    earlier: Earlier | None
    folder: Path
    later: png.Later

    @property
    def evaluator(self) -> Evaluator:
        """The first one."""
        return self.evaluators[0]

    @property
    def first_pass(self) -> Mapping[str, Pixels]:
        if self.earlier is not None:
            return self.earlier.first_pass
        return {name: images_KNHWC[0] for name, images_KNHWC in self.samples.items()}

    def probabilities(self, name: str) -> Probabilities:
        """What the evaluators see in all passes over a list, float32 (E, K, N, L)."""
        own_EKNL = np.stack(
            [
                np.stack([recognition.probabilities(one.model, drawn, self.device) for drawn in self.samples[name]])
                for one in self.evaluators
            ]
        )
        return own_EKNL if self.earlier is None else np.concatenate([self.earlier.probability[name], own_EKNL], axis=1)


@dataclass(frozen=True)
class Real:
    """What the evaluator sees in held-out real images: `named_NL` bool (N, L) in all of them; of some, one frame per
    scene, `features_ND` float16 and their labels, bool. `distances`: `quality.held_out_distances`."""

    named_NL: NDArray[np.bool_]
    features_ND: NDArray[np.float16]
    labels_NL: NDArray[np.bool_]
    distances: Mapping[int, quality.Floats]


def score(subject: Subject, evaluator_paths: Sequence[str], data_path: str) -> Scores:
    """What all scorers find; the paths are where the evaluators and the images come from."""
    real = tuple(_real(path, data_path, str(subject.device)) for path in evaluator_paths)
    found: Scores = {}
    for scorer in (lists, pictures, features, memorisation, diversity, denoising_errors):
        found |= scorer(subject, real)
    return found


@functools.lru_cache(evaluators.OPEN)
def _real(evaluator_path: str, data_path: str, device: str) -> Real:
    """Once per process.

    Scenes have three frames, of one, two and three objects and one after the other: every fourth image is of another
    scene than the last and has another number of objects.
    """
    images, model = open_images(Path(data_path)), evaluators.load(evaluator_path).model
    rows = images.held_out_indices
    named_NL = recognition.predict(model, images.images_NHWC[rows], images.labels_NK[rows], device)
    some = rows[::4][:REAL_FEATURES]
    features_ND = evaluators.features(model, images.images_NHWC[some], torch.device(device))
    distances = quality.held_out_distances(images, torch.device(device))
    return Real(named_NL, features_ND, images.labels_NK[some], distances)


def lists(subject: Subject, real: Sequence[Real]) -> Scores:
    """Every list's score sheet, with the evaluators' accuracy on real images; outcomes.npz, classes.csv, pictures.

    Of several evaluators every score is the mean, and the accuracy of each is kept too.
    """
    found: Scores = {}
    outcomes: dict[str, NDArray[Any]] = {}
    classes: list[dict[str, Any]] = []
    config, about, first_pass = subject.config, subject.images.about, subject.first_pass
    shape = (3, config.image_size, config.image_size)
    real_asked_NL = subject.images.labels_NK[subject.images.held_out_indices]
    for name, images_NHWC in first_pass.items():
        conditions = subject.images.lists[name]
        artifacts.save_pictures(images_NHWC, name, subject.folder, subject.later)
        heartbeat.tick()
        asked_NL, predicted, sheets = subject.images.hot(conditions), [], []
        for number, probability_KNL in enumerate(subject.probabilities(name)):
            predicted_KNL = np.stack([recognition.top(probability_NL, asked_NL) for probability_NL in probability_KNL])
            outcomes |= zip(earlier_passes.names(name, number), (predicted_KNL, probability_KNL), strict=True)
            sheet = score_sheet.score_sheet(name, predicted_KNL, asked_NL, probability_KNL, about.facets)
            real_NL = real[number].named_NL
            sheet[f"real_accuracy/{name}"] = score_sheet.real_accuracy(asked_NL, real_NL, real_asked_NL)
            predicted.append(predicted_KNL)
            sheets.append(sheet)
        found |= score_sheet.over_evaluators(name, sheets)
        found[f"noise_digest/{name}"] = noise_digest(name, conditions, config.sampling_seeds, shape, config.noise_seed)
        classes += score_sheet.by_class(name, np.concatenate(predicted), asked_NL, about.labels)
    np.savez_compressed(subject.folder / "outcomes.npz", **outcomes)  # type: ignore[arg-type]
    artifacts.save_classes(classes, subject.folder / "classes.csv")
    return found


def pictures(subject: Subject, real: Sequence[Real]) -> Scores:
    """denoising.png, noised.png, interpolation.png, of classes class_grid.png, schedule.csv."""
    config, network, images, folder = subject.config, subject.network, subject.images, subject.folder
    artifacts.save_strips(config, network, images, folder)
    artifacts.save_rows(artifacts.interpolated(config, network, images), folder / "interpolation.png")
    if config.task.kind == "class":
        artifacts.save_rows(artifacts.class_grid(config, network, images), folder / f"{artifacts.CLASS_GRID}.png")
    artifacts.save_schedule(schedules.alpha_bars(config.schedule, config.timesteps), folder / "schedule.csv")
    return {}


def features(subject: Subject, real: Sequence[Real]) -> Scores:
    """features.npz: what the first evaluator's last layer saw in the first pass and in real images."""
    samples, seen = subject.first_pass, real[0]
    features_ND = evaluators.features(subject.evaluator.model, np.concatenate(list(samples.values())), subject.device)
    labels = [*(subject.images.hot(subject.images.lists[name]) for name in samples), seen.labels_NL]
    source = np.repeat([*samples, "real"], [*map(len, samples.values()), len(seen.features_ND)])
    np.savez_compressed(
        subject.folder / "features.npz",
        features=np.concatenate([features_ND, seen.features_ND]),
        labels=np.concatenate(labels),
        source=source,
    )
    return {}


def memorisation(subject: Subject, real: Sequence[Real]) -> Scores:
    """Of the first pass over all lists, each sample against real images of as many objects as it was asked for."""
    samples = subject.first_pass
    objects_N = np.concatenate([subject.images.hot(subject.images.lists[name]).sum(1) for name in samples])
    images_NHWC = np.concatenate(list(samples.values()))
    return {**quality.memorisation(images_NHWC, objects_N, subject.images, real[0].distances, subject.device)}


def diversity(subject: Subject, real: Sequence[Real]) -> Scores:
    """Of 4 noises for each of the first 8 conditions of the list that choices are made on; diversity.png."""
    draws_SNHWC = draws(subject.config, subject.network, subject.images, subject.device)
    png.save(subject.folder / "diversity.png", png.grid(np.concatenate(draws_SNHWC.swapaxes(0, 1)), DRAWS))
    return {"diversity": quality.diversity(draws_SNHWC)}


def draws(config: TrialConfig, network: nn.Module, images: Images, device: torch.device) -> Pixels:
    """uint8 (4 noises, 8 conditions, H, W, 3)."""
    conditions = images.lists[config.task.choice_list][:DIVERSE_CONDITIONS]
    c_NK = torch.from_numpy(images.hot(conditions)).to(device, torch.float32)
    return sample.sample_list(config, network, "diversity", conditions, c_NK, DRAWS)


def denoising_errors(subject: Subject, real: Sequence[Real]) -> Scores:
    alpha_bar_T = schedules.alpha_bars(subject.config.schedule, subject.config.timesteps)
    return {**denoising.errors(subject.config, subject.network, subject.images, alpha_bar_T, subject.device)}
