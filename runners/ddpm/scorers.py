"""The scorers of a trial, one after the other: each is given the samples, leaves files in the trial's folder, and adds
its scores to the result.

Shapes: E evaluators, K sampling seeds, N conditions, L labels; images uint8 (N, H, W, 3). A `network` is what
`precision.working` made.
"""

from __future__ import annotations

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
from runners.evaluation import quality, real, recognition, set_sheet, sheets
from runners.evaluation.diversity import diversity as in_features
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.frechet import frechet
from runners.evaluation.kernel_distance import kernel_distance
from runners.evaluation.neighbours import neighbours
from runners.evaluation.real import Real
from runners.images import Images
from runners.process import heartbeat, png

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
    def all_first(self) -> Pixels:
        """The first pass over all lists, uint8 (N, H, W, 3)."""
        return np.concatenate(list(self.first_pass.values()))

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


def score(subject: Subject, data_path: str) -> Scores:
    """What all scorers find; `data_path` is where the images come from."""
    device, task = str(subject.device), subject.config.task
    seen = tuple(real.seen(one, data_path, device, task) for one in subject.evaluators)
    found: Scores = {}
    for scorer in (lists, pictures, features, fidelity, memorisation, denoising_errors):
        found |= scorer(subject, seen)
    return found | diversity(subject, data_path)


def lists(subject: Subject, seen: Sequence[Real]) -> Scores:
    """Every list's score sheet, with the evaluators' accuracy on real images; outcomes.npz, classes.csv, pictures.

    Of several evaluators every score is the mean, and the accuracy of each is kept too. Without labels KID stands for
    the sheet, and there are no outcomes.
    """
    found: Scores = {}
    outcomes: dict[str, NDArray[Any]] = {}
    classes: list[dict[str, Any]] = []
    config, about, first_pass, kind = subject.config, subject.images.about, subject.first_pass, subject.config.task.kind
    shape = (3, config.image_size, config.image_size)
    real_asked_NL = subject.images.labels_NK[subject.images.held_out_indices]
    for name, images_NHWC in first_pass.items():
        conditions = subject.images.lists[name]
        artifacts.save_pictures(images_NHWC, name, subject.folder, subject.later)
        heartbeat.tick()
        found[f"noise_digest/{name}"] = noise_digest(name, conditions, config.sampling_seeds, shape, config.noise_seed)
        if kind == "none":
            found |= sheets.over_evaluators(name, [_unlabelled(subject, name, *pair) for pair in enumerate(seen)])
            continue
        asked_NL, predicted, found_by = subject.images.hot(conditions), [], []
        for number, probability_KNL in enumerate(subject.probabilities(name)):
            predicted_KNL = np.stack([recognition.top(probability_NL, asked_NL) for probability_NL in probability_KNL])
            outcomes |= zip(earlier_passes.names(name, number), (predicted_KNL, probability_KNL), strict=True)
            sheet = sheets.sheet(kind, name, predicted_KNL, asked_NL, about.facets, probability_KNL)
            real_NL = seen[number].named_NL
            sheet[f"real_accuracy/{name}"] = sheets.real_accuracy(kind, asked_NL, real_NL, real_asked_NL)
            predicted.append(predicted_KNL)
            found_by.append(sheet)
        found |= sheets.over_evaluators(name, found_by)
        classes += set_sheet.by_class(name, about.labels, np.concatenate(predicted), asked_NL)
    if kind == "none":
        return found
    np.savez_compressed(subject.folder / "outcomes.npz", **outcomes)  # type: ignore[arg-type]
    artifacts.save_classes(classes, subject.folder / "classes.csv")
    return found


def _unlabelled(subject: Subject, name: str, number: int, seen: Real) -> dict[str, float]:
    """KID of all passes over a list, by one evaluator; kid_standard_error and images beside it."""
    model, drawn_KNHWC = subject.evaluators[number].model, subject.samples[name]
    drawn_ND = recognition.features(model, drawn_KNHWC.reshape(-1, *drawn_KNHWC.shape[2:]), subject.device)
    distance = kernel_distance(drawn_ND, seen.references_ND)
    return {
        f"kid/{name}": distance.value,
        f"kid_standard_error/{name}": distance.standard_error,
        f"images/{name}": distance.generated,
    }


def pictures(subject: Subject, seen: Sequence[Real]) -> Scores:
    """denoising.png, noised.png, interpolation.png and .csv, of classes class_grid.png, schedule.csv and .txt."""
    config, network, images, folder = subject.config, subject.network, subject.images, subject.folder
    artifacts.save_strips(config, network, images, folder)
    frames_RFHWC = artifacts.interpolated(config, network, images)
    artifacts.save_rows(frames_RFHWC, folder / "interpolation.png")
    seen_MD = recognition.features(
        subject.evaluator.model, frames_RFHWC.reshape(-1, *frames_RFHWC.shape[2:]), subject.device
    )
    seen_RFD = seen_MD.reshape(*frames_RFHWC.shape[:2], -1)
    artifacts.save_distances(frames_RFHWC, seen_RFD, images.about.shown, folder / "interpolation.csv")
    if config.task.kind == "class":
        artifacts.save_rows(artifacts.class_grid(config, network, images), folder / f"{artifacts.CLASS_GRID}.png")
    artifacts.save_schedule(schedules.alpha_bars(config.schedule, config.timesteps), folder / "schedule.csv")
    (folder / "schedule.txt").write_text(schedules.definition(config.schedule), encoding="utf-8")
    return {}


def features(subject: Subject, seen: Sequence[Real]) -> Scores:
    """features.npz: what the first evaluator's last layer saw in the first pass and in real images."""
    samples, real = subject.first_pass, seen[0]
    features_ND = recognition.features(subject.evaluator.model, subject.all_first, subject.device).astype(np.float16)
    labels = [*(subject.images.hot(subject.images.lists[name]) for name in samples), real.labels_NL]
    source = np.repeat([*samples, "real"], [*map(len, samples.values()), len(real.features_ND)])
    np.savez_compressed(
        subject.folder / "features.npz",
        features=np.concatenate([features_ND, real.features_ND]),
        labels=np.concatenate(labels),
        source=source,
    )
    return {}


def fidelity(subject: Subject, seen: Sequence[Real]) -> Scores:
    """KID, precision and recall, density and coverage of samples labelled as the training images are, or of the first
    pass over all lists, against real images, in the features of the first evaluator."""
    config, references_ND = subject.config, seen[0].references_ND
    images_NHWC = subject.all_first if not config.quality_samples else as_trained(subject)
    drawn_ND = recognition.features(subject.evaluator.model, images_NHWC, subject.device)
    distance, shares = kernel_distance(drawn_ND, references_ND), neighbours(drawn_ND, references_ND)
    found: Scores = {"kid": distance.value, "kid_standard_error": distance.standard_error}
    # `precision` alone is the arithmetic of the setting.
    found |= {"improved_precision": shares.precision, "improved_recall": shares.recall}
    found |= {"density": shares.density, "coverage": shares.coverage}
    found |= {"quality_images": distance.generated, "reference_images": distance.real}
    if config.evaluator.startswith("checkpoint("):  # FID is of weights that others know
        found["fid"] = frechet(drawn_ND, references_ND).value
    if (calibrated := seen[0].calibrated) is not None:
        found |= {"evaluator_ece": calibrated.ece, "evaluator_ece_if_calibrated": calibrated.ece_if_calibrated}
    return found


def as_trained(subject: Subject) -> Pixels:
    """Samples whose conditions are those of training images, drawn with one seed: uint8 (N, H, W, 3)."""
    config, images = subject.config, subject.images
    rows = np.random.default_rng(0).choice(images.train_indices, config.quality_samples)
    hot_NK = images.labels_NK[np.sort(rows)]
    conditions = [tuple(images.about.labels[i] for i in np.flatnonzero(hot_K)) for hot_K in hot_NK]
    c_NK = torch.from_numpy(hot_NK).to(subject.device, torch.float32)
    drawn_KNHWC = sample.sample_list(config, subject.network, "quality", conditions, c_NK, 1)
    first_NHWC: Pixels = drawn_KNHWC[0]
    return first_NHWC


def memorisation(subject: Subject, seen: Sequence[Real]) -> Scores:
    """Of the first pass over all lists, each sample against real images of its group."""
    group_N = real.groups(subject.images, subject.config.task)[0]
    return {**quality.memorisation(subject.all_first, group_N, subject.images, seen[0].distances, subject.device)}


def diversity(subject: Subject, data_path: str) -> Scores:
    """Of 4 noises for each of the first 8 conditions of the list that choices are made on; diversity.png."""
    draws_SNHWC = draws(subject.config, subject.network, subject.images, subject.device)
    png.save(subject.folder / "diversity.png", png.grid(np.concatenate(draws_SNHWC.swapaxes(0, 1)), DRAWS))
    conditions = tuple(subject.images.lists[subject.config.task.choice_list][:DIVERSE_CONDITIONS])
    device, flat_NHWC = str(subject.device), draws_SNHWC.reshape(-1, *draws_SNHWC.shape[2:])
    first, second = (
        view_ND.reshape(*draws_SNHWC.shape[:2], -1)
        for view_ND in real.views(subject.evaluator.model, flat_NHWC, device)
    )
    found = in_features((first, second), real.of_conditions(subject.evaluator, data_path, device, conditions))
    return {
        "diversity": quality.diversity(draws_SNHWC),
        "diversity_features": found.generated,
        "diversity_ratio": found.ratio,
    }


def draws(config: TrialConfig, network: nn.Module, images: Images, device: torch.device) -> Pixels:
    """uint8 (4 noises, 8 conditions, H, W, 3)."""
    conditions = images.lists[config.task.choice_list][:DIVERSE_CONDITIONS]
    c_NK = torch.from_numpy(images.hot(conditions)).to(device, torch.float32)
    return sample.sample_list(config, network, "diversity", conditions, c_NK, DRAWS)


def denoising_errors(subject: Subject, seen: Sequence[Real]) -> Scores:
    alpha_bar_T = schedules.alpha_bars(subject.config.schedule, subject.config.timesteps)
    return {**denoising.errors(subject.config, subject.network, subject.images, alpha_bar_T, subject.device)}
