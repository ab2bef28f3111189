"""What an experiment is: the contract between the harness, which asks, and the runners, which do one trial.

An experiment is a package that offers `Config`, `task`, `run` and, where it has more to say, the other functions of
`Experiment`: `runners/<name>/`, or a folder beside a study's own file. A study names it (`StudySpec.experiment`). The
harness works from these alone. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from runners import packages
from runners.config import Scalar, StagedConfig

# --- what is measured --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListSpec:
    """A list of conditions that every trial is scored on. Choosing, tuning and pruning use the list whose role is
    `choose`; those with the role `report` are only reported. `of`: which images a list is of, where lists are of
    different ones, such as two domains; their outcomes are not pooled."""

    name: str
    role: Literal["choose", "report"]
    of: str = ""


@dataclass(frozen=True)
class Metric:
    """A score that arms are compared by. `is_share`: a proportion in [0, 1]; `margin`: a difference that would not
    matter, where a study names no other; None where its scale says nothing of that."""

    name: str
    higher_is_better: bool = True
    is_share: bool = True
    margin: float | None = 0.05

    def on(self, name: str) -> str:
        """The column of a result that holds the metric of a list: "accuracy/test"."""
        return f"{self.name}/{name}"


ACRONYMS = re.compile(r"(?<![a-z])(kid|fid|ece)(?![a-z])")


def metric_name(metric: str) -> str:
    """A score as it is read: "KID/validation" of the column "kid/validation"; files keep the names of their columns."""
    return ACRONYMS.sub(lambda found: found[0].upper(), metric)


def oracle_of(metric: str) -> str:
    """The column of the same score at a checkpoint that was chosen by what a user does not have: of "accuracy/test"
    "accuracy_oracle/test". It is shown as such, and nothing is decided by it."""
    name, _, of_list = metric.partition("/")
    return f"{name}_oracle/{of_list}"


Kind = Literal["set", "class", "none"]


@dataclass(frozen=True)
class Task:
    """What the images of a setting are and are scored on, as far as it is known without them.

    `kind`: an image has a set of labels, one class, or none; `classes`: the labels there are, K; `conditions`: of all
    lists together, of which a sampling pass draws one sample each; `images`: about how many there are, with those held
    out; `mirror`: whether a mirrored picture still shows its labels.
    """

    name: str
    kind: Kind
    classes: int
    metric: Metric
    lists: tuple[ListSpec, ...]
    conditions: int
    images: int
    mirror: bool = False

    def scores(self, *roles: Literal["choose", "report"]) -> list[str]:
        """The columns of the metric on the lists of these roles; without any, on all."""
        return [self.metric.on(one.name) for one in self.lists if not roles or one.role in roles]

    @property
    def choice_list(self) -> str:
        """The list that every choice is made on."""
        return next(one.name for one in self.lists if one.role == "choose")

    @property
    def choice(self) -> str:
        """The column that every choice is made on."""
        return self.metric.on(self.choice_list)


# --- what a trial is given, and what it says ----------------------------------------------------------


@dataclass(frozen=True)
class ExecutionContext:
    """Where a trial runs and what it reads: nothing here changes its result by more than rounding.

    `inputs`: files that the user named, such as {"evaluator": "checkpoint.pth"}.
    """

    record: str
    device: str
    threads: int = 1
    colocated: int = 1  # workers that share the device, or the CPU core, so that seconds do not compare with others'
    curve_points: int = 5
    deterministic: bool = False  # only algorithms that give the same bits each time; a GPU has faster ones
    compile: str = "auto"  # torch.compile of the training: auto, on or off
    images_ahead: int = 0  # training images of this network that the worker can expect, this trial's among them
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """<record>/cache: what trials share, and what is made again when it is deleted."""
        return Path(self.record) / "cache"


@dataclass(frozen=True)
class Progress:
    """How far something is that takes long: `done` of `total`, at `rate` per second where that is known."""

    what: str
    done: int
    total: int
    rate: float = 0.0


@dataclass(frozen=True)
class Curve:
    """New lines of the learning curve; each names the `images` it was reported at, of `total` images."""

    lines: tuple[Mapping[str, float], ...]
    total: int


@dataclass(frozen=True)
class Note:
    """Something unusual, in a sentence."""

    text: str


Event = Progress | Curve | Note


# --- the contract -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What a setting takes, in floating-point operations (2 x multiply-adds); all 0 where nobody counted.

    `evaluations`: forward passes that one sample takes; `checkpoint_bytes`: of one copy of the weights; `passes`: how
    often everything is sampled, which `sample_flop` covers; `data_bytes`: of what `prepare` writes for all trials.
    """

    train_flop: float = 0.0
    step_flop: float = 0.0  # of one training step
    sample_flop: float = 0.0
    evaluations: int = 0
    parameters: int = 0
    checkpoint_bytes: int = 0
    passes: int = 1
    data_bytes: int = 0


class Given(Protocol):
    """What an experiment read of the files that a user names.

    `changes`: the fields that they set: the content, never a path. Optional: `decode(config, cache)` and
    `write(config, cache)`, generators of Progress that do before the study what `prepare` would do in it, so that what
    cannot be used is bad input and no failed study; nothing is written before `write`.
    """

    @property
    def count(self) -> int:
        """How many images there are."""

    @property
    def changes(self) -> Mapping[str, Scalar]: ...

    def sentences(self, config: Any) -> list[str]:
        """What was found, and one sentence for each thing that was done with it."""


class Experiment(Protocol):
    """What the package of an experiment offers.

    `Config`, `task` and `run` must be there; of the others, those that are missing are as in `Left`. Two more are
    optional and mean something where they are missing:

    `SCALES`: scale -> fields in which its baseline differs from `Config()`. Without it every scale is `Config()`.
    `read(inputs, cache)`: a generator of Progress that returns what `--data` is, a `Given`. `inputs`: "data", a path;
    "task", what the user says that it is ("": as it is found); "allow_unlabelled", if not "". `cache`: what is known of
    files that were read before, or None. Raises ValueError, in one sentence. Without it `--data` is refused.
    """

    Config: type[StagedConfig]

    def task(self, config: Any) -> Task:
        """Whose images a setting is about. Raises ValueError for data that are unknown."""

    def at_scale(self, config: Any, scale: str) -> dict[str, Scalar]:
        """The fields in which the baseline of a scale, `config`, is another for this task."""

    def check(self, config: Any) -> None:
        """Raises ValueError, with what to write instead, for a setting that cannot run."""

    def warnings(self, config: Any) -> list[str]:
        """Sentences on what will limit the meaning of a trial of this setting."""

    def cost(self, config: Any) -> Cost:
        """What one trial takes."""

    def more_surrogates(self, config: Any, record: Path) -> int:
        """How many surrogate evaluators beyond the first `prepare` has to train for a record."""

    def prepare(self, config: Any, context: ExecutionContext) -> Iterator[Event]:
        """Make what all trials of a record share (data, the evaluators), where it is not there yet."""

    def run(self, config: Any, context: ExecutionContext) -> Iterator[Event]:
        """One trial, up to its finished folder <record>/trials/<trial_key>/ (`runners.trial_folder`)."""

    def steps(self, config: Any, device: str, execution: str) -> tuple[str, Iterator[int]]:
        """An endless trial on noise, for `runners.process.benchmark`: what it is executed as, and the training images
        that each step took; its memory has been taken. `execution`: "auto", or what another worker said."""

    def training_damage(self, folder: Path) -> str:
        """What is wrong with a finished training's files, in words; "" when each is what was written."""


class Left:
    """What stands in for the functions that a package leaves out."""

    @staticmethod
    def at_scale(config: Any, scale: str) -> dict[str, Scalar]:
        return {}

    @staticmethod
    def check(config: Any) -> None:
        return None

    @staticmethod
    def warnings(config: Any) -> list[str]:
        return []

    @staticmethod
    def cost(config: Any) -> Cost:
        return Cost()

    @staticmethod
    def more_surrogates(config: Any, record: Path) -> int:
        return 0

    @staticmethod
    def prepare(config: Any, context: ExecutionContext) -> Iterator[Event]:
        return iter(())

    @staticmethod
    def steps(config: Any, device: str, execution: str) -> tuple[str, Iterator[int]]:
        raise ValueError("the experiment has no `steps`")

    @staticmethod
    def training_damage(folder: Path) -> str:
        return ""


def scales_of(experiment: Experiment) -> Mapping[str, Mapping[str, Scalar]] | None:
    """The experiment's own SCALES; None where it leaves them out."""
    found: Mapping[str, Mapping[str, Scalar]] | None = getattr(experiment, "SCALES", None)
    return found


def reader_of(experiment: Experiment) -> Reader | None:
    """The experiment's `read`; None where it reads no files of the user's."""
    found: Reader | None = getattr(experiment, "read", None)
    return found


class Reader(Protocol):
    def __call__(self, inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Given]: ...


def find(name: str) -> Experiment:
    """The experiment of a name, or of the path of a package, with what it leaves out filled in.

    Raises ValueError for one that is not there or is none.
    """
    package = packages.find(name)
    for left in (left for left in vars(Left) if not left.startswith("_") and not hasattr(package, left)):
        setattr(package, left, getattr(Left, left))
    return cast(Experiment, package)


def leaves_out(experiment: Experiment, function: str) -> bool:
    """Whether a package has the stand-in for one of its functions."""
    return getattr(experiment, function) is getattr(Left, function)
