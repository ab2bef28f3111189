"""The sampling passes that an earlier trial of the same setting has: a trial that asks for more draws only the rest.

A trial's folder has what the evaluators saw in the pictures of all its passes, and the pictures of the first one, which
the other scorers use, as PNG files, which lose nothing. Which trial that may be, the config says (`contained`): its key
is computed and looked for, so that the cost does not grow with the record.

Shapes: E evaluators, K sampling seeds, N conditions, L labels.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runners.contents import Pixels
from runners.ddpm.config import TrialConfig
from runners.ddpm.noise import noise_digest
from runners.evaluation import evaluator as evaluators
from runners.evaluation import recognition
from runners.evaluation.evaluator import Evaluator
from runners.images import Images
from runners.process import files, png

Probabilities = NDArray[np.float32]
# Between outputs of one evaluator for one picture on two devices; two evaluators differ by a hundred times that.
SAME_OUTPUT = 1e-2


class Unusable(ValueError):
    """A trial's passes are not those that this trial would draw; the message says why."""


@dataclass(frozen=True)
class Earlier:
    """The passes of the trial `trial_key`.

    `first_pass`: list -> uint8 (N, H, W, 3); `probability`: list -> float32 (E, K, N, L); `seconds` that sampling took.
    """

    trial_key: str
    passes: int
    first_pass: Mapping[str, Pixels]
    probability: Mapping[str, Probabilities]
    seconds: float


def names(list_name: str, number: int) -> tuple[str, str]:
    """What outcomes.npz calls the labels that an evaluator named in a list's pictures, and its outputs."""
    own = f"{list_name}_evaluator_{number}" if number else list_name
    return own, f"{own}_probability"


def find(
    config: TrialConfig,
    record: Path,
    weights_sha256: str,
    scored_by: Sequence[Evaluator],
    images: Images,
    device: torch.device,
) -> tuple[Earlier | None, list[str]]:
    """The passes of the finished trial that has most of them, and sentences on trials that cannot be used.

    `weights_sha256`: of the weights that this trial samples with; `scored_by`: its evaluators.
    """
    said: list[str] = []
    if config.task.kind == "none":
        return None, said  # what the evaluators saw is not kept
    for setting in config.contained():
        folder = record / "trials" / setting.trial_key
        if not (folder / "result.json").is_file():
            continue
        try:
            _check(setting, folder, weights_sha256, scored_by, images)
            return _read(setting, folder, scored_by, images, device), said
        except Unusable as why:
            said.append(f"the passes of the trial {folder.name} are not used: {why}")
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            said.append(f"the passes of the trial {folder.name} are not used: {type(error).__name__}: {error}")
    return None, said


def _check(
    setting: TrialConfig, folder: Path, weights_sha256: str, scored_by: Sequence[Evaluator], images: Images
) -> None:
    """Raises Unusable when the folder is damaged, or was made of other weights, data, noise or evaluators."""
    if broken := files.damaged(folder):
        raise Unusable(", ".join(f"{name} is {state}" for name, state in broken.items()))
    if TrialConfig.from_dict(files.read_json(folder / "config.json")) != setting:
        raise Unusable("its config.json belongs to another trial")
    if files.read_json(folder / "conditions.json") != json.loads(json.dumps(images.lists)):
        raise Unusable("it has other conditions")
    shape = (3, setting.image_size, setting.image_size)
    wanted: dict[str, Any] = {"weights_sha256": weights_sha256, "data_digest": images.digest}
    wanted |= evaluators.facts(scored_by)
    for name, conditions in images.lists.items():
        if conditions:
            digest = noise_digest(name, conditions, setting.sampling_seeds, shape, setting.noise_seed)
            wanted[f"noise_digest/{name}"] = digest
    result = files.read_json(folder / "result.json")
    differing = [name for name, value in wanted.items() if result.get(name) != value]
    if differing:
        raise Unusable(f"{', '.join(differing)} is not that of this trial")


def _read(
    setting: TrialConfig, folder: Path, scored_by: Sequence[Evaluator], images: Images, device: torch.device
) -> Earlier:
    """What the folder holds, whose first pass today's evaluators see as those that scored it did. Raises Unusable."""
    pictures: dict[str, Pixels] = {}
    probability: dict[str, Probabilities] = {}
    with np.load(folder / "outcomes.npz") as arrays:  # plain arrays only: numpy refuses pickles
        for name, conditions in images.lists.items():
            if not conditions:
                continue
            found_EKNL = np.stack([arrays[names(name, number)[1]] for number in range(len(scored_by))])
            shape = (len(scored_by), setting.sampling_seeds, len(conditions), len(images.about.labels))
            if found_EKNL.dtype != np.float32 or found_EKNL.shape != shape:
                raise Unusable(f"its outcomes of {name} are {found_EKNL.dtype} {found_EKNL.shape}")
            pictures[name] = _as_sampled(png.read_tree(folder / "images" / name, len(conditions)))
            probability[name] = found_EKNL
            for one, found_KNL in zip(scored_by, found_EKNL, strict=True):
                seen_NL = recognition.probabilities(one.model, pictures[name], device)
                if np.abs(seen_NL - found_KNL[0]).max() > SAME_OUTPUT:
                    raise Unusable(f"another evaluator scored its pictures of {name}")
    seconds = float(files.read_json(folder / "result.json")["seconds/sample"])
    return Earlier(folder.name, setting.sampling_seeds, pictures, probability, seconds)


def _as_sampled(images_NHWC: Pixels) -> Pixels:
    """The same images, with channels before rows in memory, as a sampler leaves them: the order decides how the
    evaluator's convolutions round."""
    return np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
