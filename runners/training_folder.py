"""The folder of a training, whatever the experiment: its weights with their digests. A process writes it in its turn
(`training_turn`).

    <trainings>/<train_key>/  config.json, curve.jsonl (the learning curve), <kind>.safetensors (weights, such as ema)
                              done.json (what it took, and under "sha256" the digest of each kind of weights)

What is read is what was written, or it is trained again. Standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runners.config import StagedConfig
from runners.process.files import read_json, sha256

CURVE = "curve.jsonl"
DAMAGED = "damaged-"  # what quarantined files are called


def facts(folder: Path) -> dict[str, Any]:
    """done.json."""
    found: dict[str, Any] = read_json(folder / "done.json")
    return found


def weights_file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.safetensors"


def finished(folder: Path) -> bool:
    """Whether the training is there with its weights (`--keep-checkpoints none` leaves the rest of the folder). Where
    done.json cannot be read, with weights at all: then it is damaged."""
    if not (folder / "done.json").is_file():
        return False
    try:
        kinds = list(facts(folder)["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        kinds = []
    return all(weights_file(folder, kind).is_file() for kind in kinds) if kinds else bool(weights_files(folder))


def weights_files(folder: Path) -> list[Path]:
    """Those that are there, without what was quarantined."""
    return [path for path in sorted(folder.glob("*.safetensors")) if not path.name.startswith(DAMAGED)]


def damage(folder: Path, config_type: type[StagedConfig]) -> str:
    """What is wrong with a finished training's files, in words; "" when each is what was written."""
    try:
        config, known = config_type.from_dict(read_json(folder / "config.json")), facts(folder)["sha256"]
        if config.train_key != folder.name:
            return f"config.json belongs to the training {config.train_key}"
        for kind, digest in known.items():
            if sha256(weights_file(folder, kind)) != digest:
                return f"{kind}.safetensors is not the file that was written"
        if strange := [path.name for path in weights_files(folder) if path.stem not in known]:
            return f"done.json has no digest of {', '.join(strange)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
