"""Run a study: train and score every arm, record it, and answer its question with a table and figures.

    python study/run.py --list
    python study/run.py --study schedules

The same command again runs only what is missing.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent.parent

if TYPE_CHECKING:
    from runners.config import Scalar
    from runners.tasks.iclevr.data import Folder
    from study.cli.dry_run import Job
    from study.cli.progress import Display
    from study.design.plan import Cost, Plan
    from study.executors.local import LocalExecutor, Slot
    from study.scheduling.scheduler import Event, Paths, Source

BAD_INPUT = 2
INTERRUPTED = 130
PROBE_BYTES = 2**20
HEADROOM_BYTES = 500 * 2**20  # databases, pictures and checkpoints of a small study


def parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python study/run.py", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--list", action="store_true", help="the studies, one line each with its question")
    add("--study", metavar="NAME", nargs="+", help="the studies to run, one after another; all: every study")
    add("--scale", metavar="SCALE", help="smoke, laptop, gpu or paper (default: gpu where CUDA is, else laptop)")
    add("--data", metavar="DIR", type=Path, help="an i-CLEVR folder; without it scenes are rendered")
    add("--evaluator", metavar="FILE", type=Path, help="the official checkpoint.pth; without it a stand-in is trained")
    add("--seeds", metavar="N", type=int, help="training seeds 0 to N-1 for every arm (default: the study's)")
    add("--claim", action="store_true", help="a study that is to conclude: 5 training seeds or more")
    add("--trials", metavar="N", type=int, help="of a search: suggestions to try (default: the study's)")
    add("--set", metavar="FIELD=VALUE", action="append", default=[], help="change a field of the baseline; repeatable")
    add("--record", metavar="DIR", type=Path, default=ROOT / "mlruns", help="where everything is kept (mlruns)")
    add("--devices", metavar="LIST", help="cpu, or cuda:0,cuda:1 (default: every GPU, else cpu)")
    add("--per-device", metavar="N", help="workers a device; auto: by a pilot (default: 1 a GPU, 1 a CPU core)")
    add("--deterministic", action="store_true", help="the same bits each time on a GPU too, at a cost in speed")
    add("--compile", choices=["auto", "on", "off"], default="auto", help="torch.compile (auto: where it repays itself)")
    add("--retries", metavar="N", type=int, default=1, help="of a trial that crashed, hung or had no memory (1)")
    add("--patience", metavar="MINUTES", type=float, default=15.0, help="silence after which a worker hangs (15)")
    add("--keep-checkpoints", choices=["all", "best", "none"], default="all", help="which weights stay (all)")
    add("--explain", metavar="ARM", help="the trials behind an arm's numbers in the record; runs nothing")
    add("--dry-run", action="store_true", help="print arms, trials, trainings and time; touch nothing")
    add("--json", action="store_true", help="with --dry-run: as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(argv)
    try:
        if arguments.list:
            return print_list()
        if arguments.study is None:
            raise ValueError("Nothing to run: write --study NAME (python study/run.py --list names them).")
        return run(arguments, shlex.join(["python", "study/run.py", *argv]))
    except ValueError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def print_list() -> int:
    from study.design import spec

    for name in spec.names():
        print(f"{name:<16}{spec.find(name).question}")
    return 0


def run(arguments: argparse.Namespace, command: str) -> int:
    """The studies of a command, one after another. Everything that can be refused is refused before the record is
    touched."""
    from study.scheduling import devices

    has_cuda = devices.cuda_count() if arguments.scale is None or arguments.devices is None else 0
    changes = parse_changes(arguments.set)
    if arguments.retries < 0:
        raise ValueError(f"--retries {arguments.retries} is no number of tries: write --retries 0 or more.")
    if not arguments.patience > 0:
        raise ValueError(f"--patience {arguments.patience:g} ends every worker: write minutes, such as --patience 15.")
    asked = arguments.devices, arguments.per_device
    slots = devices.named(*asked, has_cuda, arguments.deterministic, arguments.compile)
    folder = read_data(arguments.data, changes)
    evaluator = read_evaluator(arguments.evaluator, changes)
    scale = arguments.scale or ("gpu" if has_cuda else "laptop")
    jobs = planned(arguments, changes, slots, scale)
    if arguments.dry_run:
        from study.cli.dry_run import dry_run

        return dry_run(jobs, slots, arguments.record.resolve(), arguments.json)
    record = arguments.record.resolve()
    if arguments.explain is not None:
        from analysis.narrative import explain

        print("\n\n".join(explain.text(job.plan.study_id, arguments.explain, record) for job in jobs))
        return 0
    source = decoded_source(folder, jobs[0].plan, record)
    if arguments.per_device == devices.AUTO and any(job.cost.missing_trials for job in jobs):
        slots = devices.packed([job.plan for job in jobs], slots)
        jobs = planned(arguments, changes, slots, scale)

    from runners.process.locks import Held, lock
    from study.executors.local import LocalExecutor
    from study.scheduling.scheduler import Paths

    probe(record, jobs[0].plan, max(job.cost.disk_bytes for job in jobs))
    executor = LocalExecutor(slots, record / "cache" / "logs", 60 * arguments.patience)
    codes = []
    try:
        with lock(record / "lock", shared=True):
            relocate(record)
            for job in jobs:
                introduce(job, record, "" if arguments.scale else " (chosen: no --scale was given)")
                paths = Paths(record, evaluator or stand_in_path(job.plan, record))
                codes.append(locked(job, source, paths, executor, command, arguments.retries))
                if codes[-1] == INTERRUPTED:
                    break
    except Held as held:
        raise ValueError(f"The record {record} is being mended {held}: wait for it.") from None
    finally:
        executor.cancel()
    return max(codes)


def relocate(record: Path) -> None:
    from study.record.mlflow_index import relocate

    if count := relocate(record):
        print(f"The record was moved or copied: {count} paths in mlflow.db now lead to {record}.")


def planned(
    arguments: argparse.Namespace, changes: dict[str, Scalar], slots: Sequence[Slot], scale_name: str
) -> list[Job]:
    """The plan and the cost of every study; ValueError, in one sentence, for what cannot run."""
    from study.cli.dry_run import Job
    from study.design import plan as planning
    from study.design import scales, spec
    from study.scheduling.devices import describe

    names = spec.names() if arguments.study == ["all"] else list(dict.fromkeys(arguments.study))
    specs = {name: spec.find(name) for name in names}
    scale = scales.find(scale_name)
    if arguments.trials is not None and not any(study.space for study in specs.values()):
        raise ValueError(f"--trials {arguments.trials} is for a search (--study search); of a grid write --seeds N.")
    elsewhere = (scale.machine == "gpu") == all(slot.device == "cpu" for slot in slots)
    where = f"one machine that the scale is made for, not {describe(slots)}" if elsewhere else describe(slots)

    def make(name: str, seeds: int | None) -> Plan:
        trials = arguments.trials if specs[name].space else None
        keep, claim = arguments.keep_checkpoints, arguments.claim
        return planning.make(name, specs[name], scale_name, scale, changes, seeds, keep, trials, claim)

    def costs(plan: Plan) -> Cost:
        return planning.cost(plan, scale, arguments.record.resolve(), 1 if elsewhere else len(slots))

    plans = [make(name, arguments.seeds) for name in names]
    for plan in plans:
        warn(plan)
    jobs = []
    for plan in plans:
        cost, larger = costs(plan), costs(make(plan.study, len(plan.seeds) + 1)) if arguments.dry_run else None
        jobs.append(Job(plan, scale, cost, larger.seconds - cost.seconds if larger else 0.0, where))
    return jobs


def introduce(job: Job, record: Path, chosen: str) -> None:
    from study.cli.dry_run import minutes, size_of

    plan, cost = job.plan, job.cost
    print(f"{plan.study_id}: {plan.spec.question}")
    print(f"scale {plan.scale}{chosen}: {size_of(plan)}, on {job.where}; record {record}")
    if cost.missing_trials:
        print(
            f"{cost.missing_trials} trials and {cost.missing_trainings} trainings to run, about "
            f"{minutes(cost.seconds)} ({cost.basis})",
            flush=True,
        )
    else:
        print("every trial is in the record: nothing is run", flush=True)


def locked(job: Job, source: Source, paths: Paths, executor: LocalExecutor, command: str, retries: int) -> int:
    """Carry a study out, if no other process does."""
    from runners.process.locks import Held, lock

    study_id = job.plan.study_id
    try:
        with lock(paths.record / "studies" / study_id / "lock"):
            work = partial(carry_out, job, source, paths, executor, command, retries)
            return stoppable(work, paths.record, executor, command)
    except Held as held:
        raise ValueError(
            f"The study {study_id} of {paths.record} is being run {held}: wait for it, or give another --record DIR."
        ) from None


def stoppable(work: Callable[[], int], record: Path, executor: LocalExecutor, command: str) -> int:
    """The exit code of `work`; a Ctrl-C, a full disk and a locked database end it with a sentence."""
    from study.record import errors as storage

    def interrupt(*_: object) -> None:
        if executor.stopping or not executor.workers:
            raise KeyboardInterrupt
        executor.stopping = True

    # The first one stops at the next poll, the second one now; a scheduler's polite end is a Ctrl-C.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return work()
    except KeyboardInterrupt:
        print("\nStopped. To resume, run the same command again:\n    " + command)
        return INTERRUPTED
    except Exception as error:
        reason = storage.sentence(error, record)
        if not reason and not isinstance(error, OSError | RuntimeError):
            raise
        text = f"stopped, because {reason} and run" if reason else f"{error} What was complete is kept: mend it and run"
        print(f"\nrun.py: {text} the same command again.", file=sys.stderr)
        return 1


def carry_out(job: Job, source: Source, paths: Paths, executor: LocalExecutor, command: str, retries: int) -> int:
    """Run the plan with the progress on the terminal; then the table, the figures and where they are."""
    from study.cli.progress import Display
    from study.record import reader as record
    from study.scheduling import scheduler as coordinator

    plan, display = job.plan, Display()

    def launch(plan: Plan, total: int, done: int) -> dict[str, Any]:
        display.begin(total, done, len(executor.slots))
        events = coordinator.launch(plan, paths, executor, command, job.scale.curve_points, retries)
        return follow(events, display)

    try:
        done = coordinator.complete(plan, paths.record)
        if len(done) < len(plan.trials) or coordinator.searching(plan, paths.record):
            for event in coordinator.prepare(plan, source, paths):
                display.show(event)
                if executor.stopping:
                    raise KeyboardInterrupt
        if plan.space:
            last = launch(plan, plan.searched, record.searched(paths.record, plan.study_id))
            tell_index(last, "FAILED" if last["failures"] else "FINISHED")
            plan = coordinator.with_winner(plan, paths.record)
            done = coordinator.complete(plan, paths.record)
        last = launch(plan, len(plan.trials), len(done))
    finally:
        display.end()
    return tell(plan, paths, last)


def tell_index(
    last: dict[str, Any], status: str, report: Path | None = None, warnings: Sequence[str] = (), answer: str = ""
) -> None:
    """End the launch's own run in MLflow."""
    for text in last["index"].finish_launch(status, report, warnings, answer):
        print(text)


def follow(events: Generator[Event, None, None], display: Display) -> dict[str, Any]:
    """Show a launch's events to the end; draw each trial's schedule sheet into its folder. Returns how it ended."""
    last: dict[str, Any] = {}
    drawn: dict[bytes, Path] = {}
    with closing(events):
        for event in events:
            if event.what == "scored":
                draw_sheet(event.info["folder"], drawn)
            if event.what == "finished":
                last = event.info
            display.show(event)
    return last


def draw_sheet(trial: Path, drawn: dict[bytes, Path]) -> None:
    """The schedule sheet of a trial; `drawn` remembers those of this launch, because many trials share a schedule."""
    from analysis.figures import schedule_sheet
    from analysis.plotting import style

    shown = b"".join((trial / name).read_bytes() for name in ("schedule.csv", "noised.png"))
    for suffix in (".png", ".pdf"):
        if shown in drawn:
            shutil.copy(drawn[shown].with_suffix(suffix), (trial / "schedule_sheet").with_suffix(suffix))
    if shown not in drawn:
        drawn[shown] = style.save(schedule_sheet.draw_trial(trial), trial / "schedule_sheet")


def tell(plan: Plan, paths: Paths, last: dict[str, Any]) -> int:
    """The answer, the table, what stands under it, the figures' place and the UI's command."""
    from analysis import report
    from analysis.narrative import warnings as caveats
    from analysis.pages import figure_pool as drawing
    from study.record import reader as record

    study = record.load_study(plan.study_id, paths.record)
    rows = record.load(plan.study_id, paths.record)
    page = report.page_of(study, paths.record)
    if not report.is_current(study, paths.record):
        with drawing.helping(drawing.worth_helping(study)) as helpers:
            report.build(plan.study_id, paths.record, helpers=helpers)
    print()
    report.print_answer(study, paths.record)
    print(f"\nreport:    {page}\nfigures:   {page.parent / 'figures'}\ntables:    {page.parent / 'tables'}")
    command = [sys.executable, str(ROOT / "study" / "ui.py"), "--record", str(paths.record)]
    print(f"MLflow UI: {shlex.join(command)}")
    complete = rows[rows["state"] == "complete"]
    failures = len(rows) - len(complete)
    answer = report.answer_markdown(study, paths.record)
    status = "FAILED" if failures else "FINISHED"
    tell_index(last, status, page.parent, caveats.warnings(complete, study), answer)
    if failures:
        print(
            f"\n{failures} of {len(rows)} trials are not complete; tracebacks are in {paths.record}/trials/*.failed. "
            "To try them again, run the same command again."
        )
    return 1 if failures else 0


# --- reading the command line --------------------------------------------------------------------------


def parse_changes(settings: Sequence[str]) -> dict[str, Scalar]:
    from runners.ddpm.config import TrialConfig

    changes: dict[str, Scalar] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r} sets nothing: write --set field=value, such as --set lr=0.001.")
        changes[name] = TrialConfig.read_value(name, text)
    for name, option in (("data", "--data DIR"), ("evaluator", "--evaluator FILE")):
        if str(changes.get(name, "")).startswith(("folder(", "checkpoint(")):
            raise ValueError(f"{name}={changes[name]!r} is a digest of a file: give the file with {option}.")
    return changes


def read_data(path: Path | None, changes: dict[str, Scalar]) -> Folder | None:
    """Check `--data`; the config gets the digest of what is in it."""
    if path is None:
        return None
    from runners.tasks.iclevr.data import read_folder

    folder = read_folder(path)
    changes["data"] = folder.config
    return folder


def read_evaluator(path: Path | None, changes: dict[str, Scalar]) -> Path | None:
    """Check `--evaluator`, and say whether it is the official one."""
    if path is None:
        return None
    from runners.config import Call
    from runners.evaluation.surrogate import is_official, load_checkpoint

    _, sha256 = load_checkpoint(path)
    verdict = "is the official evaluator" if is_official(sha256) else "is NOT the official evaluator"
    print(f"{path} {verdict} (sha256 {sha256[:12]}...)", file=sys.stderr)
    changes["evaluator"] = str(Call("checkpoint", (("sha256", sha256),)))
    return path.resolve()


def stand_in_path(plan: Plan, record: Path) -> Path:
    """Where the stand-in lies: by data, recipe and the code that trains it."""
    import hashlib

    from runners.evaluation import surrogate as evaluator
    from runners.tasks.iclevr import data

    source = data.prepared(plan.baseline.data, plan.baseline.image_size, record / "cache").name
    code = Path(evaluator.__file__).read_bytes()
    digest = hashlib.sha256(f"{source}|{plan.baseline.evaluator}".encode() + code).hexdigest()[:12]
    return record / "cache" / f"evaluator-{digest}.safetensors"


def decoded_source(folder: Folder | None, plan: Plan, record: Path) -> Source:
    """Decode a new folder's images before anything is written: a corrupt one is bad input, not a failed study."""
    from runners.tasks.iclevr import data
    from study.cli.progress import Status
    from study.scheduling.scheduler import Source

    size = plan.baseline.image_size
    if folder is None or data.prepared(plan.baseline.data, size, record / "cache").exists():
        return Source(folder, None)
    status, decoding = Status(), data.decode(folder, size)
    while True:
        try:
            progress = next(decoding)
        except StopIteration as end:
            return Source(folder, end.value)
        status.show(f"{progress.what}: {progress.done:,} of {progress.total:,}")


def probe(record: Path, plan: Plan, needed: float) -> None:
    """ValueError when the record's disk is full or read-only; nothing of the probe stays."""
    existed = record.exists()
    path = record / "write-probe"
    images = 18_009 * plan.baseline.image_size**2 * 3
    try:
        record.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(PROBE_BYTES))
        path.unlink()
        free = shutil.disk_usage(record).free
        if free < images + needed + HEADROOM_BYTES:
            wanted = f"{(images + needed + HEADROOM_BYTES) / 2**20:,.0f} MiB"
            raise OSError(
                f"{free / 2**20:,.0f} MiB are free, up to {wanted} are needed: --keep-checkpoints none needs less"
            )
    except OSError as error:
        path.unlink(missing_ok=True) if existed else shutil.rmtree(record, ignore_errors=True)
        reason = error.strerror or str(error)
        raise ValueError(
            f"The record {record} cannot be written ({reason}): make room, or give --record DIR."
        ) from None


# --- what limits a run, and where it runs ---------------------------------------------------------------


def warn(plan: Plan) -> None:
    """Refuse what cannot run (ValueError), and say on standard error what will limit the answer."""
    from runners.ddpm.manipulation_check import warnings
    from runners.ddpm.validation import check  # imports torch: only when a plan stands

    corners = [
        plan.baseline.replace(**{name: value})
        for name, dimension in plan.space.items()
        for value in dimension.corners()
    ]
    for config in dict.fromkeys([*(trial.config.replace(seed=0) for trial in plan.trials), *corners]):
        check(config)
    named: dict[str, list[str]] = {}
    for trial in plan.trials:
        for text in warnings(trial.config):
            if trial.arm not in named.setdefault(text, []):
                named[text].append(trial.arm)
    for text, arms in named.items():
        others = f" and {len(arms) - 3} more" if len(arms) > 3 else ""
        print(f"Warning ({', '.join(arms[:3])}{others}): {text}", file=sys.stderr)
