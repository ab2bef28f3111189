"""The front door: a domain-adaptation trial from its config to a finished folder, as a generator of events.

A trial trains (or finds its training), scores and writes. Its folder is written under a temporary name and renamed when
it is complete. The training lies beside, under its own key.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.contents import About, Shown
from runners.dann import costs, domains, inputs, model, outcomes, scoring, tasks, trainings, validation
from runners.dann.config import TrialConfig
from runners.experiment import Curve, Event, ExecutionContext, Note, Progress
from runners.process import device as devices
from runners.process import files, memory
from runners.process.locks import lock

CHECKPOINT_RULE = "weights of the last training step, no selection"
ORACLE = "accuracy_oracle"
ORACLE_RULE = f"an oracle: of {trainings.POINTS} checkpoints the one with the best accuracy on the target's validation"


def prepare(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """The two domains, where the record lacks them. Raises ValueError for a folder or a picture that cannot be used."""
    yield from domains.prepare(config, context)


def run(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """Train (or find the training), score, write the folder.

    Stopped, closed or failed, it leaves the training and nothing of the trial's folder. One process at a time is at a
    trial: what another one has finished is taken as it is.
    """
    final = Path(context.record) / "trials" / config.trial_key
    with lock(context.cache / "locks" / config.trial_key, wait=True):
        if not final.is_dir() or files.damaged(final):
            # A study may vary the target: its other domains are not those of the baseline that was prepared.
            yield from domains.prepare(config, context)
            yield from _make(config, context, final)


def _make(config: TrialConfig, context: ExecutionContext, final: Path) -> Iterator[Event]:
    """The folder under its temporary name, then under its own."""
    partial = final.with_name(f"{config.trial_key}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with devices.algorithms(context.deterministic):
            yield from _fill(_begun(config, context), partial)
        files.write_manifest(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        files.sync_folder(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class _Trial:
    config: TrialConfig
    context: ExecutionContext
    device: torch.device
    pair: trainings.Pair
    folder: Path  # of the training


def _begun(config: TrialConfig, context: ExecutionContext) -> _Trial:
    """The device made ready, the domains opened."""
    device = torch.device(context.device)
    devices.use(device)
    memory.reset_peak(device)
    source, target = (
        domains.open_domain(config.data, name, config.image_size, context.cache)
        for name in (config.source, config.target)
    )
    folder = context.cache / "trainings" / config.train_key
    return _Trial(config, context, device, trainings.Pair(source, target), folder)


def _fill(trial: _Trial, folder: Path) -> Iterator[Event]:
    curve = yield from _train(trial)
    yield Progress("scoring", 0, 1)
    start = time.perf_counter()
    trained = _load(trial, trainings.LAST)
    scores = outcomes.write(trial.config, trial.pair, trained, folder)
    if trainings.BEST in trainings.facts(trial.folder)["sha256"]:
        target = trial.pair.target
        best = _load(trial, trainings.BEST)
        found = best.accuracy(target.images_NHWC[target.test], target.label_N[target.test], model.TARGET)
        scores[f"{ORACLE}/{tasks.TARGET_TEST}"] = found
    files.write_lines(folder / "metrics.jsonl", curve)
    _write(trial, scores, time.perf_counter() - start, folder)
    yield Progress("scoring", 1, 1)


def _train(trial: _Trial) -> Generator[Event, None, list[dict[str, float]]]:
    """The learning curve of the finished training."""
    for event in trainings.run(trial.config, trial.folder, trial.pair, trial.device):
        assert isinstance(event, Curve | Note)
        yield event
    return files.read_lines(trial.folder / trainings.CURVE)


def _load(trial: _Trial, which: str) -> scoring.Trained:
    """The network with the weights of the last step, or of the oracle's choice."""
    config, pair = trial.config, trial.pair
    network = model.build(config).to(trial.device).eval()
    network.load_state_dict(trainings.load_weights(trial.folder, which, trial.device))
    labelled = pair.target if config.method == "target_only" else pair.source
    scaling = inputs.scaling(config, labelled.images_NHWC[labelled.train], trial.device)
    return scoring.Trained(network, scaling, config.method == "dann")


# --- what is written -------------------------------------------------------------------------------------


def _write(trial: _Trial, scores: dict[str, Any], seconds: float, folder: Path) -> None:
    """config.json, environment.json, task.json, result.json."""
    config, facts, pair, context = trial.config, trainings.facts(trial.folder), trial.pair, trial.context
    size = costs.size_of(config)
    oracle = {
        "oracle/images": facts["best_on_target/images"],
        "oracle_rule": ORACLE_RULE,
    }
    result: dict[str, Any] = {
        **scores,
        "images": config.total_images,
        "images/source_train": len(pair.source.train),
        "images/target_train": len(pair.target.train),
        "seconds/train": facts["seconds/train"],
        "images_per_second": facts["images_per_second"],
        "seconds/sample": seconds,
        "device/train": facts["device"],  # of the process that trained
        "device/sample": devices.name(trial.device),
        "packed": context.colocated,  # the record's word
        "parameters": size.parameters,
        "gflop_forward": (size.features_flop + size.label_flop) / 1e9,
        "train_pflop": costs.train_flop(config, config.total_images) / 1e15,
        "network_evaluations": 1,
        "peak_memory_mb": memory.peak_mb(trial.device),
        "weights_sha256": facts["sha256"][trainings.LAST],
        "warnings": "\n".join(validation.warnings(config)),
        "checkpoint_rule": CHECKPOINT_RULE,
        **(oracle if trainings.BEST in facts["sha256"] else {}),
        "data_digest": domains.digest(config.data),  # one for all trials of the data, whichever two domains they use
        "data_digest/source": pair.source.digest,
        "data_digest/target": pair.target.digest,
    }
    texts = {
        "config": config.to_dict(),
        "environment": _environment(trial),
        "task": _described(trial),
        "result": result,
    }
    for file, value in texts.items():
        (folder / f"{file}.json").write_text(json.dumps(value, indent=1))


def _described(trial: _Trial) -> dict[str, Any]:
    """What a reader needs to know of the images and their scores."""
    task, pair = trial.config.task, trial.pair
    parts = {
        f"{role}_{part}": len(getattr(domain, part))
        for role, domain in (("source", pair.source), ("target", pair.target))
        for part in ("train", "validation", "test")
    }
    return {
        "name": task.name,
        "kind": task.kind,
        **About(pair.source.classes, shown=Shown()).to_json(),
        "lists": [dataclasses.asdict(one) for one in task.lists],
        "metric": dataclasses.asdict(task.metric),
        "images": parts,
        "domains": {"source": pair.source.name, "target": pair.target.name},
    }


def _environment(trial: _Trial) -> dict[str, str]:
    """Device, how it computed and versions, as text."""
    with devices.tf32(False):
        arithmetic = devices.arithmetic()
    return {
        "device": devices.name(trial.device),
        "device_slot": trial.context.device,
        "threads": str(trial.context.threads),
        "deterministic": str(trial.context.deterministic),
        "arithmetic/train": arithmetic,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
