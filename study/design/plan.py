"""From a spec to its trials: arms x seeds, shared trainings, and what it costs before it is spent."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from runners.process.files import read_json
from study.design.scales import Scale
from study.design.space import Dimension
from study.design.spec import Design, StudySpec
from study.record import layout
from study.record import reader as record

if TYPE_CHECKING:
    from runners.models import Size

Keep = Literal["all", "best", "none"]
CLAIM_SEEDS = 5  # at .05 and 80 % power they see 1.68 sd of the paired differences; 3 seeds see 3.3
SEARCH_SEED = 0  # the training seed of a search's trials; its winner is judged on others
BASELINE, WINNER = "baseline", "winner"  # the arms of a search


@dataclass(frozen=True)
class Trial:
    """An arm at one training seed. `seed` is the block: the arms of a block are compared with each other.

    It is the config's own, unless the arm sets a seed, which then shifts it: the same setting trained independently.
    """

    arm: str
    config: TrialConfig
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm} seed={self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a launch is to have when it ends.

    Of a search with a `space`, `trials` are those of the fresh seeds: of the baseline, and of the winner once known.
    """

    study: str
    scale: str
    study_id: str
    spec: StudySpec
    design: Design
    baseline: TrialConfig
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    keep: Keep = "all"
    space: Mapping[str, Dimension] = dataclasses.field(default_factory=dict)
    searched: int = 0  # trials of the search
    claim: bool = False

    @property
    def notes(self) -> list[str]:
        """The spec's notes, and what the number of seeds is good for."""
        kind = "Planned as a claim" if self.claim else "Exploratory"
        return [*self.spec.notes, f"{kind}: {len(self.seeds)} training seed{'s' * (len(self.seeds) != 1)} an arm."]

    @property
    def train_keys(self) -> list[str]:
        """The distinct trainings, in order."""
        return list(dict.fromkeys(trial.config.train_key for trial in self.trials))

    def with_winner(self, params: Mapping[str, Scalar]) -> Plan:
        """The plan of a finished search: its winner beside the baseline on fresh seeds."""
        arms: dict[str, Mapping[str, Scalar]] = {BASELINE: {}, WINNER: dict(params)}
        spec = dataclasses.replace(self.spec, arms=arms, baseline_arm=BASELINE)
        design = spec.design(self.scale, self.baseline)
        return dataclasses.replace(self, design=design, trials=_trials(design, self.baseline, self.seeds))

    def to_json(
        self, launched: str, command: str, run_ids: Mapping[str, str], search: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """study.json: all that a reader of the record needs to know of the study."""
        value = {
            "study_id": self.study_id,
            "study": self.study,
            "scale": self.scale,
            "question": self.spec.question,
            "launched": launched,
            "command": command,
            "metric": self.spec.metric,
            "factors": {name: list(values) for name, values in self.design.factors.items()},
            "nuisance": list(self.spec.nuisance),
            "arms": list(self.design.arms),
            "baseline_arm": self.design.baseline_arm,
            "against": dict(self.design.against),
            "baseline": self.baseline.to_dict(),
            "seeds": list(self.seeds),
            "published": {arm: dict(values) for arm, values in self.spec.published.items()},
            "notes": self.notes,
            "margin": self.spec.margin,
            "claim": self.claim,
            "keep_checkpoints": self.keep,
            "trials": [
                {
                    "arm": trial.arm,
                    "seed": trial.seed,
                    "trial_key": trial.config.trial_key,
                    "train_key": trial.config.train_key,
                    "run_id": run_ids.get(trial.config.trial_key, ""),
                    "config": trial.config.to_dict(),
                }
                for trial in self.trials
            ],
        }
        return value if search is None else value | {"search": search}


def make(
    study: str,
    spec: StudySpec,
    scale_name: str,
    scale: Scale,
    changes: Mapping[str, Scalar],
    seeds: int | None,
    keep: Keep = "all",
    searched: int | None = None,
    claim: bool = False,
) -> Plan:
    """Arms x seeds. `changes` are the user's (`--set`, `--data`, `--evaluator`) to the scale's baseline.

    Seeds come outermost: an interrupted study has every arm at the first seeds, not some arms at all of them.
    Raises ValueError when a change names a factor of the study, or there is no seed.
    """
    if "seed" in changes:
        raise ValueError("The seed is a replication, not a setting: write --seeds N for seeds 0 to N-1.")
    exploratory = scale.seeds or spec.seeds
    count = seeds if seeds is not None else max(exploratory, CLAIM_SEEDS) if claim else exploratory
    if claim and 1 <= count < CLAIM_SEEDS:
        raise ValueError(
            f"--claim with {count} seeds concludes nothing: write --seeds {CLAIM_SEEDS} or more, or leave --claim out."
        )
    if count < 1:
        raise ValueError(f"--seeds {count} runs nothing: write --seeds 1 or more.")
    if searched is not None and searched < 1:
        raise ValueError(f"--trials {searched} suggests nothing: write --trials 1 or more.")
    baseline = scale.config.replace(**{**spec.fixed, **spec.baseline, **changes})
    design = spec.design(scale_name, baseline)
    space = spec.space(scale_name, baseline) if callable(spec.space) else spec.space or {}
    for name in changes:
        if any(name in arm for arm in design.arms.values()) or name in space:
            raise ValueError(f"{name!r} is a factor of the study {study}: it cannot be --set; change another field.")
    numbers = tuple(range(count)) if not space else tuple(range(SEARCH_SEED + 1, SEARCH_SEED + 1 + count))
    return Plan(
        study=study,
        scale=scale_name,
        study_id=_study_id(study, scale_name, changes),
        spec=spec,
        design=design,
        baseline=baseline,
        seeds=numbers,
        trials=_trials(design, baseline, numbers),
        keep=keep,
        space=space,
        searched=(searched or spec.trials) if space else 0,
        claim=claim,
    )


def _trials(design: Design, baseline: TrialConfig, seeds: tuple[int, ...]) -> tuple[Trial, ...]:
    return tuple(
        Trial(name, baseline.replace(**{**arm, "seed": seed + int(arm.get("seed", 0))}), seed)
        for seed in seeds
        for name, arm in design.arms.items()
    )


def _study_id(study: str, scale: str, changes: Mapping[str, Scalar]) -> str:
    """ "schedules-laptop"; another baseline is another study, so its changes are hashed into the name."""
    if not changes:
        return f"{study}-{scale}"
    digest = hashlib.sha256(json.dumps(dict(changes), sort_keys=True).encode()).hexdigest()[:6]
    source = "-folder" if str(changes.get("data", "")).startswith("folder(") else ""
    return f"{study}-{scale}{source}-{digest}"


# --- what it costs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What is left to do, and what it takes. `basis` says where the throughput comes from.

    `train_flop` of the missing trainings, `sample_flop` of the missing trials' sampling (2 x multiply-adds).
    `seconds` of wall clock; `disk_bytes` that the record grows by at most.
    """

    missing_trials: int
    missing_trainings: int
    train_flop: float
    sample_flop: float
    seconds: float
    basis: str
    disk_bytes: float


@dataclass(frozen=True)
class Throughput:
    """FLOP a second of one device slot in training and in sampling, and seconds a trial takes besides."""

    train: float
    sample: float
    trial_seconds: float
    basis: str


CONDITIONS = 264  # of the four lists: 64 validation, 32 test, 32 new_test, 136 unseen
BYTES_A_WEIGHT = 4  # fp32, once as average and once as last step
STATE_COPIES = 4  # a checkpoint in training: weights, their average, two moments
TRIAL_BYTES = 6 * 2**20  # pictures of a trial at 64x64, once in its folder and once in MLflow


def train_flop(config: TrialConfig) -> float:
    from runners.ddpm.train import TRAINING_FORWARDS

    return TRAINING_FORWARDS * size(config).forward_flop * config.total_images


def evaluations(config: TrialConfig) -> int:
    """Network evaluations that one image takes."""
    from runners.ddpm.manipulation_check import network_evaluations

    return network_evaluations(config)


def sample_flop(config: TrialConfig) -> float:
    return size(config).forward_flop * evaluations(config) * CONDITIONS * config.sampling_seeds


def size(config: TrialConfig) -> Size:
    """Parameters and FLOP of the config's network."""
    from runners import models
    from runners.tasks.iclevr.data import LABELS

    return models.measure(config.model, config.image_size, len(LABELS), config.timesteps)


def cost(plan: Plan, scale: Scale, root: Path, slots: int) -> Cost:
    """The estimate for what `root` does not have yet, on `slots` device slots.

    A search is counted as if no trial were pruned and every one had the baseline's network.
    """
    to_search = max(0, plan.searched - record.searched(root, plan.study_id))
    if plan.space and not to_search and (params := record.winner(root, plan.study_id)):
        plan = plan.with_winner(params)
    missing = [
        trial.config
        for trial in plan.trials
        if layout.state(layout.trial_folder(root, trial.config.trial_key)) != "complete"
    ]
    winner = [plan.baseline] * len(plan.seeds) if plan.space and WINNER not in plan.design.arms else []
    repeated = winner + [plan.baseline] * to_search
    trainings = {config.train_key: config for config in missing if not layout.has_weights(root, config.train_key)}
    rates = throughput(plan.baseline, scale, root)
    to_train, to_sample = [*trainings.values(), *repeated], [*missing, *repeated]
    train, sampling = sum(map(train_flop, to_train)), sum(map(sample_flop, to_sample))
    trials = len(to_sample)
    busy = trials * rates.trial_seconds
    busy += sum(train_flop(config) / rates.train / pace(config, scale) for config in to_train)
    busy += sum(sample_flop(config) / rates.sample / pace(config, scale) for config in to_sample)
    # Whole trials are dealt to the slots, so the last round may be half empty.
    units = len(trainings) + len(repeated) or trials
    seconds = busy / slots * (-(-units // slots) * slots / max(1, units))
    if trials and not (root / "trials").is_dir():
        seconds += scale.preparation_seconds
    weights = [size(config).parameters * BYTES_A_WEIGHT for config in [*trainings.values(), *repeated]]
    kept = {"all": 2 * sum(weights), "best": 2 * max(weights, default=0), "none": 0}[plan.keep]
    disk = kept + STATE_COPIES * max(weights, default=0) * slots + trials * TRIAL_BYTES
    return Cost(trials, len(trainings) + len(repeated), train, sampling, seconds, rates.basis, disk)


def images_ahead(plan: Plan, root: Path) -> Counter[str]:
    """`step_key` -> training images that the record still lacks."""
    missing = {t.config.train_key: t.config for t in plan.trials if not layout.has_weights(root, t.config.train_key)}
    found: Counter[str] = Counter()
    for config in missing.values():
        found[config.step_key] += config.total_images
    return found


def pace(config: TrialConfig, scale: Scale) -> float:
    """Share of the scale's throughput at the config's precision: the GPU scales count bf16, of which TF32 reaches
    about .7 in such networks (predicted)."""
    return 0.7 if scale.machine == "gpu" and config.precision == "fp32" else 1.0


def throughput(baseline: TrialConfig, scale: Scale, root: Path) -> Throughput:
    """Medians of the record's finished trials of this picture size, batch and precision, else the scale's own."""
    names = ("image_size", "batch_size", "precision")
    train, sampling = [], []
    for path in (root / "trials").glob("*/result.json"):
        config, result = TrialConfig.defaults() | read_json(path.with_name("config.json")), read_json(path)
        if all(config[name] == getattr(baseline, name) for name in names) and "train_pflop" in result:
            train.append(float(result["train_pflop"]) * 1e15 / float(result["seconds/train"]))
            flop = float(result["gflop_forward"]) * 1e9 * float(result["network_evaluations"])
            sampling.append(flop * CONDITIONS * int(config["sampling_seeds"]) / float(result["seconds/sample"]))
    if train:
        return Throughput(median(train), median(sampling), scale.trial_seconds, "measured in this record")
    flops, unit = scale.flop_per_second, "TFLOP/s" if scale.flop_per_second >= 1e12 else "GFLOP/s"
    number = flops / (1e12 if unit == "TFLOP/s" else 1e9)
    return Throughput(flops, flops, scale.trial_seconds, f"at {number:.3g} {unit}, {scale.measured_on}")
