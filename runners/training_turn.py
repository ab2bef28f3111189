"""One process at a training, whatever the experiment: its turn at the folder, and the weights that it keeps there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from runners.config import StagedConfig
from runners.experiment import Curve, Note
from runners.process import checkpoints
from runners.process.files import read_lines, sha256, write_aside, write_json
from runners.process.locks import Held, lock
from runners.training_folder import CURVE, DAMAGED, damage, facts, finished, weights_file, weights_files


def turn(config: StagedConfig, folder: Path, train: Callable[[], Iterator[Curve | Note]]) -> Iterator[Curve | Note]:
    """One process's turn at a training: `train()`, unless it is finished.

    A finished training yields its whole curve at once. Another process that is at the same training is waited for. A
    finished training whose files are not what was written is kept under other names and done again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock(folder / "lock"):
            pass
    except Held as held:
        yield Note(f"the training {folder.name} is held {held}: waiting for it")
    with lock(folder / "lock", wait=True):
        for path in folder.glob("*.partial"):  # a process was killed while it wrote them
            path.unlink()
        if finished(folder):
            broken = damage(folder, type(config))
            if not broken:
                checkpoints.discard(folder)
                yield Curve(tuple(read_lines(folder / CURVE)), _total(config))
                return
            yield Note(f"the training {folder.name} is damaged ({broken}): quarantined as {DAMAGED}* and trained again")
            for path in (folder / "done.json", *weights_files(folder)):  # so that nobody reads it and nothing is lost
                path.replace(folder / f"{DAMAGED}{path.name}")
        yield from train()


def _total(config: StagedConfig) -> int:
    return int(config.to_dict()["total_images"])


def finish(config: StagedConfig, folder: Path, weights: Mapping[str, Mapping[str, Tensor]], **found: Any) -> None:
    """Keep the weights (kind -> name -> tensor), config.json and done.json, `found` with the digests in it.

    Raises FloatingPointError, before anything is written, for weights that are not finite.
    """
    for kind, tensors in weights.items():
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise FloatingPointError(f"the {kind} weights are not finite after {_total(config):,} images: lower lr.")
    for kind, tensors in weights.items():
        # No metadata in these files: equal weights must have equal digests, whatever the settings.
        write_aside(weights_file(folder, kind), partial(save_file, dict(tensors)))
    digests = {kind: sha256(weights_file(folder, kind)) for kind in weights}
    write_json(folder / "config.json", config.to_dict())
    write_json(folder / "done.json", found | {"sha256": digests})
    checkpoints.discard(folder)


def load_weights(folder: Path, kind: str, device: Any) -> dict[str, Tensor]:
    """Name -> tensor on the device. Raises ValueError when the file is not the one that the training wrote."""
    path = weights_file(folder, kind)
    if sha256(path) != facts(folder)["sha256"][kind]:
        raise ValueError(f"{path} is not the file that the training wrote: delete {folder} and run the command again.")
    return load_file(path, device=str(device))
