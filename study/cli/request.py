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
    from runners.contents import Given
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
ALL = "all"  # of --study
SHOWN_ARMS = 3  # that a warning names


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python study/run.py", description=DOC, formatter_class=formatter)
    what = parser.add_argument_group("what to run").add_argument
    what("--list", action="store_true", help="list the studies, one line each with its question")
    what("--study", metavar="NAME", nargs="+", help="studies to run, one after another: names, paths of files, or all")
    what("--scale", metavar="SCALE", help="smoke, laptop, gpu or paper [default: gpu where CUDA is, else laptop]")
    what("--data", metavar="PATH", type=Path, help="your images: a folder of class folders, one with a table, or arrays [default: the scale's]")  # fmt: skip  # noqa: E501
    what(
        "--task", metavar="NAME", default="", help="what they are: classes, sets, images or iclevr [default: as found]"
    )
    what("--allow-unlabelled", action="store_true", help="go on without images that have no label")
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

    `changes` are those of the user to every baseline; `images` are the checked ones of `--data`, `evaluator` the
    checked `--evaluator`.
    """

    plans: Sequence[Plan]
    named: Sequence[Named]
    scale: Scale
    scale_was_chosen: bool  # because no --scale was given
    slots: Sequence[Slot]
    record: Path
    images: Given | None
    read_as: Mapping[str, str]  # what `runners.given.read` was given for them
    evaluator: Path | None
    worker_timeout: float  # seconds
    retries: int
    auto: bool  # --per-device auto: the slots are still to be benchmarked
    changes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, str]:
        """Files that the user named, for the experiment."""
        return {**self.read_as, **({"evaluator": str(self.evaluator)} if self.evaluator else {})}


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
    read_as = _read_as(arguments, changes)
    images = _read_data(read_as, arguments.record.resolve(), changes) if read_as else None
    evaluator = _read_evaluator(arguments.evaluator, changes)
    from runners.process import apart
    from study.design import scales

    name = arguments.scale or ("gpu" if has_cuda else "laptop")
    scale = scales.find(name)
    named = _studies(arguments)
    record = arguments.record.resolve()
    with apart.opened():  # this process stays as long as the study runs, and builds no network
        planned = [(one, _plan(one, name, scale, arguments, changes)) for one in named]
    named, plans = [one for one, plan in planned if plan], [plan for _, plan in planned if plan]
    for plan in plans:
        _check_evaluator(evaluator, plan)
    return Request(
        plans=plans,
        named=named,
        scale=scale,
        scale_was_chosen=arguments.scale is None,
        slots=slots,
        record=record,
        images=images,
        read_as=read_as,
        evaluator=evaluator,
        worker_timeout=60 * arguments.worker_timeout,
        retries=arguments.retries,
        auto=arguments.per_device == devices.AUTO,
        changes=changes,
    )


def _plan(
    one: Named, scale_name: str, scale: Scale, arguments: argparse.Namespace, changes: Mapping[str, Scalar]
) -> Plan | None:
    """The plan of a study; of all studies None for one that makes no sense for these images, which is said."""
    from study.design import registry
    from study.design.spec import WrongKind

    record = arguments.record.resolve()
    try:
        plan, kept = growing.plan_of(one, scale_name, scale, asked_of(arguments, one, changes), record)
    except WrongKind as error:
        if arguments.study == [ALL]:
            print(f"{one.name} is left out: {error}.", file=sys.stderr)
            return None
        fitting = ", ".join(registry.fitting(error.kind))
        raise ValueError(f"The study {one.name} cannot run: {error}. Write --study with one of {fitting}.") from None
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
        if any(f"{digest}=" in str(changes.get(name, "")) for digest in ("digest", "sha256")):
            raise ValueError(f"{name}={changes[name]!r} is a digest of a file: give the file with {option}.")
    return changes


def _read_as(arguments: argparse.Namespace, changes: Mapping[str, Scalar]) -> dict[str, str]:
    """What the user says of `--data`, for `runners.given.read`; nothing without it."""
    if arguments.data is None:
        for option, given in (("--task", arguments.task), ("--allow-unlabelled", arguments.allow_unlabelled)):
            if given:
                raise ValueError(f"{option} is about images of your own: add --data PATH.")
        return {}
    if "data" in changes:
        raise ValueError("--data and --set data=... name two sets of images: leave one of them out.")
    found = {"data": str(arguments.data.resolve()), "task": arguments.task}
    return found | ({"allow_unlabelled": "yes"} if arguments.allow_unlabelled else {})


def _read_data(read_as: Mapping[str, str], record: Path, changes: dict[str, Scalar]) -> Given:
    """Check `--data`, and say what was found; the config gets the digest of what is in it."""
    from runners import given
    from study.cli.progress import watched
    from study.record.layout import cache_folder

    known = cache_folder(record)
    found = watched(given.read(read_as, known if known.is_dir() else None))
    changes["data"] = found.data
    return found


def print_found(request: Request) -> None:
    """What `--data` is, and what was done with it, on standard error."""
    from runners import given

    size = int(request.plans[0].baseline.to_dict()["image_size"])
    for sentence in given.sentences(request.images, size) if request.images else ():
        print(sentence, file=sys.stderr)


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


def _check_evaluator(path: Path | None, plan: Plan) -> None:
    """Raises ValueError for an evaluator of the user's that cannot score the images of every arm."""
    if path is None:
        return
    from runners.evaluation import evaluator

    for size in {int(trial.config.to_dict()["image_size"]) for trial in plan.trials}:
        evaluator.users(str(path), size, plan.task)


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
