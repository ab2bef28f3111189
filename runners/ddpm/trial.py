"""The front door: a trial from its config to a finished folder, as a generator of events.

A trial's folder is written under a temporary name and renamed when it is complete. The training lies beside, under
its own key, so that trials which differ in their sampling half share it. An event is a dict that JSON can hold.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners import models
from runners.config import Call
from runners.ddpm import artifacts, execution, precision, sample, schedules, trainings
from runners.ddpm import manipulation_check
from runners.ddpm.config import TrialConfig
from runners.ddpm.noise import noise_digest
from runners.ddpm.train import TRAINING_FORWARDS, step_seed
from runners.evaluation import quality
from runners.evaluation import score_sheet as evaluate
from runners.evaluation import surrogate as evaluator
from runners.process import files
from runners.process import heartbeat
from runners.process import png
from runners.process.locks import lock
from runners.tasks.iclevr import data

Event = dict[str, Any]
REAL_FEATURES = 200  # real images whose features are kept: as many as a map of dots can take
CHECKPOINT_RULE = "weights of the last training step, no selection"


@dataclass(frozen=True)
class Place:
    """Where a trial runs and what it reads: nothing here changes its result by more than rounding."""

    record: str
    data: str
    evaluator: str
    device: str
    threads: int = 1
    packed: int = 1  # workers that share the device, or the CPU core, so that seconds do not compare with others'
    curve_points: int = 5
    deterministic: bool = False  # only algorithms that give the same bits each time; a GPU has faster ones
    compile: str = "auto"  # torch.compile of the training: auto, on or off
    images_ahead: int = 0  # training images of this network that the worker can expect, this trial's among them


def build_model(config: TrialConfig) -> nn.Module:
    """The network with the initial weights of the training seed."""
    torch.manual_seed(step_seed("weights", config.seed))
    return models.build(config.model, config.image_size, len(data.LABELS), config.timesteps)


def run(config: TrialConfig, place: Place) -> Generator[Event, None, None]:
    """Train (or find the training), sample, score, write the folder.

    Yields `curve`, `note`, `sampling`, at last `done`. Raises manipulation_check.ManipulationError when a setting did not reach
    the training or the sampling. Stopped, closed or failed, it leaves the training and nothing of the trial's folder.
    One process at a time is at a trial, be it of another study or the orphan of one that was killed: what that one
    has finished is taken as it is.
    """
    final = Path(place.record) / "trials" / config.trial_key
    partial = final.with_name(f"{config.trial_key}.partial")
    with lock(Path(place.record) / "cache" / "locks" / config.trial_key, wait=True):
        if not final.is_dir() or files.damaged(final):
            yield from _make(config, place, partial, final)
    yield {"event": "done", "accuracy": files.read_json(final / "result.json")["accuracy/validation"]}


def _make(config: TrialConfig, place: Place, partial: Path, final: Path) -> Iterator[Event]:
    """The folder under its temporary name, then under its own."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with png.aside() as later:  # a GPU does not wait for the compression of pictures
            yield from _run(config, place, partial, later)
        files.write_manifest(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        files.sync_folder(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(config: TrialConfig, place: Place, partial: Path, later: png.Later) -> Iterator[Event]:
    """Fill the trial's folder; the events until then. What is given to `later` is done when its block ends."""
    be_deterministic(place.deterministic)
    device = torch.device(place.device)
    execution.use(device)
    reset_peak_memory(device)
    scenes = data.open_prepared(Path(place.data))
    judge = functools.cache(lambda: load_judge(place.evaluator, config.evaluator))
    training = Path(place.record) / "cache" / "trainings" / config.train_key
    model = build_model(config).to(device)

    def ready() -> evaluator.ResNet18 | None:
        return judge()[0] if Path(place.evaluator).is_file() else None

    def choose() -> execution.Choice:
        if place.deterministic:
            return execution.Choice()
        chosen = execution.choose(config, model, device, place.compile, place.images_ahead)
        reset_peak_memory(device)  # the trial's is not that of its pilot
        return chosen

    for lines in trainings.run(config, training, model, device, scenes, ready, place.curve_points, choose):
        if isinstance(lines, str):
            yield {"event": "note", "text": lines}
        else:
            yield {"event": "curve", "lines": lines, "total_images": config.total_images}
    if twin := trainings.same_weights(training):
        raise manipulation_check.ManipulationError(
            f"The trainings {training.name} and {twin} differ in their settings but not in a single weight: the "
            f"factor did not reach the training, or makes no difference. Compare the config.json of both."
        )
    while ready() is None:  # another worker is training it
        heartbeat.tick()
        time.sleep(0.2)
    lines = trainings.score_waiting(training, scenes, ready, device)
    yield {"event": "curve", "lines": lines, "total_images": config.total_images}
    shutil.copy(training / trainings.CURVE, partial / "metrics.jsonl")
    model.load_state_dict(trainings.load_weights(training, config.weights, place.device))
    model.eval()

    network = precision.working(model, config.precision)
    lists = {name: conditions for name, conditions in scenes.lists.items() if conditions}
    wanted = [
        sample.Wanted(name, conditions, torch.from_numpy(data.multi_hot(conditions)).to(device, torch.float32))
        for name, conditions in lists.items()
    ]
    start = time.perf_counter()
    parts: list[sample.Part] = []
    for part in sample.sample_parts(config, network, wanted, config.sampling_seeds):
        whole = parts[-1].chunk if parts else sample.chunk_of(device)
        if part.chunk < whole:
            yield {"event": "note", "text": f"out of memory: {part.chunk} images are sampled at once, not {whole}"}
        parts.append(part)
        yield {"event": "sampling", "done": part.done, "total": part.total}
    images = sample.gathered(parts, wanted, config.sampling_seeds)
    seconds = time.perf_counter() - start

    scores: dict[str, float] = {}
    digests: dict[str, str] = {}
    outcomes: dict[str, NDArray[Any]] = {}
    classes: list[dict[str, Any]] = []
    shape = (3, config.image_size, config.image_size)
    real_NL = real_predictions(place.evaluator, place.data, place.device)
    real_asked_NL = scenes.labels_NK[scenes.held_out_indices]
    for name, conditions in lists.items():
        save_pictures(images[name][0], name, partial, later)
        heartbeat.tick()
        asked_NL = data.multi_hot(conditions)
        probability_KNL = np.stack([evaluator.probabilities(judge()[0], passed, device) for passed in images[name]])
        predicted_KNL = np.stack([evaluator.top(probability_NL, asked_NL) for probability_NL in probability_KNL])
        outcomes |= {name: predicted_KNL, f"{name}_probability": probability_KNL}
        scores |= evaluate.score_sheet(name, predicted_KNL, asked_NL, probability_KNL)
        scores[f"ceiling/{name}"] = evaluate.ceiling(asked_NL, real_NL, real_asked_NL)
        digests[f"noise_digest/{name}"] = noise_digest(name, conditions, config.sampling_seeds, shape)
        classes += evaluate.by_class(name, predicted_KNL, asked_NL)
    facts = trainings.facts(training)
    treated = facts["treatment"]
    manipulation_check.verify(config, treated, sum(part.passes for part in parts) / parts[-1].total)
    size = models.measure(config.model, config.image_size, len(data.LABELS), config.timesteps)
    np.savez_compressed(partial / "outcomes.npz", **outcomes)  # type: ignore[arg-type]
    artifacts.save_classes(classes, partial / "classes.csv")
    artifacts.save_strips(config, network, scenes, partial)
    artifacts.save_interpolation(config, network, partial / "interpolation.png")
    real = real_features(place.evaluator, place.data, place.device)
    pixels = {name: images_KNHWC[0] for name, images_KNHWC in images.items()}
    artifacts.save_features(judge()[0], pixels, scenes.lists, real, device, partial / "features.npz")
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    scores |= quality.memorisation(np.concatenate(list(pixels.values())), scenes, device)
    draws_SNHWC = quality.draws(config, network, scenes, device)
    scores["diversity"] = quality.diversity(draws_SNHWC)
    png.save(partial / "diversity.png", png.grid(np.concatenate(draws_SNHWC.swapaxes(0, 1)), quality.DRAWS))
    scores |= quality.denoising_errors(config, network, scenes, alpha_bar_T, device)
    artifacts.save_schedule(alpha_bar_T, partial / "schedule.csv")
    result: dict[str, Any] = {
        **{name: value for name, value in scores.items() if math.isfinite(value)},  # JSON has no NaN
        **digests,
        "ceiling_images": len(real_asked_NL),
        "images": config.total_images,
        "seconds/train": facts["seconds/train"],
        "images_per_second": facts["images_per_second"],
        "seconds/sample": seconds,
        "seconds/compile": facts.get("seconds/compile", 0.0),  # trainings of older versions lack these two
        "execution": facts.get("execution", ""),
        "packed": place.packed,
        "parameters": size.parameters,
        "gflop_forward": size.forward_flop / 1e9,
        "train_pflop": TRAINING_FORWARDS * size.forward_flop * config.total_images / 1e15,
        "network_evaluations": manipulation_check.network_evaluations(config),
        "peak_memory_mb": peak_memory_mb(device),
        "terminal_sqrt_alpha_bar": float(alpha_bar_T[-1] ** 0.5),
        **{f"treatment/{name}": value for name, value in treated.items() if name != "never_drawn"},
        "treatment/timesteps_never_drawn": len(treated["never_drawn"]),
        "weights_sha256": facts["sha256"][config.weights],
        "warnings": "\n".join(manipulation_check.warnings(config, treated)),
        "checkpoint_rule": CHECKPOINT_RULE,
        "data_digest": scenes.digest,
        **judge()[1],
    }
    texts = {
        "config": config.to_dict(),
        "environment": environment(place),
        "conditions": scenes.lists,
        "result": result,
    }
    for file, value in texts.items():
        (partial / f"{file}.json").write_text(json.dumps(value, indent=1))


def be_deterministic(wanted: bool) -> None:
    """The same bits from the same numbers on a GPU too, or an error where an operation has no such algorithm."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.backends.cudnn.benchmark = not wanted  # try the kernels of each shape once and keep the fastest
    torch.use_deterministic_algorithms(wanted)


def save_pictures(images_NHWC: png.Pixels, name: str, folder: Path, later: png.Later) -> None:
    """grid_<list>.png and images/<list>/: the first pass over a list."""
    later(lambda: png.save(folder / f"grid_{name}.png", png.grid(images_NHWC)))
    later(lambda: png.save_tree(folder / "images" / name, images_NHWC))


@functools.cache
def real_predictions(evaluator_path: str, data_path: str, device: str) -> NDArray[np.bool_]:
    """What the evaluator names in held-out real images, bool (N, 24): once a worker."""
    scenes = data.open_prepared(Path(data_path))
    rows = scenes.held_out_indices
    return evaluator.predict(load_judge(evaluator_path)[0], scenes.images_NHWC[rows], scenes.labels_NK[rows], device)


@functools.cache
def real_features(evaluator_path: str, data_path: str, device: str) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Evaluator features (N, D) and labels (N, 24) of held-out real images, one frame a scene: once a worker.

    Scenes have three frames, of one, two and three objects and one after the other: every fourth image is of another
    scene than the last and has another number of objects.
    """
    scenes = data.open_prepared(Path(data_path))
    rows = scenes.held_out_indices[::4][:REAL_FEATURES]
    judge = load_judge(evaluator_path)[0]
    features_ND = quality.features(judge, scenes.images_NHWC[rows], torch.device(device))
    return features_ND, scenes.labels_NK[rows]


# --- the evaluator and the facts that stand beside a score ---------------------------------------------


def load_judge(path: str, wanted: str = "") -> tuple[evaluator.ResNet18, dict[str, Any]]:
    """The evaluator of a path, and what stands under every score it gives.

    Raises ValueError when the file is damaged, or is not the `wanted` "checkpoint(sha256=...)" of a config.
    """
    if not path.endswith(".safetensors"):
        model, sha256 = evaluator.load_checkpoint(Path(path))
        if wanted.startswith("checkpoint(") and dict(Call.parse(wanted).arguments).get("sha256") != sha256:
            raise ValueError(f"{path} has changed since the study was started (now sha256 {sha256}): put it back.")
        kind = "official" if evaluator.is_official(sha256) else "other checkpoint"
        return model, {"evaluator_kind": kind, "evaluator_sha256": sha256}
    beside = digest_file(Path(path))
    if beside.exists() and beside.read_text() != json.dumps({"sha256": files.sha256(Path(path))}, indent=1):
        raise ValueError(f"{path} is damaged: delete it, and run the same command again to train it again.")
    model, _, held_out = evaluator.load_stand_in(Path(path))
    return model, {"evaluator_kind": "stand-in", "evaluator_held_out_accuracy": held_out["accuracy"]}


def stand_in_recipe(config: TrialConfig) -> evaluator.StandInRecipe:
    """The recipe of "stand_in" for the image size, or of "stand_in(size='smoke')"; ValueError for anything else."""

    def stand_in(size: str = "full") -> evaluator.StandInRecipe:
        if size not in ("full", "smoke"):
            raise ValueError(f"size={size!r} is unknown: write size='smoke', or 'stand_in' for the full one.")
        return evaluator.SMOKE if size == "smoke" else evaluator.recipe_for(config.image_size)

    call = Call.parse(config.evaluator)
    if call.name != "stand_in":
        raise ValueError(f"evaluator={config.evaluator!r} is unknown: write 'stand_in' or give --evaluator FILE.")
    return stand_in(**call.bind(stand_in))


def make_stand_in(config: TrialConfig, place: Place) -> Generator[Event, None, None]:
    """Train the stand-in evaluator and save it at `place.evaluator`; one process at a time does so."""
    with lock(Path(f"{place.evaluator}.lock"), wait=True):
        if not Path(place.evaluator).is_file():
            yield from _train_stand_in(config, place)
    yield {"event": "done"}


def _train_stand_in(config: TrialConfig, place: Place) -> Iterator[Event]:
    execution.use(torch.device(place.device))
    scenes = data.open_prepared(Path(place.data))
    recipe = stand_in_recipe(config)
    for progress in evaluator.train_stand_in(
        scenes.images_NHWC, scenes.labels_NK, scenes.train_indices, scenes.held_out_indices, recipe, place.device
    ):
        heartbeat.tick()
        yield {
            "event": "stand_in",
            "done": progress.images_seen,
            "total": progress.total_images,
            "images_per_second": progress.images_per_second,
        }
        if progress.model is not None and progress.held_out is not None:
            save_stand_in(Path(place.evaluator), progress.model, recipe, progress.held_out)


def save_stand_in(
    path: Path, model: evaluator.ResNet18, recipe: evaluator.StandInRecipe, held_out: dict[str, float]
) -> None:
    """The evaluator's file, and first a file with its digest beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        evaluator.save_stand_in(written, model, recipe, held_out)
        files.write_json(digest_file(path), {"sha256": files.sha256(written)})
        files.write_aside(path, written.replace)


def digest_file(path: Path) -> Path:
    """Beside a stand-in; those of older records have none."""
    return path.with_name(f"{path.name}.sha256.json")


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory_mb` begin again, where it can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: torch.device) -> float:
    """Of the device's allocator on a GPU; of this process since its start on a CPU. Megabytes (1e6 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def environment(place: Place) -> dict[str, str]:
    """Device and versions, as text."""
    device = torch.device(place.device)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "device_slot": place.device,
        "threads": str(place.threads),
        "deterministic": str(place.deterministic),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def cpu_name() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
