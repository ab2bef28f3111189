"""What a command would do, before it does it: arms, trainings, FLOP, time, disk, and what the design can see.

A page of the command line, which alone joins study and analysis.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.design import plan as planning
from study.design.plan import Cost, Plan
from study.design.scales import Scale


@dataclass(frozen=True)
class Job:
    """One study of a command: its plan, what it costs, what another seed would add to that, and where it runs."""

    plan: Plan
    scale: Scale
    cost: Cost
    seed_seconds: float
    where: str


def dry_run(jobs: list[Job], slots: list[Any], record: Path, as_json: bool) -> int:
    """Arms, trials, distinct trainings, FLOP, time, disk, and what the design can see; touches nothing."""
    if as_json:
        plain = [_dry_run_json(job, slots, record) for job in jobs]
        print(json.dumps(plain if len(plain) > 1 else plain[0], indent=1))
    else:
        print("\n\n".join(_dry_run_text(job, record) for job in jobs))
    return 0


def _dry_run_text(job: Job, record: Path) -> str:
    from analysis.stats import power

    plan, cost = job.plan, job.cost
    lines = [f"{plan.study_id}: {plan.spec.question}\n\n{_arm_table(plan)}\n"]
    lines.append(f"{size_of(plan)}; to run: {cost.missing_trials} trials, {cost.missing_trainings} trainings")
    lines.append(
        f"{flop(cost.train_flop)} of training and {flop(cost.sample_flop)} of sampling: about "
        f"{minutes(cost.seconds)} on {job.where} ({cost.basis})"
    )
    lines.append(f"disk: up to {cost.disk_bytes / 1e6:,.0f} MB more (--keep-checkpoints {plan.keep})")
    spread = power.spread(plan.study_id, plan.scale, plan.spec.metric, record)
    seen = power.sentence(spread, plan.spec.metric, len(plan.seeds), comparisons(plan), minutes(job.seed_seconds))
    lines += [seen, *(f"note: {note}" for note in plan.notes)]
    lines += [f"search: {name} in {dimension}" for name, dimension in plan.space.items()]
    lines.append("\neverything else, in every arm:")
    varied = {name for arm in plan.design.arms.values() for name in arm} | plan.space.keys() | {"seed"}
    lines += [f"  {name} = {value}" for name, value in plan.baseline.to_dict().items() if name not in varied]
    return "\n".join(lines)


def size_of(plan: Plan) -> str:
    """Trials, arms, seeds and distinct trainings, in words."""
    if plan.space:
        fresh = ", ".join(map(str, plan.seeds))
        return f"{plan.searched} trials of a search, then winner and baseline on fresh seeds ({fresh})"
    arms, seeds = len(plan.design.arms), len(plan.seeds)
    return f"{len(plan.trials)} trials = {arms} arms x {seeds} seeds, {len(plan.train_keys)} distinct trainings"


def _arm_table(plan: Plan) -> str:
    """A row an arm; an arm whose trainings another one above it has shares them and is marked so."""
    head = ["arm", "seeds", "own trainings", "images each", "parameters", "training", "evaluations an image"]
    rows, seen = [head], set[str]()
    for arm in plan.design.arms:
        configs = [trial.config for trial in plan.trials if trial.arm == arm]
        own = {config.train_key for config in configs} - seen
        seen |= own
        train = sum(planning.train_flop(config) for config in configs if config.train_key in own)
        cells = [arm + " (baseline)" * (arm == plan.design.baseline_arm), f"{len(configs)}", f"{len(own)}"]
        cells += [f"{configs[0].total_images:,}", f"{planning.size(configs[0]).parameters:,}"]
        rows.append([*cells, flop(train) if own else "shared", f"{planning.evaluations(configs[0]):,}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def comparisons(plan: Plan) -> int:
    """Tests that share the .05: every arm that is compared with another; winner and baseline of a search."""
    return 1 if plan.space else len(plan.design.against)


def _dry_run_json(job: Job, slots: list[Any], record: Path) -> dict[str, Any]:
    from analysis.stats import power

    plan, cost, seeds = job.plan, job.cost, len(job.plan.seeds)
    spread = power.spread(plan.study_id, plan.scale, plan.spec.metric, record)
    seen = [
        power.detectable(spread.sd, count, comparisons(plan)) if spread and count > 1 else None
        for count in (seeds, seeds + 1)
    ]
    return {
        "detectable_difference": seen[0],
        "detectable_with_another_seed": seen[1],
        "seconds_of_another_seed": job.seed_seconds,
        "claim": plan.claim,
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
        "missing_trials": cost.missing_trials,
        "missing_trainings": cost.missing_trainings,
        "train_flop": cost.train_flop,
        "sample_flop": cost.sample_flop,
        "seconds": cost.seconds,
        "disk_bytes": cost.disk_bytes,
        "basis": cost.basis,
        "devices": [slot.device for slot in slots],
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
