"""The front door: a trial from its config to a finished folder, as a generator of events.

A trial's folder is written under a temporary name and renamed when it is complete. The training lies beside, under
its own key, so that trials which differ in their sampling half share it. An event is a dict that JSON can hold.
"""

from __future__ import annotations

import csv
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

from runners import (
    data,
    diffusion,
    evaluate,
    evaluator,
    files,
    memory,
    models,
    pictures,
    pulse,
    quality,
    sample,
    schedules,
    trainings,
    treatment,
)
from runners.config import Call, TrialConfig
from runners.locks import lock
from runners.train import TRAINING_FORWARDS, step_seed

Event = dict[str, Any]
STRIP_FRAMES = 10
INTERPOLATED = (("red sphere",), ("blue cube", "yellow cylinder"))
INTERPOLATED_FRAMES = 8
REAL_FEATURES = 200  # real images whose features are kept: as many as a map of dots can take
CHECKPOINT_RULE = "weights of the last training step, no selection"


@dataclass(frozen=True)
class Place:
    """Where a trial runs and what it reads: nothing here changes its result."""

    record: str
    data: str
    evaluator: str
    device: str
    threads: int = 1
    packed: int = 1  # workers that share the device, or the CPU core, so that seconds do not compare with others'
    curve_points: int = 5
    deterministic: bool = False  # only algorithms that give the same bits each time; a GPU has faster ones


def build_model(config: TrialConfig) -> nn.Module:
    """The network with the initial weights of the training seed."""
    torch.manual_seed(step_seed("weights", config.seed))
    return models.build(config.model, config.image_size, len(data.LABELS), config.timesteps)


def run(config: TrialConfig, place: Place) -> Generator[Event, None, None]:
    """Train (or find the training), sample, score, write the folder.

    Yields `curve`, `note`, `sampling`, at last `done`. Raises treatment.TreatmentError when a setting did not reach
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
        yield from _run(config, place, partial)
        files.write_manifest(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        files.sync_folder(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(config: TrialConfig, place: Place, partial: Path) -> Iterator[Event]:
    """Fill the trial's folder; the events until then."""
    be_deterministic(place.deterministic)
    device = torch.device(place.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    scenes = data.open_prepared(Path(place.data))
    judge = functools.cache(lambda: load_judge(place.evaluator, config.evaluator))
    training = Path(place.record) / "cache" / "trainings" / config.train_key
    model = build_model(config).to(device)

    def ready() -> evaluator.ResNet18 | None:
        return judge()[0] if Path(place.evaluator).is_file() else None

    for lines in trainings.run(config, training, model, device, scenes, ready, place.curve_points):
        if isinstance(lines, str):
            yield {"event": "note", "text": lines}
        else:
            yield {"event": "curve", "lines": lines, "total_images": config.total_images}
    if twin := trainings.same_weights(training):
        raise treatment.TreatmentError(
            f"The trainings {training.name} and {twin} differ in their settings but not in a single weight: the "
            f"factor did not reach the training, or makes no difference. Compare the config.json of both."
        )
    while ready() is None:  # another worker is training it
        pulse.beat()
        time.sleep(0.2)
    lines = trainings.score_waiting(training, scenes, ready, device)
    yield {"event": "curve", "lines": lines, "total_images": config.total_images}
    shutil.copy(training / trainings.CURVE, partial / "metrics.jsonl")
    model.load_state_dict(trainings.load_weights(training, config.weights, place.device))
    model.eval()

    passes = [0, 0]  # images that went through the network, images that came out
    counter = model.register_forward_pre_hook(functools.partial(_count, passes))
    start = time.perf_counter()
    scores: dict[str, float] = {}
    digests: dict[str, str] = {}
    outcomes: dict[str, NDArray[Any]] = {}
    classes: list[dict[str, Any]] = []
    pixels: dict[str, NDArray[np.uint8]] = {}
    shape = (3, config.image_size, config.image_size)
    real_NL = real_predictions(place.evaluator, place.data, place.device)
    real_asked_NL = scenes.labels_NK[scenes.held_out_indices]
    for position, (name, conditions) in enumerate(scenes.lists.items()):
        if conditions:
            images_KNHWC, note = sample_list(config, model, name, conditions, partial, passes)
            if note:
                yield {"event": "note", "text": note}
            pulse.beat()
            asked_NL = data.multi_hot(conditions)
            probability_KNL = np.stack([evaluator.probabilities(judge()[0], images, device) for images in images_KNHWC])
            predicted_KNL = np.stack([evaluator.top(probability_NL, asked_NL) for probability_NL in probability_KNL])
            outcomes |= {name: predicted_KNL, f"{name}_probability": probability_KNL}
            scores |= evaluate.score_sheet(name, predicted_KNL, asked_NL, probability_KNL)
            scores[f"ceiling/{name}"] = evaluate.ceiling(asked_NL, real_NL, real_asked_NL)
            digests[f"noise_digest/{name}"] = sample.noise_digest(name, conditions, config.sampling_seeds, shape)
            classes += evaluate.by_class(name, predicted_KNL, asked_NL)
            pixels[name] = images_KNHWC[0]
            passes[1] += config.sampling_seeds * len(conditions)
        yield {"event": "sampling", "done": position + 1, "total": len(scenes.lists)}
    seconds = time.perf_counter() - start
    counter.remove()
    facts = trainings.facts(training)
    treated = facts["treatment"]
    treatment.verify(config, treated, passes[0] / passes[1])
    size = models.measure(config.model, config.image_size, len(data.LABELS), config.timesteps)
    np.savez_compressed(partial / "outcomes.npz", **outcomes)  # type: ignore[arg-type]
    save_classes(classes, partial / "classes.csv")
    save_strips(config, model, scenes, partial)
    save_interpolation(config, model, partial / "interpolation.png")
    real = real_features(place.evaluator, place.data, place.device)
    save_features(judge()[0], pixels, scenes.lists, real, device, partial / "features.npz")
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    scores |= quality.memorisation(np.concatenate(list(pixels.values())), scenes, device)
    draws_SNHWC = quality.draws(config, model, scenes, device)
    scores["diversity"] = quality.diversity(draws_SNHWC)
    pictures.save(partial / "diversity.png", pictures.grid(np.concatenate(draws_SNHWC.swapaxes(0, 1)), quality.DRAWS))
    scores |= quality.denoising_errors(config, model, scenes, alpha_bar_T, device)
    save_schedule(alpha_bar_T, partial / "schedule.csv")
    result = {
        **{name: value for name, value in scores.items() if math.isfinite(value)},  # JSON has no NaN
        **digests,
        "ceiling_images": len(real_asked_NL),
        "images": config.total_images,
        "seconds/train": facts["seconds/train"],
        "images_per_second": facts["images_per_second"],
        "seconds/sample": seconds,
        "packed": place.packed,
        "parameters": size.parameters,
        "gflop_forward": size.forward_flop / 1e9,
        "train_pflop": TRAINING_FORWARDS * size.forward_flop * config.total_images / 1e15,
        "network_evaluations": treatment.network_evaluations(config),
        "peak_memory_mb": peak_memory_mb(device),
        "terminal_sqrt_alpha_bar": float(alpha_bar_T[-1] ** 0.5),
        **{f"treatment/{name}": value for name, value in treated.items() if name != "never_drawn"},
        "treatment/timesteps_never_drawn": len(treated["never_drawn"]),
        "weights_sha256": facts["sha256"][config.weights],
        "warnings": "\n".join(treatment.warnings(config, treated)),
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
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(wanted)


def sample_list(
    config: TrialConfig,
    model: nn.Module,
    name: str,
    conditions: list[data.Condition],
    folder: Path,
    passes: list[int],
) -> tuple[NDArray[np.uint8], str]:
    """Sample a list K times, uint8 (K, N, H, W, 3), and save the first pass as pictures; a note if memory ran out.

    `passes[0]` counts the images that go through the network: those of a try that ran out of memory do not.
    """
    device = next(model.parameters()).device
    c_NK = torch.from_numpy(data.multi_hot(conditions)).to(device, torch.float32)
    before, whole = passes[0], sample.chunk_of(device)

    def attempt(chunk: int) -> NDArray[np.uint8]:
        passes[0] = before
        return sample.sample_list(config, model, name, conditions, c_NK, config.sampling_seeds, chunk)

    images_KNHWC, chunk = memory.halving(attempt, whole, device)
    note = f"out of memory: {chunk} images of {name} are sampled at once, not {whole}" if chunk < whole else ""
    pictures.save(folder / f"grid_{name}.png", pictures.grid(images_KNHWC[0]))
    pictures.save_tree(folder / "images" / name, images_KNHWC[0])
    return images_KNHWC, note


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


def save_features(
    judge: evaluator.ResNet18,
    pixels: dict[str, NDArray[np.uint8]],
    lists: dict[str, list[data.Condition]],
    real: tuple[NDArray[np.float16], NDArray[np.bool_]],
    device: torch.device,
    path: Path,
) -> None:
    """features.npz: features float16 (N, D), labels bool (N, 24), source (N,): the list's name, or "real"."""
    parts = [quality.features(judge, np.concatenate(list(pixels.values())), device), real[0]]
    labels = [*(data.multi_hot(lists[name]) for name in pixels), real[1]]
    source = np.repeat([*pixels, "real"], [*map(len, pixels.values()), len(real[0])])
    np.savez_compressed(path, features=np.concatenate(parts), labels=np.concatenate(labels), source=source)


def save_classes(rows: list[dict[str, Any]], path: Path) -> None:
    """One row a list and label: asked, hits, named_unasked."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _count(passes: list[int], model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """A hook before each forward pass: images that go through the network."""
    passes[0] += len(inputs[0])


def save_strips(config: TrialConfig, model: nn.Module, scenes: data.SceneData, folder: Path) -> None:
    """denoising.png: x_t above the estimate of x0, step by step; noised.png: a training image at rising t."""
    shape = (3, config.image_size, config.image_size)
    device = next(model.parameters()).device
    alpha_bar_T = schedules.alpha_bars(config.schedule, config.timesteps)
    c_BK = torch.from_numpy(data.multi_hot([data.STRIP_CONDITION])).to(device, torch.float32)
    one = [(0, data.STRIP_CONDITION)]
    states = list(sample.sample_as(config, model, c_BK, sample.KeyedNoise("denoising", one, 0)))
    start = sample.KeyedNoise("denoising", one, 0).draw(shape)[0]  # what the sampler drew first
    chosen = [states[i] for i in np.linspace(0, len(states) - 1, STRIP_FRAMES - 1).round().astype(int)]
    rows = [
        pictures.visible([start, *(state.x_BCHW[0].cpu() for state in chosen)]),
        torch.stack([torch.zeros(shape), *(state.x0_BCHW[0].cpu() for state in chosen)]),
    ]
    pictures.save(folder / "denoising.png", pictures.grid(sample.to_uint8(torch.cat(rows)), STRIP_FRAMES))

    fullest = int(scenes.labels_NK.sum(1).argmax())
    x0 = torch.from_numpy(np.array(scenes.images_NHWC[fullest])).permute(2, 0, 1) / 127.5 - 1
    eps = sample.KeyedNoise("noised", one, 0).draw(shape)[0]
    times = np.linspace(0, config.timesteps - 1, STRIP_FRAMES).round().astype(int)[1:]
    frames = [x0, *(diffusion.add_noise(x0, eps, torch.tensor(alpha_bar_T[t]).float()) for t in times)]
    pictures.save(folder / "noised.png", pictures.grid(sample.to_uint8(pictures.visible(frames)), STRIP_FRAMES))


def save_interpolation(config: TrialConfig, model: nn.Module, path: Path) -> None:
    """A row a condition: samples whose first noise moves from one to another on a great circle."""
    device = next(model.parameters()).device
    c_NK = torch.from_numpy(data.multi_hot(INTERPOLATED)).to(device, torch.float32)
    images_NFHWC = sample.interpolate(config, model, INTERPOLATED, c_NK, INTERPOLATED_FRAMES)
    pictures.save(path, pictures.grid(np.concatenate(images_NFHWC), INTERPOLATED_FRAMES))


def save_schedule(alpha_bar_T: NDArray[np.float64], path: Path) -> None:
    """One row a timestep: t, beta, alpha_bar, sqrt_alpha_bar, log_snr."""
    beta_T = 1 - alpha_bar_T / np.concatenate([[1.0], alpha_bar_T[:-1]])
    columns = zip(beta_T, alpha_bar_T, np.sqrt(alpha_bar_T), schedules.log_snr(alpha_bar_T), strict=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t", "beta", "alpha_bar", "sqrt_alpha_bar", "log_snr"])
        writer.writerows([t, *map(float, row)] for t, row in enumerate(columns))


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
    scenes = data.open_prepared(Path(place.data))
    recipe = stand_in_recipe(config)
    for progress in evaluator.train_stand_in(
        scenes.images_NHWC, scenes.labels_NK, scenes.train_indices, scenes.held_out_indices, recipe, place.device
    ):
        pulse.beat()
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
