"""The search of a study: its trials as a table, what choosing the best of them flatters, and its importances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results
from analysis.stats import planning
from analysis.tables.format import decimal
from study.record.schema import Search


def table(results: Results) -> pd.DataFrame:
    """One row per search trial: number, state, parameters, value, where it was pruned, which one won.

    Empty for a study that is no search.
    """
    search, metric = results.study.search or Search(), results.metric
    lines = [
        {"trial": trial.number, "state": trial.state}
        | dict(trial.params)
        | {metric: trial.value, "pruned at images": trial.pruned_at_images}
        | {"chosen": "winner" if trial.number == search.winner else ""}
        for trial in search.trials
    ]
    return _last_columns(pd.DataFrame(lines), [metric, "pruned at images", "chosen"])


def _last_columns(table: pd.DataFrame, last: list[str]) -> pd.DataFrame:
    """A trial may have parameters that the first one lacks: they belong before the results."""
    return table[[name for name in table.columns if name not in last] + last] if len(table) else table


def readable(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    """A `table` as short strings."""
    shown = pd.DataFrame({"trial": table["trial"], "state": table["state"]})
    for name in table.columns[2:]:
        short = _score if name == results.metric else _short
        shown[name] = [short(value) for value in table[name]]
    return shown


def _score(value: Any) -> str:
    return decimal(np.nan if value is None else float(value))


def _short(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def trial_counts(results: Results) -> str:
    """`20 of 24 search trials are done (17 complete, 2 pruned, 1 failed)`."""
    search = results.study.search or Search()
    counts = {state: len(search.of(state)) for state in ("complete", "pruned", "failed")}
    done = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    planned = search.planned or len(search.trials)
    return f"{search.finished} of {planned} search trials are done" + (f" ({done})" if done else "")


def lines(results: Results) -> list[str]:
    """Selection score beside the fresh seeds, the pruning rule, and the importance of the parameters.

    Empty for a study that is no search.
    """
    if (search := results.study.search) is None:
        return []
    k = len(search.of("complete"))
    found = [f"Search: {trial_counts(results)}. {search.pruning}".rstrip()]
    if (score := search.selection_score) is not None:
        found.append(
            f"Selection: trial {search.winner} scored {score:.3f} in {results.metric} on seed {search.search_seed}, "
            f"the best of {k} complete trials. Chosen on that score, it is optimistically biased by selection. The "
            f"winner {_on_fresh_seeds(results)}."
        )
        found += _optimism(results, score, k)
    if search.importance:
        ranked = sorted(search.importance.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} {share:.2f}" for name, share in ranked)
        found.append(
            f"Importance by {search.importance_evaluator}: {shares} (shares of the variance over {k} trials; no test)."
        )
    return found


def _on_fresh_seeds(results: Results) -> str:
    if "winner" in results.arms:
        mean, at = results.means(results.metric), results.arms.index("winner")
        if mean.n[at]:
            interval = f" [{mean.low[at]:.3f}, {mean.high[at]:.3f}]" if mean.n[at] > 1 else ""
            return f"has {mean.mean[at]:.3f}{interval} on fresh seeds (n = {mean.n[at]})"
    return "has not been trained on fresh seeds yet"


def _optimism(results: Results, score: float, k: int) -> list[str]:
    """What choosing the best of k adds to its score by luck; nothing where the objects of the list are not known."""
    name = results.list_of(results.metric)
    objects = results.mean_of(f"objects/{name}")
    sampled = float(results.rows["sampling_seeds"].mean()) if "sampling_seeds" in results.rows else np.nan
    passes = 1.0 if np.isnan(sampled) else sampled
    if not name or not results.score.is_share or not objects > 0 or not 0 <= score <= 1 or k < 2:
        return []
    sd = float(np.sqrt(score * (1 - score) / (objects * passes)))
    return [
        f"Expected optimism: the best of {k} equally good settings looks {planning.expected_maximum(k):.2f} standard "
        f"deviations better than it is, here {planning.selection_bias(k, sd):.3f}, where {sd:.3f} = sqrt(p (1 - p) / "
        f"{objects * passes:.0f} objects) is the standard deviation of one score. This is a lower bound: variation "
        "between trainings adds to it. Settings that differ much among themselves are biased less."
    ]
