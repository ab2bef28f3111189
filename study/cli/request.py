"""The command line, read and checked: what a user asked for, as plans. Everything that can be refused is refused here,
before the record is touched."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli import growing
from study.record.layout import DEFAULT_RECORD

if TYPE_CHECKING:
    from runners.config import Scalar
    from runners.tasks.iclevr.folder import Folder
    from study.design.cost import Estimate, Price
    from study.design.plan import Plan
    from study.design.plan import Request as Asked
    from study.design.registry import Named
    from study.design.scales import Scale
    from study.executors import Slot

DOC = """Run a study: train and score every arm, record it, and answer its question with a table and figures.

    python study/run.py --list
    python study/run.py --study schedules

The same command again runs only what is missing.
"""
SHOWN_ARMS = 3  # that a warning names


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python study/run.py", description=DOC, formatter_class=formatter)
    what = parser.add_argument_group("what to run").add_argument
    what("--list", action="store_true", help="list the studies, one line each with its question")
    what("--study", metavar="NAME", nargs="+", help="studies to run, one after another: names, paths of files, or all")
    what("--scale", metavar="SCALE", help="smoke, laptop, gpu or paper [default: gpu where CUDA is, else laptop]")
    what("--data", metavar="DIR", type=Path, help="an i-CLEVR folder [default: scenes are rendered]")
    what("--evaluator", metavar="FILE", type=Path, help="the official checkpoint.pth [default: a surrogate is trained]")
    what("--evaluators", metavar="N", type=int, help="surrogate evaluators whose share the intervals then hold [default: 1]")  # fmt: skip  # noqa: E501
    what("--seeds", metavar="N", type=int, help="training seeds per arm, 0 to N-1 [default: the study's]")
    what(
        "--confirmatory",
        action="store_true",
        help="plan a claim before the first look: at least 5 training seeds per arm",
    )
    what("--looks", metavar="N", type=int, nargs="+", default=[], help="of a confirmatory study: seeds per arm at which it is judged, such as 5 10")  # fmt: skip  # noqa: E501
    what("--trials", metavar="N", type=int, help="number of trials in a search [default: the study's]")
    what("--set", metavar="FIELD=VALUE", action="append", default=[], help="change a field of the baseline; repeatable")
    how = parser.add_argument_group("where and how").add_argument
    how("--record", metavar="DIR", type=Path, default=DEFAULT_RECORD, help="where everything is kept [default: mlruns]")
    how("--devices", metavar="LIST", help="cpu, or cuda:0,cuda:1 [default: every GPU, else cpu]")
    how("--per-device", metavar="N", help="workers per device; auto benchmarks candidates [default: 1 per GPU or core]")
    how("--deterministic", action="store_true", help="reproduce the same bits on a GPU too, at a cost in speed")
    how("--compile", choices=["auto", "on", "off"], default="auto", help="torch.compile; auto: only if expected savings exceed compile time [default: auto]")  # fmt: skip  # noqa: E501
    how("--retries", metavar="N", type=int, default=1, help="retries after a crash, hang or OOM [default: 1]")
    how("--worker-timeout", metavar="MINUTES", type=float, default=15.0, help="kill a worker that sends no heartbeat for this long [default: 15]")  # fmt: skip  # noqa: E501
    how("--keep-checkpoints", choices=["all", "best", "none"], default="all", help="weights to keep [default: all]")
    look = parser.add_argument_group("without running anything").add_argument
    look("--explain", metavar="ARM", help="print the trials behind the numbers of an arm")
    look("--dry-run", action="store_true", help="print arms, trials, trainings, time and disk; touch nothing")
    look(
        "--budget", metavar="HOURS", type=float, help="with --dry-run: seeds and sampling passes that so many hours buy"
    )
    look("--json", action="store_true", help="the dry run, as JSON")
    # Names of version 0.1, for one version more.
    parser.add_argument("--claim", dest="confirmatory", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--patience", dest="worker_timeout", type=float, help=argparse.SUPPRESS)
    return parser


@dataclass(frozen=True)
class Request:
    """A command that can be carried out.

    `changes` are those of the user to every baseline; `folder` is the checked `--data`, `evaluator` the checked
    `--evaluator`.
    """

    plans: Sequence[Plan]
    named: Sequence[Named]
    scale: Scale
    scale_was_chosen: bool  # because no --scale was given
    slots: Sequence[Slot]
    record: Path
    folder: Folder | None
    evaluator: Path | None
    worker_timeout: float  # seconds
    retries: int
    auto: bool  # --per-device auto: the slots are still to be benchmarked
    changes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, str]:
        """Files that the user named, for the experiment."""
        found = {"data": self.folder.root.resolve() if self.folder else None, "evaluator": self.evaluator}
        return {name: str(path) for name, path in found.items() if path is not None}


@dataclass(frozen=True)
class Job:
    """One study of a request: its plan, what is left of it, and where it runs."""

    plan: Plan
    scale: Scale
    estimate: Estimate
    where: str


def read(arguments: argparse.Namespace) -> Request:
    """Check the arguments. Raises ValueError, in one sentence, for what cannot run."""
    from study.scheduling import devices

    if arguments.study is None:
        raise ValueError("Nothing to run: write --study NAME (python study/run.py --list names them).")
    if arguments.retries < 0:
        raise ValueError(f"--retries {arguments.retries} is no number of tries: write --retries 0 or more.")
    if arguments.budget is not None and not arguments.budget > 0:
        raise ValueError(f"--budget {arguments.budget:g} buys nothing: write hours, such as --budget 2.5.")
    if arguments.budget is not None and not (arguments.dry_run or arguments.json):
        raise ValueError("--budget plans and runs nothing: add --dry-run.")
    if not arguments.worker_timeout > 0:
        given = f"--worker-timeout {arguments.worker_timeout:g}"
        raise ValueError(f"{given} ends every worker: write minutes, such as --worker-timeout 15.")
    has_cuda = devices.cuda_count() if arguments.scale is None or arguments.devices is None else 0
    changes = parse_changes(arguments.set)
    count = arguments.evaluators
    if count is not None and changes.setdefault("evaluators", count) != count:
        raise ValueError("--evaluators and --set evaluators=... name two numbers: leave one of them out.")
    asked = arguments.devices, arguments.per_device
    slots = devices.named(*asked, has_cuda, arguments.deterministic, arguments.compile)
    folder = _read_data(arguments.data, changes)
    evaluator = _read_evaluator(arguments.evaluator, changes)
    from study.design import scales

    name = arguments.scale or ("gpu" if has_cuda else "laptop")
    scale = scales.find(name)
    named = _studies(arguments)
    record, plans = arguments.record.resolve(), []
    for one in named:
        plan, kept = growing.plan_of(one, name, scale, asked_of(arguments, one, changes), record)
        plan = growing.looked_at(plan, record)
        if kept:
            print(kept, file=sys.stderr)
        check(plan)
        plans.append(plan)
    return Request(
        plans=plans,
        named=named,
        scale=scale,
        scale_was_chosen=arguments.scale is None,
        slots=slots,
        record=record,
        folder=folder,
        evaluator=evaluator,
        worker_timeout=60 * arguments.worker_timeout,
        retries=arguments.retries,
        auto=arguments.per_device == devices.AUTO,
        changes=changes,
    )


def _studies(arguments: argparse.Namespace) -> list[Named]:
    from study.design import registry

    words = list(dict.fromkeys(arguments.study))
    if "all" in words and len(words) > 1:
        raise ValueError("all stands for every study, and alone: write --study all, or the names that you want.")
    words = registry.names() if words == ["all"] else words
    named = [registry.asked(word) for word in words]
    if arguments.trials is not None and not any(one.spec.space for one in named):
        raise ValueError(f"--trials {arguments.trials} is for a search (--study search); for a grid, write --seeds N.")
    return named


def asked_of(arguments: argparse.Namespace, one: Named, changes: Mapping[str, Scalar]) -> Asked:
    """What the arguments change of one study."""
    from study.design.plan import Request as Asked

    return Asked(
        changes=changes,
        seeds=arguments.seeds,
        keep=arguments.keep_checkpoints,
        searched=arguments.trials if one.spec.space else None,
        confirmatory=arguments.confirmatory,
        looks=tuple(arguments.looks),
        digest=one.digest,
    )


def job_of(plan: Plan, request: Request, slots: Sequence[Slot]) -> Job:
    """The plan with the estimate of what the record lacks, on `slots`."""
    from study.design import cost
    from study.scheduling.devices import describe

    elsewhere = (request.scale.machine == "gpu") == all(slot.device == "cpu" for slot in slots)
    where = f"one machine that the scale is made for, not {describe(slots)}" if elsewhere else describe(slots)
    estimate = cost.estimate(plan, request.scale, request.record, 1 if elsewhere else len(slots))
    return Job(plan, request.scale, estimate, where)


def price_of(plan: Plan, request: Request) -> Price:
    """What a seed of the plan takes on the request's slots."""
    from study.design import cost

    elsewhere = (request.scale.machine == "gpu") == all(slot.device == "cpu" for slot in request.slots)
    return cost.price(plan, request.scale, request.record, 1 if elsewhere else len(request.slots))


# --- single arguments ----------------------------------------------------------------------------------


def parse_changes(settings: Sequence[str]) -> dict[str, Scalar]:
    """`--set field=value`, typed. Raises ValueError for what sets nothing, or not what it should."""
    from runners.ddpm.config import TrialConfig

    changes: dict[str, Scalar] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} sets nothing: write --set field=value, such as --set lr=0.001.")
        value = TrialConfig.read_value(name, text)
        if name in changes:
            raise ValueError(f"--set {name}=... is given twice: leave one of them out.")
        changes[name] = value
    for name, option in (("data", "--data DIR"), ("evaluator", "--evaluator FILE")):
        if str(changes.get(name, "")).startswith(("folder(", "checkpoint(")):
            raise ValueError(f"{name}={changes[name]!r} is a digest of a file: give the file with {option}.")
    return changes


def _read_data(path: Path | None, changes: dict[str, Scalar]) -> Folder | None:
    """Check `--data`; the config gets the digest of what is in it."""
    if path is None:
        return None
    from runners.tasks.iclevr.folder import read_folder

    folder = read_folder(path)
    changes["data"] = folder.config
    return folder


def _read_evaluator(path: Path | None, changes: dict[str, Scalar]) -> Path | None:
    """Check `--evaluator`, and say whether it is the official one."""
    if path is None:
        return None
    from runners.config import Call
    from runners.evaluation.official import is_official, load_checkpoint

    _, sha256 = load_checkpoint(path)
    verdict = "is the official evaluator" if is_official(sha256) else "is NOT the official evaluator"
    print(f"{path} {verdict} (sha256 {sha256[:12]}...)", file=sys.stderr)
    changes["evaluator"] = str(Call("checkpoint", (("sha256", sha256),)))
    return path.resolve()


def check(plan: Plan) -> None:
    """Refuse what cannot run (ValueError), and say on standard error what will limit the answer."""
    experiment = plan.experiment
    corners = [
        plan.baseline.replace(**{name: value})
        for name, dimension in plan.space.items()
        for value in dimension.corners()
    ]
    settings = {trial.arm: trial.config.at_seed(0, 0) for trial in plan.trials}
    for config in dict.fromkeys([*settings.values(), *corners]):
        experiment.check(config)
    arms_of: dict[str, list[str]] = {}
    for arm, config in settings.items():
        for text in experiment.warnings(config):
            arms_of.setdefault(text, []).append(arm)
    for text, arms in arms_of.items():
        others = f" and {len(arms) - SHOWN_ARMS} more" if len(arms) > SHOWN_ARMS else ""
        print(f"Warning ({', '.join(arms[:SHOWN_ARMS])}{others}): {text}", file=sys.stderr)
