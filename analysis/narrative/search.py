"""The search of a study in sentences: pruned trials, finalists and winner, the bias of choosing, and which parameters
can be told from noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis import recorded_task
from analysis.results import Results
from analysis.stats import planning
from analysis.tables import search as tables
from runners.experiment import metric_name

MOST_NAMED = 12  # trials that a sentence names before it counts


def lines(results: Results) -> list[str]:
    """What stands under the tables of a search, one line each. Empty for a study that is no search."""
    if (search := results.study.search) is None:
        return []
    found = [f"Search: {tables.trial_counts(results)}. {search.pruning}".rstrip(), *_pruned(results)]
    found += _finalists(results) if search.selection_seeds else _chosen_by_search(results)
    return [*found, *_importance(results)]


def _pruned(results: Results) -> list[str]:
    """Which trials were pruned, and what that does to everything below."""
    search = tables.search_of(results)
    if not (pruned := search.of("pruned")):
        return []
    at = [trial.pruned_at_images for trial in pruned if trial.pruned_at_images is not None]
    ends = f" after {_range(min(at), max(at))} images" if at else ""
    return [
        f"Pruned{ends}: {_trials(trial.number for trial in pruned)} ({len(pruned)} of {len(search.trials)}). They have "
        "no final score, so none of them can be chosen, and the importance leaves them out: it describes the settings "
        "that survived. TPE ranks them below every complete trial."
    ]


def _finalists(results: Results) -> list[str]:
    """How the winner was chosen, and the same score where it was searched, where it was chosen, and on other seeds."""
    search, metric, table = tables.search_of(results), results.study.metric, tables.finalists(results)
    if table.empty:
        return []
    k, again, first = len(search.of("complete")), seeds(search.selection_seeds), search.search_seed
    many = len(table) > 1
    said = (
        f"Finalist{'s' * many}: {_trials(table['trial'])}, the {f'{len(table)} ' * many}best of {k} complete trials on "
        f"seed {first}, {'were' if many else 'was'} trained again on {again}."
    )
    if search.winner is None or search.selection_score is None:
        return [f"{said} These trainings are not finished, so there is no winner yet."]
    lacking = table[table["n"] < table["planned"]]
    left_out = f" Incomplete there, and so not chosen: {_trials(lacking['trial'])}." if len(lacking) else ""
    return [
        f"{said} The winner is trial {search.winner}, whose mean in {metric_name(metric)} there is the best, "
        f"{search.selection_score:.3f}; the scores on seed {first} are not used again.{left_out}",
        f"Selection: a score that was chosen for being high is optimistically biased. In {metric} the winner has "
        f"{_searched_score(results):.3f} on seed {first} and {search.selection_score:.3f} on {again}; it "
        f"{_on_answer_seeds(results)}.",
        *_optimism_of_finalists(table),
        f"Answer: winner and baseline are compared in {metric_name(results.metric)} on {seeds(results.seeds)}, which "
        "chose nothing.",
    ]


def _searched_score(results: Results) -> float:
    """The winner's score where it was suggested."""
    best = tables.search_of(results).best
    return np.nan if best is None or best.value is None else best.value


def _optimism_of_finalists(table: pd.DataFrame) -> list[str]:
    """What choosing the best finalist still adds to its mean by luck; nothing where a spread cannot be estimated."""
    sd, whole = tables.spread(table), table[table["n"] == table["planned"]]
    if not np.isfinite(sd) or len(whole) < 2:
        return []
    k, error = len(whole), sd / np.sqrt(whole["planned"].iloc[0])
    return [
        f"Expected optimism of the choice: the best mean of {k} equally good finalists looks "
        f"{planning.selection_bias(k, error):.3f} better than it is, {planning.expected_maximum(k):.2f} times the "
        f"standard error of such a mean, {error:.3f} (from the spread between trainings of one finalist). Finalists "
        "that differ much among themselves are biased less."
    ]


# --- records of versions that chose by the search's own scores -----------------------------------------


def _chosen_by_search(results: Results) -> list[str]:
    """The winner of a search without finalists: the best score on the search's own seed."""
    search, metric = tables.search_of(results), results.study.metric
    if (score := search.selection_score) is None:
        return []
    k = len(search.of("complete"))
    return [
        f"Selection: trial {search.winner} scored {score:.3f} in {metric_name(metric)} on seed {search.search_seed}, "
        "the best of "
        f"{k} complete trials. Chosen on that score, it is optimistically biased by selection. The winner "
        f"{_on_answer_seeds(results)}.",
        *_optimism(results, score, k),
    ]


def _on_answer_seeds(results: Results) -> str:
    """`0.701 [0.660, 0.742] on seeds 4, 5, 6 (n = 3)`, in the score that was chosen by."""
    if "winner" in results.arms:
        mean, at = results.means(results.study.metric), results.arms.index("winner")
        if mean.n[at]:
            interval = f" [{mean.low[at]:.3f}, {mean.high[at]:.3f}]" if mean.n[at] > 1 else ""
            return (
                f"has {mean.mean[at]:.3f}{interval} on {seeds(results.seeds)}, which chose nothing (n = {mean.n[at]})"
            )
    return "has not been trained on fresh seeds yet"


def _optimism(results: Results, score: float, k: int) -> list[str]:
    """What choosing the best of k adds to its score by luck; nothing where the objects of the list are not known."""
    name = results.list_of(results.study.metric)
    objects = results.mean_of(f"objects/{name}")
    sampled = float(results.rows["sampling_seeds"].mean()) if "sampling_seeds" in results.rows else np.nan
    passes = 1.0 if np.isnan(sampled) else sampled
    if not name or not results.score.is_share or not objects > 0 or not 0 <= score <= 1 or k < 2:
        return []
    sd = float(np.sqrt(score * (1 - score) / (objects * passes)))
    nouns = recorded_task.nouns(recorded_task.task_of(results))
    return [
        f"Expected optimism: the best of {k} equally good settings looks {planning.expected_maximum(k):.2f} standard "
        f"deviations better than it is, here {planning.selection_bias(k, sd):.3f}, where {sd:.3f} = sqrt(p (1 - p) / "
        f"{objects * passes:.0f} {nouns}) is the standard deviation of one score. This is a lower bound: variation "
        "between trainings adds to it. Settings that differ much among themselves are biased less."
    ]


# --- importance ----------------------------------------------------------------------------------------


def _importance(results: Results) -> list[str]:
    """Each parameter's share beside what it is for noise, and which of them are above it."""
    search, table = tables.search_of(results), tables.importance(results)
    if table.empty:
        return []
    head = f"Importance by {search.importance_evaluator}"
    if not search.importance_shuffles:
        shares = ", ".join(f"{row.parameter} {row.importance:.2f}" for row in table.itertuples())
        return [f"{head}: {shares} (shares of the variance; noise has shares too, and its own were not computed)."]
    shares = ", ".join(
        f"{name} {share:.2f} ({mean:.2f}, {limit:.2f})" for name, share, mean, limit in table.itertuples(index=False)
    )
    return [
        f"{head}, as shares of their variance: {shares}. In brackets what noise gives: the mean of "
        f"{search.importance_shuffles} shuffles of the scores over the trials, and a limit that any of the "
        f"parameters exceeds in about 5 % of searches of noise. {verdict(table)}"
    ]


def verdict(table: pd.DataFrame) -> str:
    """Which parameters of a `tables.importance` are above the limit of noise, and which are not."""
    above = table["importance"] > table["null limit"]
    real, noise = (_listed(table.loc[chosen, "parameter"]) for chosen in (above, ~above))
    if not real:
        return f"No parameter is above its limit. Indistinguishable from noise: {noise}."
    if not noise:
        return f"Above {'its' if above.sum() == 1 else 'their'} limit: {real}."
    return (
        f"Above the limit: {real}. Indistinguishable from noise: {noise}; beside a strong parameter a weak one may "
        "stay below its limit although it matters."
    )


# --- words ---------------------------------------------------------------------------------------------


def seeds(numbers: Iterable[int]) -> str:
    """`seeds 1, 2 and 3`."""
    found = list(map(str, numbers))
    return f"seed{'s' * (len(found) != 1)} {_listed(found)}"


def _trials(numbers: Iterable[int]) -> str:
    """`trials 3, 7 and 12`; of many the first ones and how many more."""
    found = list(map(str, numbers))
    more = len(found) - MOST_NAMED
    shown = [*found[:MOST_NAMED], f"{more} more"] if more > 1 else found
    return f"trial{'s' * (len(found) != 1)} {_listed(shown)}"


def _listed(parts: Iterable[str]) -> str:
    found = list(parts)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
