"""The front door: a domain-adaptation trial from its config to a finished folder, as a generator of events.

A trial trains (or finds its training), scores and writes. Its folder is written under a temporary name and renamed when
it is complete. The training lies beside, under its own key.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners import trial_folder
from runners.contents import About, Shown
from runners.dann import costs, domains, inputs, model, outcomes, scoring, tasks, trainings, validation
from runners.dann.config import TrialConfig
from runners.experiment import Curve, Event, ExecutionContext, Note, Progress, oracle_of
from runners.process import device as devices
from runners.process import files, memory

CHECKPOINT_RULE = "weights of the last training step, no selection"
ORACLE = "best on target"
ORACLE_RULE = f"an oracle: of {trainings.POINTS} checkpoints the one with the best accuracy on the target's validation"


def prepare(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """The two domains, where the record lacks them. Raises ValueError for a folder or a picture that cannot be used."""
    yield from domains.prepare(config, context)


def run(config: TrialConfig, context: ExecutionContext) -> Iterator[Event]:
    """Train (or find the training), score, write the folder.

    Stopped, closed or failed, it leaves the training and nothing of the trial's folder.
    """
    with trial_folder.begun(config, context) as folder:
        if folder is None:  # another process has finished it
            return
        # A study may vary the target: its other domains are not those of the baseline that was prepared.
        yield from domains.prepare(config, context)
        with devices.algorithms(context.deterministic):
            yield from _fill(_begun(config, context), folder)


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
        scores[oracle_of(tasks.ACCURACY.on(tasks.TARGET_TEST))] = found
    result = _result(trial, scores, time.perf_counter() - start)
    about = _about(trial) | {"versions": _versions(trial)}
    trial_folder.write(folder, trial.config, trial.context, trial.config.task, result, curve, **about)
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


def _result(trial: _Trial, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The scores, and what the trial was made of and took; `seconds`: of scoring."""
    config, facts, pair, context = trial.config, trainings.facts(trial.folder), trial.pair, trial.context
    size = costs.size_of(config)
    oracle = {
        "oracle/images": facts["best_on_target/images"],
        "oracle": ORACLE,
        "oracle_rule": ORACLE_RULE,
    }
    return {
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


def _about(trial: _Trial) -> dict[str, Any]:
    """What a reader needs to know of the images."""
    pair = trial.pair
    parts = {
        f"{role}_{part}": len(getattr(domain, part))
        for role, domain in (("source", pair.source), ("target", pair.target))
        for part in ("train", "validation", "test")
    }
    return {
        **About(pair.source.classes, shown=Shown()).to_json(),
        "images": parts,
        "domains": {"source": pair.source.name, "target": pair.target.name},
    }


def _versions(trial: _Trial) -> dict[str, str]:
    """How the device computed, and versions, as text."""
    with devices.tf32(False):
        arithmetic = devices.arithmetic()
    return {
        "device": devices.name(trial.device),
        "deterministic": str(trial.context.deterministic),
        "arithmetic/train": arithmetic,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
