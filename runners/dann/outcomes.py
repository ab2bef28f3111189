"""What a trained network makes of the lists and of the domains: scores, and the files that figures are drawn from.

    conditions.json      list -> [[class], ...]: the true class of each image
    outcomes.npz         list -> bool (1, N, K), the class that was named; <list>_probability -> float32 (1, N, K)
    classes.csv          per list and class: asked, hits, named_unasked
    domain_features.npz  features (M, D), classes (M,), predicted (M,), domain (M,), point (M,): the same points for all
                         methods and seeds; a class of -1 is none

Shapes: N images of a list, M points, D features, K classes.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.dann import scoring, tasks
from runners.dann.config import TrialConfig
from runners.dann.domains import Domain
from runners.dann.model import SOURCE, TARGET
from runners.dann.trainings import Pair
from runners.evaluation.class_sheet import class_sheet
from runners.evaluation.set_sheet import by_class

POINTS = 400  # of either domain, whose features are kept
Scores = dict[str, Any]


def write(config: TrialConfig, pair: Pair, trained: scoring.Trained, folder: Path) -> Scores:
    """The scores of the last step's weights; leaves the files above in `folder`."""
    _keep_features(pair, trained, folder)
    return _lists(config, pair, trained, folder) | _domains(config, pair, trained)


def rows_of(pair: Pair, name: str) -> tuple[int, Domain, NDArray[np.int64]]:
    """The domain of a list, as SOURCE or TARGET and with its images, and the positions of those of the list."""
    role, _, part = name.partition("_")
    number, domain = (SOURCE, pair.source) if role == "source" else (TARGET, pair.target)
    return number, domain, domain.validation if part == "validation" else domain.test


def _lists(config: TrialConfig, pair: Pair, trained: scoring.Trained, folder: Path) -> Scores:
    """Every list's score sheet."""
    scores: Scores = {}
    conditions: dict[str, list[list[str]]] = {}
    found: dict[str, NDArray[Any]] = {}
    classes: list[dict[str, Any]] = []
    for one in config.task.lists:
        number, domain, rows = rows_of(pair, one.name)
        label_N = domain.label_N[rows]
        probability_NK = trained.probabilities(domain.images_NHWC[rows], number)
        named_1NK = np.eye(len(domain.classes), dtype=bool)[probability_NK.argmax(1)][None]
        asked_NK = np.eye(len(domain.classes), dtype=bool)[label_N]
        scores |= class_sheet(one.name, named_1NK, asked_NK, probability_NK[None])
        conditions[one.name] = [[domain.classes[label]] for label in label_N]
        found |= {one.name: named_1NK, f"{one.name}_probability": probability_NK[None]}
        classes += by_class(one.name, domain.classes, named_1NK, asked_NK)
    (folder / "conditions.json").write_text(json.dumps(conditions))
    np.savez_compressed(folder / "outcomes.npz", **found)  # type: ignore[arg-type]
    with (folder / "classes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(classes[0]))
        writer.writeheader()
        writer.writerows(classes)
    return scores


def _domains(config: TrialConfig, pair: Pair, trained: scoring.Trained) -> Scores:
    """How well the domains can be told apart: by a linear probe on the features of any method, and by the classifier
    that adaptation trained."""
    images = [domain.images_NHWC[domain.validation] for domain in (pair.source, pair.target)]
    probe = scoring.probe_accuracy(*(trained.features(one, number) for number, one in enumerate(images)))
    scores: Scores = {"domain_accuracy/probe": probe, "proxy_a_distance": 2 * (2 * probe - 1)}
    if config.method == "dann":
        scores["domain_accuracy/validation"] = scoring.domain_accuracy(trained, *images)
    return scores


def _keep_features(pair: Pair, trained: scoring.Trained, folder: Path) -> None:
    """domain_features.npz, of images that nothing was trained on."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for name in (tasks.SOURCE_VALIDATION, tasks.TARGET_TEST):
        number, domain, rows = rows_of(pair, name)
        point_M = np.sort(np.random.default_rng(0).permutation(rows)[:POINTS])
        images_MHWC = domain.images_NHWC[point_M]
        found = {
            "features": trained.features(images_MHWC, number).astype(np.float16),
            "classes": domain.label_N[point_M],
            "predicted": trained.probabilities(images_MHWC, number).argmax(1),
            "domain": np.repeat(domain.name, len(point_M)),
            "point": point_M,
        }
        for key, value in found.items():
            parts.setdefault(key, []).append(value)
    arrays = {key: np.concatenate(values) for key, values in parts.items()}
    np.savez_compressed(folder / "domain_features.npz", **arrays)  # type: ignore[arg-type]
