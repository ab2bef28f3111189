"""What a command would do, before it does it: arms, trainings, FLOP, time, disk, and what the design can see."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runners.experiment import metric_name

if TYPE_CHECKING:
    from runners.experiment import Cost
    from study.cli.request import Job, Request
    from study.design.plan import Plan


NOTHING = ("0", "0 GFLOP", "shared")  # of a column that says nothing


@dataclasses.dataclass(frozen=True)
class Preview:
    """A job, the spread of paired differences that the record knows, the seconds that another seed would add, and what
    the `budget` in seconds buys in seeds and passes: the whole plan's own, unless another is asked for."""

    job: Job
    spread: Any  # analysis.stats.power.Spread, or None
    seed_seconds: float
    budget: float
    options: list[Any]  # analysis.stats.power.Option, one per number of sampling passes
    passes: int
    asked: bool  # for that budget


def dry_run(request: Request, arguments: argparse.Namespace) -> int:
    """Arms, trials, distinct trainings, FLOP, time, disk, and what the design can see; touches nothing."""
    previews = [_preview(request, arguments, index) for index in range(len(request.plans))]
    if arguments.json:
        plain = [_json(preview, request) for preview in previews]
        print(json.dumps(plain if len(plain) > 1 else plain[0], indent=1))
    else:
        print("\n\n".join(_text(preview) for preview in previews))
    return 0


def _preview(request: Request, arguments: argparse.Namespace, index: int) -> Preview:
    from analysis.stats import power
    from study.cli import request as requests

    plan = request.plans[index]
    job = requests.job_of(plan, request, request.slots)
    larger = requests.job_of(plan.with_another_seed(), request, request.slots)
    more = larger.estimate.seconds - job.estimate.seconds
    spread = power.spread(plan.study_id, plan.scale, plan.answered_in, request.record)
    price = requests.price_of(plan, request)
    budget = 3600 * arguments.budget if arguments.budget else price.of(len(plan.seeds), price.passes)
    # A search is no study of arms and seeds: its fresh seeds are, and cost little.
    options = [] if plan.space else power.options(spread, price.of, budget, plan.comparisons)
    return Preview(job, spread, more, budget, options, price.passes, arguments.budget is not None)


def _text(preview: Preview) -> str:
    from analysis.stats import power

    plan, estimate = preview.job.plan, preview.job.estimate
    lines = [f"{plan.study_id}: {plan.spec.question}\n\n{_arm_table(plan)}\n"]
    to_run = f"{counted(estimate.missing_trials, 'trial')}, {counted(estimate.missing_trainings, 'training')}"
    lines.append(f"{size_of(plan)}; to run: {to_run}")
    spent = f"{flop(estimate.train_flop)} of training and {flop(estimate.sample_flop)} of sampling: "
    spent = spent if estimate.train_flop or estimate.sample_flop or not estimate.missing_trials else ""
    lines.append(f"{spent}about {minutes(estimate.seconds)} on {preview.job.where} ({estimate.basis})")
    lines.append(f"disk: up to {estimate.disk_bytes / 1e6:,.0f} MB more (--keep-checkpoints {plan.keep})")
    more = minutes(preview.seed_seconds)
    lines.append(power.sentence(preview.spread, plan.answered_in, len(plan.seeds), plan.comparisons, more))
    budget = minutes(preview.budget)
    lines += power.budget_lines(preview.spread, preview.options, plan.answered_in, budget, preview.passes)
    if preview.asked and not preview.options and not plan.space:
        lines.append(power.no_budget_line(preview.spread, budget))
    lines += [f"note: {note}" for note in plan.notes]
    lines += [no_margin_line(plan)] if not plan.task.metric.is_share else []
    lines += [f"search: {name}, {dimension.words}" for name, dimension in plan.space.items()]
    lines.append("\neverything else, in every arm:")
    varied = {name for arm in plan.design.arms.values() for name in arm} | plan.space.keys() | {"seed"}
    lines += [f"  {name} = {value}" for name, value in plan.baseline.to_dict().items() if name not in varied]
    return "\n".join(lines)


def no_margin_line(plan: Plan) -> str:
    """That a study's margin does not count for a score that is no share."""
    name = metric_name(plan.task.metric.name)
    return (
        f"note: margin={plan.spec.margin:g} of the study is a difference of shares, and {name} is none: it does not "
        "count, and no arm will be called equivalent"
    )


def size_of(plan: Plan) -> str:
    """Trials, arms, seeds and distinct trainings, in words."""
    if plan.space:
        count = min(plan.most_finalists, plan.searched)
        best = f"the best {count}" if count > 1 else "the best one"
        return (
            f"{counted(plan.searched, 'trial')} of a search, {best} of them again on {_seeds(plan.selection_seeds)} to "
            f"choose the winner, then winner and baseline on {_seeds(plan.seeds)}"
        )
    arms, seeds = counted(len(plan.design.arms), "arm"), counted(len(plan.seeds), "seed")
    trainings = counted(len(plan.train_keys), "distinct training")
    return f"{counted(len(plan.trials), 'trial')} = {arms} x {seeds}, {trainings}"


def counted(count: int, what: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{count} {what}{'s' * (count != 1)}"


def _seeds(numbers: Sequence[int]) -> str:
    return f"seed{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def _arm_table(plan: Plan) -> str:
    """One row per arm; an arm whose trainings another one above it has shares them and is marked so. Of what nobody
    counted there is no column."""
    head = ["arm", "seeds", "own trainings", "images each", "parameters", "training", "evaluations per image"]
    rows, seen = [head], set[str]()
    trials_of: dict[str, list[Any]] = {arm: [] for arm in plan.design.arms}
    for trial in plan.trials:
        trials_of[trial.arm].append(trial)
    for arm, trials in trials_of.items():
        own = {trial.train_key for trial in trials} - seen
        seen |= own
        cost: Cost = plan.experiment.cost(trials[0].config)
        name = arm + " (baseline)" * (arm == plan.design.baseline_arm)
        images = int(trials[0].config.to_dict().get("total_images", 0))
        cells = [name, f"{len(trials)}", f"{len(own)}", f"{images:,}", f"{cost.parameters:,}"]
        rows.append([*cells, flop(len(own) * cost.train_flop) if own else "shared", f"{cost.evaluations:,}"])
    shown = [column for column in range(len(head)) if column < 3 or any(row[column] not in NOTHING for row in rows[1:])]
    rows = [[row[column] for column in shown] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(shown))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _json(preview: Preview, request: Request) -> Mapping[str, Any]:
    from analysis.stats import power

    plan, estimate, spread, seeds = preview.job.plan, preview.job.estimate, preview.spread, len(preview.job.plan.seeds)
    seen = [
        power.detectable(spread, count, plan.comparisons) if spread and count > 1 else None
        for count in (seeds, seeds + 1)
    ]
    return {
        "detectable_difference": seen[0],
        "detectable_with_another_seed": seen[1],
        "seconds_of_another_seed": preview.seed_seconds,
        "budget_seconds": preview.budget,
        "seeds_against_passes": [dataclasses.asdict(option) for option in preview.options],
        "claim": plan.confirmatory,
        "study": plan.study,
        "study_id": plan.study_id,
        "scale": plan.scale,
        "question": plan.spec.question,
        "arms": plan.design.arms,
        "baseline_arm": plan.design.baseline_arm,
        "against": plan.design.against,
        "baseline": plan.baseline.to_dict(),
        "seeds": list(plan.seeds),
        "trials": len(plan.trials),
        "trainings": len(plan.train_keys),
        "search_trials": plan.searched,
        "finalists": min(plan.most_finalists, plan.searched),
        "selection_seeds": list(plan.selection_seeds),
        "answer_metric": plan.answered_in,
        "missing_trials": estimate.missing_trials,
        "missing_trainings": estimate.missing_trainings,
        "train_flop": estimate.train_flop,
        "sample_flop": estimate.sample_flop,
        "seconds": estimate.seconds,
        "disk_bytes": estimate.disk_bytes,
        "basis": estimate.basis,
        "devices": [slot.device for slot in request.slots],
    }


def flop(count: float) -> str:
    """Floating-point operations in the unit that leaves few digits."""
    for size, unit in ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP")):
        if count >= size:
            return f"{count / size:,.3g} {unit}"
    return f"{count / 1e9:,.3g} GFLOP"


def minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
