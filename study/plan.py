"""From a spec to its trials: arms x seeds, shared trainings, and what it costs before it is spent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.config import DEFAULTS, Scalar, TrialConfig
from runners.files import read_json
from study import record
from study.scales import Scale
from study.spec import StudySpec, arm_name


@dataclass(frozen=True)
class Trial:
    """An arm at one training seed."""

    arm: str
    config: TrialConfig

    @property
    def name(self) -> str:
        return f"{self.arm} seed={self.config.seed}"


@dataclass(frozen=True)
class Plan:
    """What a launch is to have when it ends."""

    study: str
    scale: str
    study_id: str
    spec: StudySpec
    baseline: TrialConfig
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]

    @property
    def train_keys(self) -> list[str]:
        """The distinct trainings, in order."""
        return list(dict.fromkeys(trial.config.train_key for trial in self.trials))

    def to_json(self, launched: str, command: str, run_ids: Mapping[str, str]) -> dict[str, Any]:
        """study.json: all that a reader of the record needs to know of the study."""
        return {
            "study_id": self.study_id,
            "study": self.study,
            "scale": self.scale,
            "question": self.spec.question,
            "launched": launched,
            "command": command,
            "metric": self.spec.metric,
            "factors": {name: list(values) for name, values in self.spec.factors.items()},
            "arms": list(self.spec.arms()),
            "baseline_arm": self.spec.baseline_arm,
            "baseline": self.baseline.to_dict(),
            "seeds": list(self.seeds),
            "published": {arm: dict(values) for arm, values in self.spec.published.items()},
            "trials": [
                {
                    "arm": trial.arm,
                    "seed": trial.config.seed,
                    "trial_key": trial.config.trial_key,
                    "train_key": trial.config.train_key,
                    "run_id": run_ids.get(trial.config.trial_key, ""),
                    "config": trial.config.to_dict(),
                }
                for trial in self.trials
            ],
        }


def make(
    study: str, spec: StudySpec, scale_name: str, scale: Scale, changes: Mapping[str, Scalar], seeds: int | None
) -> Plan:
    """Arms x seeds. `changes` are the user's (`--set`, `--data`, `--evaluator`) to the scale's baseline.

    Seeds come outermost: an interrupted study has every arm at the first seeds, not some arms at all of them.
    Raises ValueError when a change names a factor of the study, or there is no seed.
    """
    for name in changes:
        if name in spec.factors:
            raise ValueError(f"{name!r} is a factor of the study {study}: it cannot be --set; change another field.")
    if "seed" in changes:
        raise ValueError("The seed is a replication, not a setting: write --seeds N for seeds 0 to N-1.")
    count = seeds if seeds is not None else scale.seeds or spec.seeds
    if count < 1:
        raise ValueError(f"--seeds {count} runs nothing: write --seeds 1 or more.")
    baseline = scale.config.replace(**{**spec.fixed, **spec.baseline, **changes})
    trials = [
        Trial(arm_name(arm), baseline.replace(**{**arm, "seed": seed}))
        for seed in range(count)
        for arm in spec.arms().values()
    ]
    study_id = _study_id(study, scale_name, changes)
    return Plan(study, scale_name, study_id, spec, baseline, tuple(range(count)), tuple(trials))


def _study_id(study: str, scale: str, changes: Mapping[str, Scalar]) -> str:
    """ "schedules-laptop"; another baseline is another study, so its changes are hashed into the name."""
    if not changes:
        return f"{study}-{scale}"
    digest = hashlib.sha256(json.dumps(dict(changes), sort_keys=True).encode()).hexdigest()[:6]
    source = "-folder" if str(changes.get("data", "")).startswith("folder(") else ""
    return f"{study}-{scale}{source}-{digest}"


@dataclass(frozen=True)
class Cost:
    """What is left to do, and how long it takes. `basis` says where the rates come from."""

    missing_trials: int
    missing_trainings: int
    seconds: float
    basis: str


def cost(plan: Plan, scale: Scale, root: Path, slots: int) -> Cost:
    """The estimate for what `root` does not have yet, on `slots` device slots.

    The rates are the medians of finished trials of the same network and picture size in the record, else the
    scale's own.
    """
    missing = [
        trial for trial in plan.trials if record.state(record.trial_folder(root, trial.config.trial_key)) != "complete"
    ]
    trainings = {
        trial.config.train_key: trial.config
        for trial in missing
        if not (root / "cache" / "trainings" / trial.config.train_key / "done.json").is_file()
    }
    rates, sampling, basis = scale.images_per_second, scale.sampling_seconds, f"typical for {scale.measured_on}"
    measured = _measured(plan.baseline, root)
    if measured:
        rates, sampling = measured
        basis = "measured in this record"
    busy = sum(config.total_images / rates for config in trainings.values()) + len(missing) * sampling
    # Whole trials are dealt to the slots, so the last round may be half empty.
    rounds = -(-len(missing) // slots) * slots / max(1, len(missing))
    seconds = busy / slots * rounds
    if missing and not (root / "trials").is_dir():
        seconds += scale.preparation_seconds
    return Cost(len(missing), len(trainings), seconds, basis)


def _measured(baseline: TrialConfig, root: Path) -> tuple[float, float] | None:
    """Median (images a second, sampling seconds) of the trials with this network, picture size and sampler."""
    names = ("model", "image_size", "batch_size", "precision", "sampler", "sampling_seeds")
    found = []
    for path in (root / "trials").glob("*/result.json"):
        config = DEFAULTS | read_json(path.with_name("config.json"))
        if all(config[name] == getattr(baseline, name) for name in names):
            result = read_json(path)
            found.append((float(result["images_per_second"]), float(result["seconds/sample"])))
    if not found:
        return None
    middle = len(found) // 2
    return sorted(rate for rate, _ in found)[middle], sorted(seconds for _, seconds in found)[middle]
