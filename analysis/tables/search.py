"""The search of a study as tables: its trials, its finalists, and the importance of its parameters beside that of
noise. What they say in words is in `analysis.narrative.search`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results, once
from analysis.tables.format import decimal, of_planned
from study.record import reader
from study.record.schema import Search

IMPORTANCE = ["parameter", "importance", "null mean", "null limit"]
FINALISTS = ["trial", "searched", "n", "planned", "mean", "chosen"]  # and a column per seed


def search_of(results: Results) -> Search:
    """The study's search; an empty one for a study that is none."""
    return results.study.search or Search()


def table(results: Results) -> pd.DataFrame:
    """One row per search trial: number, state, parameters, value, where it was pruned, whether it was trained again and
    which one won.

    Empty for a study that is no search.
    """
    search, metric = search_of(results), results.study.metric
    chosen = {int(trial.arm.split()[-1]): "finalist" for trial in search.finalists}
    chosen |= {search.winner: "winner"} if search.winner is not None else {}
    lines = [
        {"trial": trial.number, "state": trial.state}
        | dict(trial.params)
        | {metric: trial.value, "pruned at images": trial.pruned_at_images}
        | {"chosen": chosen.get(trial.number, "")}
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
        short = _score if name == results.study.metric else _short
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


# --- finalists -----------------------------------------------------------------------------------------


@once
def finalists(results: Results) -> pd.DataFrame:
    """One row per finalist with FINALISTS: its score where it was searched, then one column per selection seed and
    their mean in the score that is chosen by, NaN where a trial is not complete; the best one first.

    Empty before there are any, and in records of versions that chose by the search's own scores.
    """
    search, metric = search_of(results), results.study.metric
    rows = reader.load_finalists(results.study.study_id, results.record) if search.finalists else pd.DataFrame()
    if rows.empty:
        return pd.DataFrame(columns=FINALISTS)
    scores = rows[metric] if metric in rows else pd.Series(np.nan, index=rows.index)
    by_seed = rows.assign(score=scores).pivot(index="arm", columns="seed", values="score")
    searched = {trial.number: trial.value for trial in search.trials}
    numbers = [int(arm.split()[-1]) for arm in by_seed.index]
    found = pd.DataFrame({"trial": numbers, "searched": [searched.get(number) for number in numbers]})
    found["n"], found["planned"] = by_seed.notna().sum(axis=1).to_numpy(), by_seed.shape[1]
    for seed in by_seed:
        found[f"seed {seed}"] = by_seed[seed].to_numpy()
    found["mean"] = by_seed.mean(axis=1, skipna=False).to_numpy()
    found["chosen"] = ["winner" if number == search.winner else "" for number in numbers]
    best_first = results.smaller_is_better(metric)
    return found.sort_values(["mean", "trial"], ascending=[best_first, True], ignore_index=True)


def readable_finalists(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    """A `finalists` table as short strings."""
    shown = pd.DataFrame({"trial": table["trial"]})
    shown[f"seed {search_of(results).search_seed} (searched)"] = [decimal(value) for value in table["searched"]]
    for name in (name for name in table.columns if name.startswith("seed ")):
        shown[name] = [decimal(value) for value in table[name]]
    shown["n"] = [of_planned(n, planned) for n, planned in zip(table["n"], table["planned"], strict=True)]
    shown["mean"] = [decimal(value) for value in table["mean"]]
    shown["chosen"] = table["chosen"]
    return shown


def spread(table: pd.DataFrame) -> float:
    """The standard deviation between trainings of one finalist, pooled over them; NaN for one seed."""
    scores = table[[name for name in table.columns if name.startswith("seed ")]].to_numpy(dtype=np.float64)
    whole = scores[np.isfinite(scores).all(axis=1)]
    return float(np.sqrt(whole.var(axis=1, ddof=1).mean())) if len(whole) and whole.shape[1] > 1 else np.nan


# --- importance ----------------------------------------------------------------------------------------


def importance(results: Results) -> pd.DataFrame:
    """One row per parameter with IMPORTANCE, the largest share first; the null is NaN where none was computed."""
    search = search_of(results)
    lines = [
        [name, share, search.importance_null.get(name, np.nan), search.importance_limit.get(name, np.nan)]
        for name, share in search.importance.items()
    ]
    return pd.DataFrame(lines, columns=IMPORTANCE).sort_values("importance", ascending=False, ignore_index=True)


def trial_counts(results: Results) -> str:
    """`20 of 24 search trials are done (17 complete, 2 pruned, 1 failed)`."""
    search = search_of(results)
    counts = {state: len(search.of(state)) for state in ("complete", "pruned", "failed")}
    done = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    planned = search.planned or len(search.trials)
    trials = f"search trial{'s' * (planned != 1)} {'is' if search.finished == 1 else 'are'} done"
    return f"{search.finished} of {planned} {trials}" + (f" ({done})" if done else "")
