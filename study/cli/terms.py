"""What a command says to the studies of each experiment: the fields that it changes, the files that it names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli import data

if TYPE_CHECKING:
    from runners.config import Scalar
    from runners.experiment import Given
    from study.design.plan import Plan
    from study.design.registry import Named
    from study.design.scales import Scale

ALL = "all"  # of --study


@dataclass(frozen=True)
class Terms:
    """What a command says to the studies of one experiment.

    `changes` are those of the user to every baseline; `given` is the checked `--data`, `evaluator` the checked
    `--evaluator`.
    """

    scale: Scale
    scale_name: str
    changes: Mapping[str, Scalar]
    given: Given | None = None
    evaluator: Path | None = None


def gathered(
    named: Sequence[Named], read_as: Mapping[str, str], preferred: str, arguments: argparse.Namespace
) -> dict[str, Terms]:
    """Experiment -> what the arguments say to its studies. Of all studies those of an experiment are left out that
    cannot take the arguments, which is said."""
    found: dict[str, Terms] = {}
    refused: dict[str, ValueError] = {}
    for experiment in dict.fromkeys(one.spec.experiment for one in named):
        try:
            found[experiment] = _terms_of(experiment, read_as, preferred, arguments)
        except ValueError as error:
            if arguments.study != [ALL]:
                raise
            refused[experiment] = error
    if not found:
        raise next(iter(refused.values()))
    for experiment, why in refused.items():
        print(f"The studies of {experiment} are left out: {why}", file=sys.stderr)
    return found


def _terms_of(experiment: str, read_as: Mapping[str, str], preferred: str, arguments: argparse.Namespace) -> Terms:
    """Raises ValueError for arguments that are nothing to this experiment."""
    from runners.experiment import find
    from study.design import scales

    config = find(experiment).Config
    changes = parse_changes(arguments.set, experiment)
    count, record = arguments.evaluators, arguments.record.resolve()
    for option, name in (("--evaluators", "evaluators"), ("--evaluator", "evaluator")):
        if getattr(arguments, name) is not None and name not in config.types():
            raise ValueError(f"{option}: the experiment {experiment} has no evaluator; leave it out.")
    if count is not None and changes.setdefault("evaluators", count) != count:
        raise ValueError("--evaluators and --set evaluators=... name two numbers: leave one of them out.")
    given = data.read(experiment, read_as, record, changes) if read_as else None
    evaluator = _read_evaluator(arguments.evaluator, changes)
    name = arguments.scale or scales.usual(experiment, preferred)
    return Terms(scales.of(experiment, name), name, changes, given, evaluator)


def parse_changes(settings: Sequence[str], experiment: str) -> dict[str, Scalar]:
    """`--set field=value`, typed as the experiment's Config says. Raises ValueError for what sets nothing, or the wrong
    thing."""
    from runners.experiment import find
    from study.design.spec import owners_of

    config = find(experiment).Config
    changes: dict[str, Scalar] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} sets nothing: write --set field=value, such as --set lr=0.001.")
        if name not in config.types() and (owners := owners_of(name)):
            raise ValueError(
                f"--set {name}=...: {name} is a field of the experiment {' and '.join(owners)}, and this study runs "
                f"{experiment}; write one of {', '.join(config.types())}."
            )
        value = config.read_value(name, text)
        if name in changes:
            raise ValueError(f"--set {name}=... is given twice: leave one of them out.")
        changes[name] = value
    for name, option in (("data", "--data DIR"), ("evaluator", "--evaluator FILE")):
        if any(f"{digest}=" in str(changes.get(name, "")) for digest in ("digest", "sha256")):
            raise ValueError(f"{name}={changes[name]!r} is a digest of a file: give the file with {option}.")
    return changes


def _read_evaluator(path: Path | None, changes: dict[str, Scalar]) -> Path | None:
    """The file of `--evaluator`, whose digest the config gets."""
    if path is None:
        return None
    from runners.config import Call
    from runners.evaluation import official, own
    from runners.process.files import sha256

    if path.suffix == official.SUFFIX:
        _, digest = official.load_checkpoint(path)
        verdict = "is the official evaluator" if official.is_official(digest) else "is NOT the official evaluator"
        print(f"{path} {verdict} (sha256 {digest[:12]}...)", file=sys.stderr)
    else:
        own.require_file(str(path))
        digest = sha256(path)
    changes["evaluator"] = str(Call("checkpoint", (("sha256", digest),)))
    return path.resolve()


def check_evaluator(path: Path | None, plan: Plan) -> None:
    """Raises ValueError for an evaluator of the user's that cannot score the images of every arm."""
    if path is None:
        return
    from runners.evaluation import evaluator

    for size in {int(trial.config.to_dict()["image_size"]) for trial in plan.trials}:
        evaluator.users(str(path), size, plan.task)
