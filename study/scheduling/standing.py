"""How far a record is with a plan."""

from __future__ import annotations

from pathlib import Path

from runners.process.files import read_json
from study.design.plan import Plan
from study.record import layout, reader


def complete(plan: Plan, record: Path) -> dict[str, float]:
    """trial_key -> metric of the plan's complete trials."""
    found = {}
    for trial in plan.trials:
        folder = layout.trial_folder(record, trial.key)
        if layout.state(folder) == "complete":
            found[trial.key] = float(read_json(folder / "result.json")[plan.spec.metric])
    return found


def searched(plan: Plan, record: Path) -> int:
    """Trials that the plan's search has finished: complete, pruned or failed."""
    study = reader.find_study(plan.study_id, record)
    return study.search.finished if study and study.search else 0


def with_winner(plan: Plan, record: Path) -> Plan:
    """The plan of a finished search: its winner beside the baseline on fresh seeds.

    Raises RuntimeError when no trial of the search was complete, or the winner is the baseline.
    """
    study = reader.find_study(plan.study_id, record)
    best = study.search.best if study and study.search else None
    if best is None:
        raise RuntimeError(f"No trial of the search {plan.study_id} is complete, so it has no winner to train again.")
    return plan.with_winner(best.params)
