"""From a spec to its trials: arms x seeds, and the trainings that they share. Pure: nothing is read or written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from runners.config import Scalar, StagedConfig
from runners.experiment import Experiment, Task
from runners.experiment import find as find_experiment
from study.design import training_seeds
from study.design.scales import Scale
from study.design.space import Dimension
from study.design.spec import Arm, Design, StudySpec
from study.record import recorded
from study.record.schema import Keep, Search, Study, StudyTrial

BASELINE, WINNER = "baseline", "winner"  # the arms of a search
FINALIST = "finalist "  # and the number of the suggestion: its arm where it is trained again
Stage = Literal["grid", "search", "finalists", "answer"]  # of a search its three, in this order


@dataclass(frozen=True)
class Trial:
    """An arm at one training seed. `seed` is the block: the arms of a block are compared with each other. It is the
    config's own, unless the arm sets a seed, which then shifts it: the same setting trained independently."""

    arm: str
    config: StagedConfig
    seed: int

    @cached_property
    def key(self) -> str:
        return self.config.trial_key

    @cached_property
    def train_key(self) -> str:
        return self.config.train_key

    @property
    def name(self) -> str:
        return f"{self.arm} seed={self.seed}"

    def as_recorded(self, run_ids: Mapping[str, str]) -> StudyTrial:
        """What study.json says of it; `run_ids`: trial_key -> run of MLflow."""
        return StudyTrial(
            arm=self.arm,
            seed=self.seed,
            trial_key=self.key,
            train_key=self.train_key,
            run_id=run_ids.get(self.key, ""),
            config=self.config.to_dict(),
        )


@dataclass(frozen=True)
class Request:
    """What a user may change of a study.

    `changes` are those to the scale's baseline (`--set`, `--data`, `--evaluator`); `seeds` and `searched` replace the
    study's own numbers; `looks` are the numbers of seeds at which a confirmatory study is to be judged; `digest` is
    that of a study's file outside the project.
    """

    changes: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    seeds: int | None = None
    keep: Keep = "all"
    searched: int | None = None
    confirmatory: bool = False
    looks: tuple[int, ...] = ()
    digest: str = ""


@dataclass(frozen=True)
class Plan:
    """What a launch is to have when it ends.

    A search with a `space` has three stages: `searched` suggestions on one seed; the `most_finalists` best of them
    again on the `selection_seeds`, which choose the winner; winner and baseline on `seeds`, on which nothing was
    chosen. `trials` are those of the last stage: of the baseline, and of the winner once known. `finalists` are those
    of the second one, once known.
    """

    study: str
    scale: str
    study_id: str
    spec: StudySpec
    design: Design
    baseline: StagedConfig
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    keep: Keep = "all"
    space: Mapping[str, Dimension] = dataclasses.field(default_factory=dict)
    searched: int = 0  # trials of the search
    confirmatory: bool = False
    stage: Stage = "grid"
    most_finalists: int = 0
    selection_seeds: tuple[int, ...] = ()
    finalists: tuple[Trial, ...] = ()
    planned_looks: tuple[int, ...] = ()
    looks: tuple[int, ...] = ()  # that the record knows of: numbers of seeds at which the study was judged

    @property
    def experiment(self) -> Experiment:
        return find_experiment(self.spec.experiment)

    @cached_property
    def task(self) -> Task:
        """Whose images the study is about."""
        return self.experiment.task(self.baseline)

    @property
    def metric(self) -> str:
        """The score that arms are compared by, and every choice is made by."""
        return self.spec.metric_on(self.task)

    @property
    def answered_in(self) -> str:
        """The score that the question is answered in."""
        return self.spec.answered_in(self.task)

    @property
    def due(self) -> tuple[Trial, ...]:
        """The trials that a launch of this stage is to have when it ends; a search's suggestions are not known yet."""
        return self.finalists if self.stage == "finalists" else self.trials

    @property
    def due_factors(self) -> Mapping[str, tuple[Scalar, ...]]:
        """The fields that differ between the arms of `due`, with their values."""
        if self.stage != "finalists":
            return self.design.factors
        settings = [trial.config.to_dict() for trial in self.finalists]
        return {name: tuple(dict.fromkeys(fields[name] for fields in settings)) for name in self.space}

    @property
    def notes(self) -> list[str]:
        """The spec's notes, and what the number of seeds is good for."""
        kind = "Confirmatory" if self.confirmatory else "Exploratory"
        return [*self.spec.notes, f"{kind}: {len(self.seeds)} training seed{'s' * (len(self.seeds) != 1)} per arm."]

    @property
    def published(self) -> Mapping[str, Mapping[str, float]]:
        """The spec's published numbers, where they are of this task."""
        return self.spec.published if self.spec.published_on == self.task.name else {}

    @property
    def train_keys(self) -> list[str]:
        """The distinct trainings, in order."""
        return list(dict.fromkeys(trial.train_key for trial in self.trials))

    @property
    def comparisons(self) -> int:
        """Tests that share the .05: every arm that is compared with another; winner and baseline of a search; with
        nuisance factors every setting that is, at its best value of them."""
        if self.space:
            return 1
        if self.spec.nuisance:
            asked = [name for name in self.design.factors if name not in self.spec.nuisance]
            settings = [trial.config.to_dict() for trial in self.trials]
            return len({tuple(fields[name] for name in asked) for fields in settings}) - 1
        return len(self.design.against) + len(self.design.contrasts)

    def with_another_seed(self) -> Plan:
        """The plan of one seed more, whether or not it is a look that was planned: what it would cost."""
        seeds = (*self.seeds, self.seeds[-1] + 1)
        return dataclasses.replace(self, seeds=seeds, trials=_trials(self.design.arms, self.baseline, seeds))

    def with_finalists(self, suggestions: Mapping[int, Mapping[str, Scalar]]) -> Plan:
        """The plan of a finished search: its best suggestions (number -> fields) on the seeds that choose."""
        arms = {f"{FINALIST}{number}": params for number, params in suggestions.items()}
        finalists = _trials(arms, self.baseline, self.selection_seeds)
        return dataclasses.replace(self, stage="finalists", finalists=finalists)

    def with_winner(self, params: Mapping[str, Scalar]) -> Plan:
        """The plan of a search that has chosen: its winner beside the baseline, on seeds that chose nothing.

        The baseline is alone where it is the winner itself.
        """
        if self.baseline.replace(**params) == self.baseline:
            return dataclasses.replace(self, stage="answer")
        arms: dict[str, Mapping[str, Scalar]] = {BASELINE: {}, WINNER: dict(params)}
        spec = dataclasses.replace(self.spec, arms=arms, baseline_arm=BASELINE)
        design = spec.design(self.scale, self.baseline)
        trials = _trials(design.arms, self.baseline, self.seeds)
        return dataclasses.replace(self, stage="answer", design=design, trials=trials)

    def as_study(self, launched: str, command: str, run_ids: Mapping[str, str], search: Search | None) -> Study:
        """What study.json says of it: all that a reader of the record needs to know."""
        return Study(
            study_id=self.study_id,
            study=self.study,
            scale=self.scale,
            question=self.spec.question,
            launched=launched,
            command=command,
            experiment=self.spec.experiment,
            **recorded.described(self.spec.experiment),
            metric=self.metric,
            task=self.task,
            factors={name: tuple(values) for name, values in self.design.factors.items()},
            nuisance=tuple(self.spec.nuisance),
            arms=tuple(self.design.arms),
            baseline_arm=self.design.baseline_arm,
            against=dict(self.design.against),
            contrasts={name: dict(weights) for name, weights in self.design.contrasts.items()},
            crosstab=dict(self.design.crosstab),
            baseline=self.baseline.to_dict(),
            seeds=self.seeds,
            published={arm: dict(values) for arm, values in self.published.items()},
            notes=tuple(self.spec.notes),
            margin=self.spec.margin if self.task.metric.is_share else None,  # of another score it would mean nothing
            margin_reason=self.spec.margin_reason if self.task.metric.is_share else "",
            claim=self.confirmatory,
            planned_looks=self.planned_looks,
            looks=self.looks,
            keep_checkpoints=self.keep,
            trials=tuple(trial.as_recorded(run_ids) for trial in self.trials),
            search=search and _indexed(search, run_ids),
        )


def _indexed(search: Search, run_ids: Mapping[str, str]) -> Search:
    """The search with the MLflow runs of its finalists; those that are not asked for stay."""
    finalists = [
        trial.model_copy(update={"run_id": run_ids.get(trial.trial_key, trial.run_id)}) for trial in search.finalists
    ]
    return search.model_copy(update={"finalists": tuple(finalists)})


def make(
    study: str,
    spec: StudySpec,
    scale_name: str,
    scale: Scale,
    asked: Request,
    kept: Mapping[str, Scalar] = MappingProxyType({}),
) -> Plan:
    """Arms x seeds. Seeds come outermost: an interrupted study has every arm at the first seeds, not some arms at all.

    `kept`: fields of the scale's setting as the study was begun with.
    Raises ValueError for a task that the study is not for, when a change names a factor of the study, or a number of
    seeds or trials runs nothing.
    """
    for name in asked.changes:
        if name in scale.config.replicated():
            raise ValueError(f"The {name} is a replication, not a setting: write --seeds N for seeds 0 to N-1.")
    if asked.searched is not None and asked.searched < 1:
        raise ValueError(f"--trials {asked.searched} suggests nothing: write --trials 1 or more.")
    training_seeds.check_looks(asked.looks, asked.confirmatory)
    count = training_seeds.count(asked.seeds, asked.looks, asked.confirmatory, scale.seeds or spec.seeds)
    experiment, baseline = find_experiment(spec.experiment), _baseline(spec, scale_name, scale, asked.changes, kept)
    task = experiment.task(baseline)
    spec.check_task(task)
    design = spec.design(scale_name, baseline)
    space = spec.space(scale_name, baseline) if callable(spec.space) else spec.space or {}
    for name in asked.changes:
        if any(name in arm for arm in design.arms.values()) or name in space:
            raise ValueError(f"{name!r} is a factor of the study {study}: it cannot be --set; change another field.")
    trials = _trials(design.arms, baseline, (0,))
    for other in map(experiment.task, {trial.config for trial in trials}):
        if (other.kind, other.metric, other.lists) != (task.kind, task.metric, task.lists):
            raise ValueError(f"The arms of {study} are about tasks with other scores, {task.name} and {other.name}.")
    choosing = training_seeds.choosing(min(spec.selection_seeds, scale.seeds or spec.selection_seeds)) if space else ()
    numbers = training_seeds.after(choosing, count)
    return Plan(
        study=study,
        scale=scale_name,
        study_id=_study_id(study, scale_name, asked.changes, asked.digest),
        spec=spec,
        design=design,
        baseline=baseline,
        seeds=numbers,
        trials=_trials(design.arms, baseline, numbers),
        keep=asked.keep,
        space=space,
        searched=(asked.searched or spec.trials) if space else 0,
        confirmatory=asked.confirmatory,
        planned_looks=(asked.looks or (count,)) if asked.confirmatory else (),
        stage="search" if space else "grid",
        most_finalists=spec.finalists if space else 0,
        selection_seeds=choosing,
    )


def _baseline(
    spec: StudySpec, scale_name: str, scale: Scale, changes: Mapping[str, Scalar], kept: Mapping[str, Scalar]
) -> StagedConfig:
    """The scale's setting, changed by its task, by what the study was begun with, by the study, and by the user."""
    changed = {**kept, **spec.fixed, **spec.baseline, **changes}
    data = {name: value for name, value in changed.items() if name == "data"}
    experiment = find_experiment(spec.experiment)
    return scale.baseline({**experiment.at_scale(scale.baseline(data), scale_name), **changed})


def _trials(arms: Mapping[str, Arm], baseline: StagedConfig, seeds: Sequence[int]) -> tuple[Trial, ...]:
    return tuple(
        Trial(name, baseline.replace(**arm).at_seed(seed + int(arm.get("seed", 0)), seed), seed)
        for seed in seeds
        for name, arm in arms.items()
    )


def continued(plan: Plan, known: Study | None, judged: bool) -> Plan:
    """The plan with what the record knows of its looks; `judged`: the study there is complete.

    A claim is planned before the first look. Raises ValueError where one is made after it, where its looks change, or
    where its seeds are none of them.
    """
    if known is None:
        return plan
    before = len(known.seeds)
    looks = tuple(sorted({*known.looks, *((before,) if judged and before > 1 else ())}))
    n = len(plan.seeds)
    if not plan.confirmatory:
        kept = known.claim and n in (known.planned_looks or (before,))
        planned = (known.planned_looks or (before,)) if kept else ()
        return dataclasses.replace(plan, looks=looks, confirmatory=kept, planned_looks=planned)
    if looks and not known.claim:
        raise ValueError(
            f"The study {plan.study_id} was looked at with {', '.join(map(str, looks))} seeds before it was planned "
            "as a claim: leave --confirmatory out; a claim needs trainings that nobody has looked at."
        )
    # A claim without --looks goes on with those that it was planned with.
    planned = known.planned_looks or (before,) if known.claim else plan.planned_looks
    if looks and plan.planned_looks not in (planned, (n,)):
        written = " ".join(map(str, planned))
        raise ValueError(f"The looks of {plan.study_id} were planned before the first one: write --looks {written}.")
    if looks and n not in planned:
        words = " or ".join(f"--seeds {look}" for look in planned)
        raise ValueError(f"{plan.study_id} was planned with {words}: write one of them, or leave --confirmatory out.")
    return dataclasses.replace(plan, looks=looks, planned_looks=planned if looks else plan.planned_looks)


def _study_id(study: str, scale: str, changes: Mapping[str, Scalar], file_digest: str) -> str:
    """ "schedules-laptop"; another baseline is another study, so its changes are hashed into the name, and so is the
    file of a study that is none of the project's own."""
    if not changes and not file_digest:
        return f"{study}-{scale}"
    hashed = json.dumps(dict(changes), sort_keys=True) if changes else ""
    digest = hashlib.sha256((hashed + file_digest).encode()).hexdigest()[:6]
    data = str(changes.get("data", ""))
    source = f"-{data.partition('(')[0]}" if "digest=" in data else ""
    return f"{study}-{scale}{source}-{digest}"
