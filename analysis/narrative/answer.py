"""The study's question answered in one sentence, and what is missing for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import verdicts
from analysis.narrative.search import seeds
from analysis.results import Results
from analysis.stats import intervals, planning
from analysis.tables import comparison, nuisance
from analysis.tables import format as formats
from analysis.tables import search as search_table
from analysis.verdict import Outcome
from runners.experiment import metric_name

NAMED = 3  # arms or steps that the sentence names before it counts
TRIALS_NAMED = 6


def missing(results: Results) -> str:
    """What an incomplete study lacks, in one sentence; empty when it is complete."""
    rows = results.rows
    lacking = rows[rows["state"] != "complete"] if len(rows) else rows
    if lacking.empty:
        return ""
    counts = lacking["state"].value_counts()
    states = " and ".join(f"{counts[state]} {state}" for state in ("failed", "pruned", "missing") if state in counts)
    first = lacking.head(TRIALS_NAMED)
    named = [f"{arm} seed {seed}" for arm, seed in zip(first["arm"], first["seed"], strict=True)]
    rest = f" and {len(lacking) - TRIALS_NAMED} more" if len(lacking) > TRIALS_NAMED else ""
    return (
        f"{len(lacking)} of {_arms(len(rows), 'trial')} {_are(len(lacking))} not complete ({states}): "
        f"{'; '.join(named)}{rest}. To complete the study, run the same command again: {results.study.command}"
    )


def answer(results: Results) -> str:
    """The study's question answered in one sentence, with n and interval, or why it is not answered yet.

    A study with nuisance factors is answered by its settings at their best, on a list that chose nothing.
    """
    if results.study.searching:
        return _still_searching(results)
    if results.study.won_by_baseline:
        return _won_by_baseline(results)
    if results.complete.empty:
        return f"No answer yet: none of the {_arms(len(results.rows), 'trial')} is complete."
    table, metric, where = _table_that_answers(results)
    compared = table[table["difference"].notna()]
    if compared.empty:
        return _only_arm(results) or f"No answer yet: {missing(results)}"
    lacking = int((table["against"] != "").sum()) - len(compared)
    preliminary = f" Preliminary: {_arms(lacking)} {_are(lacking)} incomplete." if lacking else ""
    if len(results.seeds) == 1:
        return _best_of_one_seed(results, table, metric, where) + preliminary
    outcomes = [verdict.outcome for verdict in compared["verdict"]]
    if set(outcomes) == {Outcome.EQUIVALENT}:
        found = _all_equivalent(table, compared, where, results.margin(metric))
    elif not {Outcome.BETTER, Outcome.WORSE} & set(outcomes):
        found = _inconclusive(results, metric, table, compared, where)
    elif _is_ladder(table):
        found = _steps(compared, where)
    else:
        found = _separated(table, compared, where)
    return f"{found} {_terms(results)}.{_further(results, metric)}{preliminary}"


def _further(results: Results, metric: str) -> str:
    """What the contrasts found, and whether the two best arms are told apart."""
    if metric != results.metric:
        return ""
    said = []
    for one in verdicts.contrasts(results, metric):
        size = f"{one.difference:+z.3f} [{one.low:+z.3f}, {one.high:+z.3f}]"
        said.append(f" Contrast, {one.name}: {size}, {one.verdict.short}.")
    if two := verdicts.two_best(results, metric):
        size = f"{two.difference:+z.3f} [{two.low:+z.3f}, {two.high:+z.3f}]"
        said.append(f" The two best arms, {two.words}: {size}, {two.verdict.short} over all pairs.")
    return "".join(said)


def _still_searching(results: Results) -> str:
    search = search_table.search_of(results)
    if search.winner is not None:
        where = "beside the baseline" if search.selection_seeds else "on fresh seeds"
        state = f"; the best so far, trial {search.winner}, has not been trained {where}"
    elif search.finalists:
        again = search_table.finalists(results)
        done, of = int(again["n"].sum()), _arms(len(search.finalists), "training")
        state = f"; {done} of {of} of its {_arms(len(again), 'finalist')} {_are(done)} complete"
    else:
        state = ""
    return f"No answer yet: {search_table.trial_counts(results)}{state}."


def _won_by_baseline(results: Results) -> str:
    search = search_table.search_of(results)
    k = len(search.of("complete"))
    return (
        f"The search found nothing better than the baseline: its winner, trial {search.winner} of {k} complete trials, "
        "is the baseline's own setting."
    )


def _table_that_answers(results: Results) -> tuple[pd.DataFrame, str, str]:
    """The table, its metric, and the words for where it was measured."""
    metric = results.metric
    if not (answering := nuisance.metric_that_answers(results)):
        return comparison.summary(results, metric), metric, metric_name(metric)
    scientific, tuned = " and ".join(results.study.scientific), " and ".join(results.study.tuned)
    by = " by the other seeds" if nuisance.is_nested(results) else ""
    chosen_on = f"chosen on {metric_name(results.selection)}{by}"
    where = f"{metric_name(answering)}, with each {scientific} at its best {tuned} ({chosen_on})"
    return nuisance.table(results, answering), answering, where


def _terms(results: Results) -> str:
    """`(n = 3 training seeds per arm, ...)`, and of a search the score that its winner was chosen for."""
    terms = f"(n = {len(results.seeds)} training seeds per arm, 95 % paired t intervals, Holm-corrected verdicts)"
    search = results.study.search
    if search is None or search.selection_score is None:
        return terms
    if search.selection_seeds:
        return (
            f"on {seeds(results.seeds)}, which chose nothing; the mean that the winner was chosen for, in "
            f"{metric_name(results.study.metric)} on {seeds(search.selection_seeds)}, was "
            f"{search.selection_score:.3f} {terms}"
        )
    k = len(search.of("complete"))
    return (
        f"on fresh seeds; its selection score, the best of {k} and so optimistically biased by selection, was "
        f"{search.selection_score:.3f} {terms}"
    )


# --- the forms of an answer ----------------------------------------------------------------------------


def _only_arm(results: Results) -> str:
    """What the only arm of a complete study scores, beside published values; empty for other studies."""
    if len(results.arms) > 1 or missing(results):
        return ""
    arm, parts, n = results.arms[0], [], len(results.seeds)
    for metric in results.metrics:
        row, known = comparison.summary(results, metric).iloc[0], results.published(arm, metric)
        if metric == results.metric or np.isfinite(known):
            interval = "" if n == 1 else f" [{row['ci low']:.3f}, {row['ci high']:.3f}]"
            place = "" if n == 1 else f", {_predicted(results, metric, known)}"
            beside = f" (published: {known:.3f}{place})" if np.isfinite(known) else ""
            parts.append(f"{metric_name(metric)} is {row['mean']:.3f}{interval}{beside}")
    seeds = f"n = {n} training seed{'s' * (n != 1)}{', 95 % t intervals' * (n > 1)}"
    return f"One arm, {arm}, with nothing to compare it with: {', '.join(parts)} ({seeds})."


def _predicted(results: Results, metric: str, known: float) -> str:
    """Whether one more training of the only arm could have given the published value."""
    table = comparison.summary(results, metric)
    (half,) = comparison.prediction_half_widths(table, results, metric, pd.Series([known]))
    mean = float(table["mean"].iloc[0])
    side = "inside" if abs(known - mean) <= half else "outside"
    return f"{side} the prediction interval of one training, {mean - half:.3f} to {mean + half:.3f}"


def _best_of_one_seed(results: Results, table: pd.DataFrame, metric: str, where: str) -> str:
    sign = -1 if results.smaller_is_better(metric) else 1
    best = table.iloc[int((sign * table["mean"]).argmax())]
    arms = formats.best(list(table["arm"]), list(sign * table["mean"]))
    common = _common_reference(table)
    name = common if common == "baseline" else f"baseline {common}"
    against = f", the {name} has {_mean_of(table, common):.3f}" if common and common not in arms else ""
    found = f"the best arm is {best['arm']}" if len(arms) == 1 else f"{formats.listed(arms)} tie as the best arms"
    return (
        "One training per arm gives no interval over seeds, and so no answer: "
        f"in {where} {found} with {best['mean']:.3f}{against} (n = 1)."
    )


def _all_equivalent(table: pd.DataFrame, compared: pd.DataFrame, where: str, margin: float) -> str:
    largest = comparison.largest_difference(compared)
    return (
        f"Equivalent: in {where} the difference of every arm from {_reference(table)} is smaller than ±{margin:g}; no "
        f"95 % CI extends beyond ±{largest:.3f}"
    )


def _inconclusive(results: Results, metric: str, table: pd.DataFrame, compared: pd.DataFrame, where: str) -> str:
    n = len(results.seeds)
    largest = compared.iloc[int(compared["difference"].abs().argmax())]
    against = "" if _common_reference(table) else f" against {largest['against']}"
    if largest["verdict"].outcome is Outcome.ZERO_VARIANCE:
        seen = "the same in every seed, so that no error can be estimated"
    else:
        about = nuisance.judged(results)
        sd, df = intervals.pooled(about.differences(metric))
        detected = planning.detectable_difference(sd, n, comparisons=max(1, about.comparisons), df=df)
        seen = f"where {_arms(n, 'seed')} detect{'s' * (n == 1)} differences of {detected:.3f} or more with 80 % power"
    return (
        f"Inconclusive: in {where} no arm is shown to be better or worse than {_reference(table)}; the largest "
        f"difference is {_difference(largest)} for {largest['arm']}{against}, {seen}"
        f"{_listed('; ', _others(compared, inconclusive=False))}"
    )


def _separated(table: pd.DataFrame, compared: pd.DataFrame, where: str) -> str:
    common = _common_reference(table)
    separated = compared[[verdict.separated for verdict in compared["verdict"]]]
    ordered = separated.reindex(separated["difference"].abs().sort_values(ascending=False).index)
    parts = [
        f"{row['arm']} is {row['verdict'].short} {'' if common else 'than ' + row['against'] + ' '}"
        f"by {_difference(row, size=True)}"
        for _, row in ordered.head(NAMED).iterrows()
    ]
    more = len(separated) - len(parts)
    parts += [f"{more} more {'arm' if more == 1 else 'arms'} {_are(more)} better or worse"] if more else []
    against = f"against {_reference(table)}" if common else "each arm against its own reference"
    return f"In {where}, {against}, {', '.join([*parts, *_others(compared)])}"


def _is_ladder(table: pd.DataFrame) -> bool:
    """Every compared arm is compared with the one before it."""
    before = table["arm"].shift()
    compared = table["against"] != ""
    return compared.sum() > 1 and bool((table["against"] == before)[compared].all())


def _steps(compared: pd.DataFrame, where: str) -> str:
    """Which steps of a ladder helped, in its order."""
    parts = []
    for outcome, words in ((Outcome.BETTER, f"of {_arms(len(compared), 'step')} helped"), (Outcome.WORSE, "hurt")):
        steps = compared[[verdict.outcome is outcome for verdict in compared["verdict"]]]
        named = [f"{row['arm']} by {_difference(row, size=True)}" for _, row in steps.head(NAMED).iterrows()]
        rest = f" and {len(steps) - NAMED} more" if len(steps) > NAMED else ""
        if named or outcome is Outcome.BETTER:
            parts.append(f"{len(steps)} {words}{_listed(': ', [', '.join(named) + rest] if named else [])}")
    return f"In {where}, each row against the row before it, {'; '.join([*parts, *_others(compared, 'step')])}"


# --- words ---------------------------------------------------------------------------------------------


def _others(compared: pd.DataFrame, what: str = "arm", inconclusive: bool = True) -> list[str]:
    """`2 arms are equivalent`, `1 arm is inconclusive`; only those that there are."""
    outcomes = [verdict.outcome for verdict in compared["verdict"]]
    equivalent = outcomes.count(Outcome.EQUIVALENT)
    undecided = sum(not verdict.decided for verdict in compared["verdict"]) if inconclusive else 0
    counts = {"equivalent": equivalent, "inconclusive": undecided}
    return [f"{_arms(count, what)} {_are(count)} {word}" for word, count in counts.items() if count]


def _listed(before: str, parts: Sequence[str]) -> str:
    return f"{before}{', '.join(parts)}" if parts else ""


def _arms(count: int, what: str = "arm") -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _reference(table: pd.DataFrame) -> str:
    common = _common_reference(table)
    return f"{common} ({_mean_of(table, common):.3f})" if common else "its own reference"


def _common_reference(table: pd.DataFrame) -> str:
    """The arm that all others are compared with; empty when references differ."""
    used = [name for name in table["against"].unique() if name]
    return str(used[0]) if len(used) == 1 else ""


def _mean_of(table: pd.DataFrame, arm: str) -> float:
    return float(table.loc[table["arm"] == arm, "mean"].iloc[0])


def _difference(row: pd.Series, size: bool = False) -> str:
    """`+0.106 [+0.092, +0.121]`; with `size` the signs are left to the word before it."""
    flip = -1 if size and row["difference"] < 0 else 1
    low, high = sorted((flip * row["difference low"], flip * row["difference high"]))
    sign = "" if size else "+"
    return f"{flip * row['difference']:{sign}z.3f} [{low:{sign}z.3f}, {high:{sign}z.3f}]"
