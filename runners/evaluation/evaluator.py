"""The evaluator of a trial: where its file lies, how it is loaded, and what stands under every score it gives.

It is the user's checkpoint (`--evaluator FILE`), or a surrogate that the record trains once, before its first trial; or
several surrogates (`--evaluators N`), numbered from 0, which differ in their seed alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners import tasks
from runners.config import Call
from runners.evaluation import official, own, surrogate
from runners.evaluation.networks import Network, ResNet18
from runners.evaluation.pretext import TURNS
from runners.experiment import ExecutionContext, Kind, Progress, Task
from runners.images import Images
from runners.process import files, heartbeat
from runners.process.locks import lock

KIND = "stand-in"  # what results say of a surrogate: a word of the record, older than the field's
LOSSES: Mapping[Kind, surrogate.Loss] = {
    "set": "sets",
    "class": "classes",
    "none": "rotations",
}  # that a surrogate learns by
ICLEVR = tasks.of("rendered")
OPEN = 16  # evaluators that a process keeps: some MB each


@dataclass(frozen=True, eq=False)
class Evaluator:
    """A model in eval mode, and the facts that stand under every score it gives. Equal to itself alone."""

    model: Network
    facts: Mapping[str, Any]


def recipe(evaluator: str, image_size: int, task: Task, number: int = 0) -> surrogate.Recipe:
    """The recipe of "stand_in" for the image size, or of "stand_in(size='smoke')"; ValueError for anything else.

    `number`: of the surrogate, which is its seed. What it learns and which distortions it is shown follow the task.
    """

    def stand_in(size: str = "full") -> surrogate.Recipe:
        if size not in ("full", "smoke"):
            raise ValueError(f"size={size!r} is unknown: write size='smoke', or 'stand_in' for the full one.")
        return surrogate.SMOKE if size == "smoke" else surrogate.recipe_for(image_size)

    call = Call.parse(evaluator)
    if call.name != "stand_in":
        raise ValueError(f"evaluator={evaluator!r} is unknown: write 'stand_in' or give --evaluator FILE.")
    of_size = stand_in(**call.bind(stand_in))
    return dataclasses.replace(of_size, seed=number, mirror=task.mirror, loss=LOSSES[task.kind])


def architecture(evaluator: str, image_size: int, task: Task) -> ResNet18:
    """The network of the evaluator that a config names, untrained: the official one's for a checkpoint."""
    if evaluator.startswith("checkpoint("):
        return ResNet18()
    made_by = recipe(evaluator, image_size, task)
    outputs = TURNS if made_by.loss == "rotations" else task.classes
    return ResNet18(made_by.width, made_by.stem, outputs, surrogate.HEADS[made_by.loss])


def place(data: str, image_size: int, evaluator: str, context: ExecutionContext, number: int = 0) -> Path:
    """The user's file, or where the record's surrogate of a number for these config fields lies, or will lie."""
    if given := context.inputs.get("evaluator"):
        return Path(given)
    text = f"{data}|{image_size}|{evaluator}|surrogate {surrogate.VERSION}" + (f"|{number}" if number else "")
    return context.cache / f"evaluator-{hashlib.sha256(text.encode()).hexdigest()[:12]}.safetensors"


# --- loading -------------------------------------------------------------------------------------------


@functools.lru_cache(OPEN)
def load(path: str, wanted: str = "", image_size: int = 64, task: Task = ICLEVR) -> Evaluator:
    """The evaluator of a path for images of a size and a task, once per process.

    Raises ValueError when the file is damaged, cannot score the task, or is not the `wanted` "checkpoint(sha256=...)"
    of a config.
    """
    if wanted.startswith("checkpoint("):
        found = users(path, image_size, task)
        sha256 = found.facts["evaluator_sha256"]
        if dict(Call.parse(wanted).arguments).get("sha256") != sha256:
            raise ValueError(f"{path} has changed since the study was started (now sha256 {sha256}): put it back.")
        return found
    beside = digest_file(Path(path))
    if beside.exists() and beside.read_text() != json.dumps({"sha256": files.sha256(Path(path))}, indent=1):
        raise ValueError(f"{path} is damaged: delete it, and run the same command again to train it again.")
    model, _, held_out = surrogate.load(Path(path))
    return Evaluator(model, {"evaluator_kind": KIND, "evaluator_held_out_accuracy": held_out["accuracy"]})


def users(path: str, image_size: int, task: Task) -> Evaluator:
    """An evaluator that the user names. Raises ValueError for one that cannot score images of this size and task."""
    if not path.endswith(official.SUFFIX):
        return Evaluator(*own.load(path, image_size, task.kind, task.classes))
    model, sha256 = official.load_checkpoint(Path(path))
    if task.name != "iclevr":
        raise ValueError(
            f"{path} names i-CLEVR's 24 objects, which these images do not show: leave --evaluator out, or give one "
            "that was trained on them."
        )
    if image_size != official.IMAGE_SIZE:
        size = f"{image_size}x{image_size}"
        raise ValueError(
            f"The evaluator's checkpoint reads 64x64 images, not {size}: add --set image_size=64, or leave --evaluator "
            "out."
        )
    kind = "official" if official.is_official(sha256) else "other checkpoint"
    return Evaluator(model, {"evaluator_kind": kind, "evaluator_sha256": sha256})


def facts(evaluators: Sequence[Evaluator]) -> dict[str, Any]:
    """What stands under scores that are means over evaluators: the facts of the first, then those of each other one,
    such as "evaluator_1_held_out_accuracy"."""
    found = dict(evaluators[0].facts)
    for number, one in enumerate(evaluators[1:], start=1):
        own = {name: value for name, value in one.facts.items() if name != "evaluator_kind"}
        found |= {f"evaluator_{number}_{name.removeprefix('evaluator_')}": value for name, value in own.items()}
    return found


def digest_file(path: Path) -> Path:
    """Beside a surrogate; those of older records have none."""
    return path.with_name(f"{path.name}.sha256.json")


# --- making --------------------------------------------------------------------------------------------


def prepare(
    path: Path, images: Images, fields: Mapping[str, Any], context: ExecutionContext, number: int = 0
) -> Iterator[Progress]:
    """Make sure that the surrogate of a number at `path` is there; yields progress while it is trained.

    `fields` are the config's. One process at a time trains; the others wait for it. A surrogate with which an older
    version has scored trials of this record is taken over, so that new trials are scored by the same one.
    """
    with lock(Path(f"{path}.lock"), wait=True):
        if path.is_file() or (not number and adopt(path, fields, context)):  # older versions had one
            return
        task = tasks.of(str(fields["data"]))
        wanted = recipe(str(fields["evaluator"]), int(fields["image_size"]), task, number)
        count = int(fields.get("evaluators", 1))
        what = f"surrogate evaluator {number + 1} of {count}" if count > 1 else "the surrogate evaluator"
        reports = surrogate.train(
            images.images_NHWC,
            images.labels_NK,
            images.train_indices,
            images.held_out_indices,
            wanted,
            context.device,
            context.deterministic,
        )
        for report in reports:
            heartbeat.tick()
            rate = report.images_per_second
            yield Progress(f"training {what}", report.images_seen, report.total_images, rate)
            if report.model is not None and report.held_out is not None:
                save(path, report.model, wanted, report.held_out)


def save(path: Path, model: ResNet18, made_by: surrogate.Recipe, held_out: dict[str, float]) -> None:
    """The surrogate's file, and first a file with its digest beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        surrogate.save(written, model, made_by, held_out)
        files.write_json(digest_file(path), {"sha256": files.sha256(written)})
        files.write_aside(path, written.replace)


def adopt(path: Path, fields: Mapping[str, Any], context: ExecutionContext) -> bool:
    """Copy the surrogate that scored this record's complete trials of the same data and evaluator to `path`.

    Older versions named the file after the program's text. It is known by its held-out accuracy, which every trial
    that it scored repeats to the last digit, and by its seed: what is taken over is the first one of several.
    """
    accuracies = set()
    for result in (Path(context.record) / "trials").glob("*/result.json"):
        config = files.read_json(result.with_name("config.json"))
        if all(config.get(name) == fields[name] for name in ("data", "image_size", "evaluator")):
            accuracies.add(files.read_json(result).get("evaluator_held_out_accuracy"))
            break  # one record has one surrogate for them
    for file in sorted(context.cache.glob("evaluator-*.safetensors")) if accuracies else ():
        _, made_by, held_out = surrogate.load(file)
        if made_by.seed == 0 and held_out["accuracy"] in accuracies:
            files.write_json(digest_file(path), {"sha256": files.sha256(file)})
            files.write_aside(path, functools.partial(shutil.copy, file))
            return True
    return False
