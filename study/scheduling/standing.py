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
    """Trials that the plan's search has finished: complete, pruned or diverged. What failed otherwise runs again."""
    search = _search(plan, record)
    return search.finished - len(reader.to_try_again(search, record))


def with_finalists(plan: Plan, record: Path) -> Plan:
    """The plan of a finished search: its best trials again, on the seeds that choose the winner.

    Raises RuntimeError when no trial of the search was complete.
    """
    search = _search(plan, record)
    found = search.leading(plan.most_finalists, plan.task.metric.higher_is_better)
    if not found:
        raise RuntimeError(_without_finalists(plan, record, search))
    return plan.with_finalists({trial.number: trial.params for trial in found})


def _without_finalists(plan: Plan, record: Path, search: Search) -> str:
    """Why a search has none, and what helps: what has failed runs again, what has diverged would diverge again."""
    failed = len(reader.to_try_again(search, record))
    diverged = len(search.of("failed")) - failed
    text = (
        f"No trial of the search {plan.study_id} is complete ({failed} failed, {diverged} diverged), so it has none to "
        f"train again. Tracebacks are in {layout.trials_folder(record)}/*.failed."
    )
    further = f"narrow the space, or write --trials {2 * len(search.trials)} for further ones"
    return text + (f" Those that diverged are not run again: {further}." if diverged else "")


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
