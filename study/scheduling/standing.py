"""How far a record is with a plan, and the plan of a search's next stage."""

from __future__ import annotations

from pathlib import Path

from runners.process.files import read_json
from study.design.plan import Plan
from study.record import layout, reader
from study.record.schema import Search


def complete(plan: Plan, record: Path) -> dict[str, float]:
    """trial_key -> metric of the complete trials of the plan's stage."""
    found = {}
    for trial in plan.due:
        folder = layout.trial_folder(record, trial.key)
        if layout.state(folder) == "complete":
            found[trial.key] = float(read_json(folder / "result.json")[plan.metric])
    return found


def searched(plan: Plan, record: Path) -> int:
    """Trials that the plan's search has finished: complete, pruned or failed."""
    return _search(plan, record).finished


def with_finalists(plan: Plan, record: Path) -> Plan:
    """The plan of a finished search: its best trials again, on the seeds that choose the winner.

    Raises RuntimeError when no trial of the search was complete.
    """
    found = _search(plan, record).leading(plan.most_finalists, plan.task.metric.higher_is_better)
    if not found:
        raise RuntimeError(f"No trial of the search {plan.study_id} is complete, so it has none to train again.")
    return plan.with_finalists({trial.number: trial.params for trial in found})


def with_winner(plan: Plan, record: Path) -> Plan:
    """The plan of a search that has chosen: its winner beside the baseline, on seeds that chose nothing.

    Raises RuntimeError when no finalist was complete.
    """
    best = _search(plan, record).best
    if best is None:
        seeds = ", ".join(map(str, plan.selection_seeds))
        raise RuntimeError(f"No finalist of the search {plan.study_id} is complete on the seeds {seeds}.")
    return plan.with_winner(best.params)


def _search(plan: Plan, record: Path) -> Search:
    study = reader.find_study(plan.study_id, record)
    return (study.search if study else None) or Search()
