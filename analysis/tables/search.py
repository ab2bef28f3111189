"""The search of a study: its trials as a table, what choosing the best of them flatters, and its importances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.tables import comparison as tables

Study = Mapping[str, Any]


def table(study: Study) -> pd.DataFrame:
    """One row a search trial: number, state, parameters, value, where it was pruned, which one won."""
    search = study.get("search") or {}
    return pd.DataFrame(
        [
            {"trial": trial["number"], "state": trial["state"]}
            | dict(trial["params"])
            | {study["metric"]: trial.get("value"), "pruned at images": trial.get("pruned_at_images")}
            | {"chosen": "winner" if trial["number"] == search.get("winner") else ""}
            for trial in search.get("trials", [])
        ]
    ).pipe(_last_columns, [study["metric"], "pruned at images", "chosen"])


def _last_columns(table: pd.DataFrame, last: list[str]) -> pd.DataFrame:
    """A trial may have parameters that the first one lacks: they belong before the results."""
    return table[[name for name in table.columns if name not in last] + last] if len(table) else table


def readable(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """A `table` as short strings."""
    shown = pd.DataFrame({"trial": table["trial"], "state": table["state"]})
    for name in table.columns[2:]:
        digits = _decimal_or_dash if name == study["metric"] else _short
        shown[name] = [digits(value) for value in table[name]]
    return shown


def _decimal_or_dash(value: Any) -> str:
    return tables.decimal(float("nan") if value is None else float(value), "")


def _short(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def complete_trials(study: Study) -> list[Mapping[str, Any]]:
    return [trial for trial in study["search"]["trials"] if trial["state"] == "complete"]


def trial_counts(study: Study) -> str:
    """`20 of 24 search trials are done (17 complete, 2 pruned, 1 failed)`."""
    states = pd.Series([trial["state"] for trial in study["search"]["trials"]], dtype=object).value_counts()
    done = [f"{states[state]} {state}" for state in ("complete", "pruned", "failed") if state in states]
    number = sum(int(states.get(state, 0)) for state in ("complete", "pruned", "failed"))
    planned = study["search"].get("planned") or len(study["search"]["trials"])
    return f"{number} of {planned} search trials are done" + (f" ({', '.join(done)})" if done else "")


def lines(rows: pd.DataFrame, study: Study) -> list[str]:
    """Selection score beside the fresh seeds, the pruning rule, and the importance of the parameters."""
    search, k = study["search"], len(complete_trials(study))
    found = [f"Search: {trial_counts(study)}. {search.get('pruning') or ''}".rstrip()]
    if (score := search.get("selection_score")) is not None:
        mean = intervals.means(tables.values(rows, study, study["metric"]))
        fresh = "has not been trained on fresh seeds yet"
        if "winner" in study["arms"] and mean.n[at := list(study["arms"]).index("winner")]:
            interval = f" [{mean.low[at]:.3f}, {mean.high[at]:.3f}]" if mean.n[at] > 1 else ""
            fresh = f"has {mean.mean[at]:.3f}{interval} on fresh seeds (n = {mean.n[at]})"
        found.append(
            f"Selection: trial {search.get('winner')} scored {score:.3f} in {study['metric']} on seed "
            f"{search.get('search_seed', 0)}, the best of {k} complete trials chosen on that score, so flattered; "
            f"it {fresh}."
        )
        found += _optimism(rows, study, float(score), k)
    if importance := search.get("importance"):
        ranked = sorted(importance.items(), key=lambda item: -item[1])
        found.append(
            f"Importance by {search.get('importance_evaluator')}: "
            f"{', '.join(f'{name} {share:.2f}' for name, share in ranked)} (shares of variance in {k} trials, no test)."
        )
    return found


def _optimism(rows: pd.DataFrame, study: Study, score: float, k: int) -> list[str]:
    """What choosing the best of k adds to its score by luck; nothing where the objects of the list are not known."""
    name = study["metric"].removeprefix("accuracy/")
    objects = tables.number_of(tables.complete_rows(rows), f"objects/{name}")
    passes = tables.number_of(rows, "sampling_seeds")
    passes = 1.0 if np.isnan(passes) else passes
    if name == study["metric"] or not objects > 0 or not 0 <= score <= 1 or k < 2:
        return []
    sd = float(np.sqrt(score * (1 - score) / (objects * passes)))
    return [
        f"Expected optimism: the best of {k} equally good settings looks {intervals.expected_maximum(k):.2f} standard "
        f"deviations better than it is, here {intervals.selection_bias(k, sd):.3f}, with {sd:.3f} = sqrt(p (1 - p) / "
        f"{objects * passes:.0f} objects) for one score. A lower bound of that deviation: the luck of each training "
        "comes on top; settings that differ much among themselves flatter less."
    ]
