"""What a plan costs before it is spent: FLOP, time and disk of what the record does not have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from runners.config import StagedConfig
from runners.experiment import Cost, Experiment, leaves_out
from runners.process.files import read_json
from study.design.plan import Plan, Trial
from study.design.scales import Scale
from study.record import layout, reader
from study.record.schema import Search

WEIGHT_COPIES = 2  # that a finished training keeps: the average and the last step
STATE_COPIES = 4  # in a checkpoint of a training: weights, their average, two moments
MEASURED = "measured in this record"
ENOUGH = 100  # finished trials for a median of their speed
TRIAL_BYTES = 6 * 2**20  # pictures of a trial at 64x64, once in its folder and once in MLflow


@dataclass(frozen=True)
class Estimate:
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
    """FLOP per second of one device slot in training and in sampling, and seconds that a trial takes besides: all of
    them, where nobody counted FLOP."""

    train: float
    sample: float
    trial_seconds: float
    basis: str

    def seconds(self, train_flop: float, sample_flop: float) -> float:
        return (train_flop / self.train if train_flop else 0.0) + (sample_flop / self.sample if sample_flop else 0.0)


@dataclass(frozen=True)
class Missing:
    """What a record lacks of a plan: the settings of its missing trials, and of their trainings one each.

    `repeated`: as many more trials of the baseline's size, of a search whose suggestions, finalists or winner are not
    known yet. A search is counted as if no trial were pruned and every one had the baseline's network.
    """

    trials: tuple[StagedConfig, ...]
    trainings: tuple[StagedConfig, ...]
    repeated: int = 0


def missing(plan: Plan, record: Path) -> Missing:
    """What `record` does not have yet: of a search, of its finalists and of its answer together."""
    if plan.stage != "search":
        return _lacking(plan.due, record)
    study = reader.find_study(plan.study_id, record)
    search = (study.search if study else None) or Search()
    again = len(reader.to_try_again(search, record))
    to_search = max(0, plan.searched - search.finished) + again  # those that were interrupted included
    # Each suggestion that is still to be scored may take a finalist's place; the best ones of today keep the others.
    replaced = min(plan.most_finalists, to_search)
    leading = search.leading(plan.most_finalists - replaced, plan.task.metric.higher_is_better)
    finalists = plan.with_finalists({trial.number: trial.params for trial in leading}).due
    unknown = to_search + replaced * len(plan.selection_seeds)
    open_finalists = bool(unknown or _lacking(finalists, record).trials)
    if search.best and search.selection_seeds and not open_finalists:
        plan = plan.with_winner(search.best.params)
    else:
        unknown += len(plan.seeds)  # of the winner
    return _lacking([*finalists, *plan.trials], record, unknown)


def _lacking(trials: Sequence[Trial], record: Path, repeated: int = 0) -> Missing:
    lacking = [trial for trial in trials if layout.state(layout.trial_folder(record, trial.key)) != "complete"]
    untrained = {trial.train_key: trial.config for trial in lacking if not layout.has_weights(record, trial.train_key)}
    return Missing(tuple(trial.config for trial in lacking), tuple(untrained.values()), repeated)


def estimate(plan: Plan, scale: Scale, record: Path, slots: int) -> Estimate:
    """The estimate for what `record` does not have yet, on `slots` device slots."""
    lacking, cost = missing(plan, record), _costs(plan.experiment)
    repeated = [plan.baseline] * lacking.repeated
    to_train, to_sample = [*lacking.trainings, *repeated], [*lacking.trials, *repeated]
    rates = throughput(plan, scale, record)
    trials = len(to_sample)
    sample_flop = {config: cost(config).sample_flop - _drawn(config, record, cost) for config in to_sample}
    busy = trials * rates.trial_seconds
    busy += sum(rates.seconds(cost(config).train_flop, 0) / pace(config, scale) for config in to_train)
    busy += sum(rates.seconds(0, sample_flop[config]) / pace(config, scale) for config in to_sample)
    # Whole trials are dealt to the slots, so the last round may be half empty.
    units = len(to_train) or trials
    seconds = busy / slots * (-(-units // slots) * slots / max(1, units))
    if trials:
        prepared = layout.trials_folder(record).is_dir() or leaves_out(plan.experiment, "prepare")
        seconds += 0 if prepared else scale.preparation_seconds
        seconds += scale.surrogate_seconds * plan.experiment.more_surrogates(plan.baseline, record)
    weights = [cost(config).checkpoint_bytes for config in to_train]
    largest = max(weights, default=0)
    kept = {"all": WEIGHT_COPIES * sum(weights), "best": WEIGHT_COPIES * largest, "none": 0}[plan.keep]
    disk = kept + STATE_COPIES * largest * slots + trials * TRIAL_BYTES
    train, sampling = (sum(cost(c).train_flop for c in to_train), sum(sample_flop[c] for c in to_sample))
    return Estimate(trials, len(to_train), train, sampling, seconds, rates.basis, disk)


@dataclass(frozen=True)
class Price:
    """Seconds of wall clock that one training seed of a plan takes: its trainings, one sampling pass of its trials, and
    what its trials take besides; `passes` are the plan's."""

    training: float
    sampling: float
    rest: float
    passes: int

    def of(self, seeds: int, passes: int) -> float:
        return seeds * (self.training + passes * self.sampling + self.rest)


def price(plan: Plan, scale: Scale, record: Path, slots: int) -> Price:
    """What a seed of the whole plan takes on `slots` device slots, whatever the record has of it already."""
    rates, cost, n = throughput(plan, scale, record), _costs(plan.experiment), max(1, len(plan.seeds)) * slots
    trainings = {trial.train_key: trial.config for trial in plan.trials}.values()
    train = sum(rates.seconds(cost(config).train_flop, 0) / pace(config, scale) for config in trainings)
    samples = [(cost(trial.config), pace(trial.config, scale)) for trial in plan.trials]
    sampling = sum(rates.seconds(0, one.sample_flop / one.passes) / speed for one, speed in samples)
    return Price(train / n, sampling / n, len(plan.trials) * rates.trial_seconds / n, cost(plan.baseline).passes)


def _drawn(config: StagedConfig, record: Path, cost: Callable[[StagedConfig], Cost]) -> float:
    """FLOP of sampling that a finished trial with a part of the config's results has spent already."""
    for part in config.contained():
        if layout.state(layout.trial_folder(record, part.trial_key)) == "complete":
            return cost(part).sample_flop
    return 0.0


def images_ahead(configs: Iterable[StagedConfig]) -> Counter[str]:
    """`step_key` -> training images of these trainings."""
    found: Counter[str] = Counter()
    for config in configs:
        found[config.step_key] += int(config.to_dict().get("total_images", 0))
    return found


def _costs(experiment: Experiment) -> Callable[[StagedConfig], Cost]:
    """The experiment's `cost`, counted once for settings that differ in the seed alone."""
    counted = cache(experiment.cost)

    def cost(config: StagedConfig) -> Cost:
        return counted(config.at_seed(0, 0))

    return cost


def pace(config: StagedConfig, scale: Scale) -> float:
    """Share of the scale's throughput at the config's precision."""
    return scale.paces.get(str(config.to_dict().get("precision")), 1.0)


SHAPES = ("image_size", "batch_size", "precision")  # fields that a speed depends on, of those that a setting has


def throughput(plan: Plan, scale: Scale, record: Path) -> Throughput:
    """Medians of the record's finished trials of this experiment, picture size, batch and precision, else the scale's
    own."""
    config, counted = plan.baseline, plan.experiment.cost(plan.baseline).train_flop > 0
    shapes = [name for name in SHAPES if name in config.types()]
    train: list[float] = []
    sampling: list[float] = []
    whole: list[float] = []
    for path in layout.trials_folder(record).glob("*/result.json"):
        if len(whole) == ENOUGH:
            break
        found = _setting(path.parent, type(config))
        if found is None or any(getattr(found, name) != getattr(config, name) for name in shapes):
            continue
        result = read_json(path)
        seconds = [float(result.get(f"seconds/{part}", 0.0)) for part in ("train", "sample")]
        whole.append(sum(seconds))
        if counted and "train_pflop" in result and seconds[0]:
            train.append(float(result["train_pflop"]) * 1e15 / seconds[0])
            sampling += [plan.experiment.cost(found).sample_flop / seconds[1]] if seconds[1] else []
    if train:
        return Throughput(median(train), median(sampling or train), scale.trial_seconds, MEASURED)
    if not counted:
        uncounted = f"{scale.trial_seconds:g} s per trial: no FLOP were counted"
        return Throughput(1.0, 1.0, *((median(whole), MEASURED) if any(whole) else (scale.trial_seconds, uncounted)))
    flops, unit = scale.flop_per_second, "TFLOP/s" if scale.flop_per_second >= 1e12 else "GFLOP/s"
    number = flops / (1e12 if unit == "TFLOP/s" else 1e9)
    return Throughput(flops, flops, scale.trial_seconds, f"at {number:.3g} {unit}, {scale.measured_on}")


def _setting(folder: Path, config: type[StagedConfig]) -> StagedConfig | None:
    """The setting of a finished trial; None for one of another experiment, and for a damaged one."""
    try:
        found = config.from_dict(read_json(folder / "config.json"))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if found.trial_key == folder.name else None
