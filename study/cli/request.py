"""The command line, read and checked: what a user asked for, as plans. Everything that can be refused is refused here,
before the record is touched."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.cli import data, growing, terms
from study.cli.terms import ALL, Terms
from study.record.layout import DEFAULT_RECORD, given_path, require_open

if TYPE_CHECKING:
    from runners.config import Scalar
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
    what(
        "--scale",
        metavar="SCALE",
        help="smoke, laptop, workstation, gpu or paper [default: gpu where CUDA is, else laptop]",
    )
    what("--data", metavar="PATH", type=given_path, help="your images: a folder of class folders, one with a table, or arrays [default: the scale's]")  # fmt: skip  # noqa: E501
    what(
        "--task", metavar="NAME", default="", help="what they are: classes, sets, images or iclevr [default: as found]"
    )
    what("--allow-unlabelled", action="store_true", help="go on without images that have no label")
    what(
        "--evaluator",
        metavar="FILE",
        type=given_path,
        help="the official checkpoint.pth [default: a surrogate is trained]",
    )
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
    how(
        "--record",
        metavar="DIR",
        type=given_path,
        default=DEFAULT_RECORD,
        help="where everything is kept [default: mlruns]",
    )
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
    """A command that can be carried out; `terms`: experiment -> what it says to its studies."""

    plans: Sequence[Plan]
    named: Sequence[Named]
    terms: Mapping[str, Terms]
    scale_was_chosen: bool  # because no --scale was given
    slots: Sequence[Slot]
    record: Path
    read_as: Mapping[str, str]  # what the experiments' `read` was given for `--data`
    worker_timeout: float  # seconds
    retries: int
    auto: bool  # --per-device auto: the slots are still to be benchmarked

    def of(self, plan: Plan) -> Terms:
        return self.terms[plan.spec.experiment]

    def inputs(self, plan: Plan) -> dict[str, str]:
        """Files that the user named, for the experiment."""
        evaluator = self.of(plan).evaluator
        return {**self.read_as, **({"evaluator": str(evaluator)} if evaluator else {})}

    @property
    def images(self) -> list[data.Images]:
        """Those of each experiment."""
        first = {plan.spec.experiment: plan for plan in reversed(self.plans)}
        return [data.Images(self.of(plan).given, plan, self.record / "cache") for plan in first.values()]


@dataclass(frozen=True)
class Job:
    """One study of a request: its plan, what is left of it, and where it runs."""

    plan: Plan
    scale: Scale
    estimate: Estimate
    where: str


def read(arguments: argparse.Namespace) -> Request:
    """Check the arguments. Raises ValueError, in one sentence, for what cannot run."""
    from runners.process import apart
    from study.scheduling import devices

    if arguments.study is None:
        raise ValueError("Nothing to run: write --study NAME (python study/run.py --list names them).")
    require_open(arguments.record)
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
    asked = arguments.devices, arguments.per_device
    slots = devices.named(*asked, has_cuda, arguments.deterministic, arguments.compile)
    read_as, named = data.read_as(arguments), _studies(arguments)
    found = terms.gathered(named, read_as, "gpu" if has_cuda else "laptop", arguments)
    named = [one for one in named if one.spec.experiment in found]
    with apart.opened():  # this process stays as long as the study runs, and builds no network
        planned = [(one, _plan(one, found[one.spec.experiment], arguments)) for one in named]
    named, plans = [one for one, plan in planned if plan], [plan for _, plan in planned if plan]
    if not plans:
        raise ValueError("No study can run: each was left out, for the reasons above.")
    for plan in plans:
        terms.check_evaluator(found[plan.spec.experiment].evaluator, plan)
    for sentence in slow_arithmetic(plans, slots):
        print(f"Warning: {sentence}", file=sys.stderr)
    return Request(
        plans=plans,
        named=named,
        terms=found,
        scale_was_chosen=arguments.scale is None,
        slots=slots,
        record=arguments.record.resolve(),
        read_as=read_as,
        worker_timeout=60 * arguments.worker_timeout,
        retries=arguments.retries,
        auto=arguments.per_device == devices.AUTO,
    )


def _plan(one: Named, said: Terms, arguments: argparse.Namespace) -> Plan | None:
    """The plan of a study; of all studies None for one that makes no sense for these images, which is said."""
    from study.design import registry
    from study.design.spec import WrongKind

    record = arguments.record.resolve()
    try:
        asked = asked_of(arguments, one, said.changes)
        plan, kept = growing.plan_of(one, said.scale_name, said.scale, asked, record)
    except ValueError as error:
        if arguments.study == [ALL]:
            print(f"{one.name} is left out: {str(error).rstrip('.')}.", file=sys.stderr)
            return None
        if not isinstance(error, WrongKind):
            raise
        fitting = ", ".join(registry.fitting(error.kind, one.spec.experiment))
        instead = f" Write --study with one of {fitting}." if fitting else ""
        raise ValueError(f"The study {one.name} cannot run: {error}.{instead}") from None
    plan = growing.looked_at(plan, record)
    if kept:
        print(kept, file=sys.stderr)
    check(plan)
    return plan


def _studies(arguments: argparse.Namespace) -> list[Named]:
    from study.design import registry

    words = list(dict.fromkeys(arguments.study))
    if ALL in words and len(words) > 1:
        raise ValueError("all stands for every study, and alone: write --study all, or the names that you want.")
    words = registry.names() if words == [ALL] else words
    named = [registry.asked(word) for word in words]
    if arguments.trials is not None and not any(one.spec.space for one in named):
        raise ValueError(f"--trials {arguments.trials} is for a search (--study search); for a grid, write --seeds N.")
    return named


def slow_arithmetic(plans: Sequence[Plan], slots: Sequence[Slot]) -> list[str]:
    """One sentence for each precision of the plans' settings that the cores compute only by a detour."""
    from runners.process.cores import slow_bf16

    if all(slot.device != "cpu" for slot in slots):
        return []
    configs = [config for plan in plans for config in (plan.baseline, *(trial.config for trial in plan.trials))]
    asked = sorted({str(config.to_dict().get("precision")) for config in configs} & {"bf16", "bf16_copy"})
    if not asked or not slow_bf16():
        return []
    return [
        f"these cores have no instructions for bf16, so precision={precision} is slower on them than fp32: write "
        "--set precision=fp32, which is another setting with numbers of its own"
        for precision in asked
    ]


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

    scale = request.of(plan).scale
    elsewhere = (scale.machine == "gpu") == all(slot.device == "cpu" for slot in slots)
    where = f"one machine that the scale is made for, not {describe(slots)}" if elsewhere else describe(slots)
    estimate = cost.estimate(plan, scale, request.record, 1 if elsewhere else len(slots))
    return Job(plan, scale, estimate, where)


def price_of(plan: Plan, request: Request) -> Price:
    """What a seed of the plan takes on the request's slots."""
    from study.design import cost

    scale = request.of(plan).scale
    elsewhere = (scale.machine == "gpu") == all(slot.device == "cpu" for slot in request.slots)
    return cost.price(plan, scale, request.record, 1 if elsewhere else len(request.slots))


# --- what is said of it ----------------------------------------------------------------------------------


def print_found(request: Request) -> None:
    """What `--data` is, and what was done with it, on standard error."""
    for images in request.images:
        for sentence in images.sentences():
            print(sentence, file=sys.stderr)


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
