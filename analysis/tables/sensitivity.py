"""The study's metric seen in other ways, beside the verdict and never instead of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.results import Results
from analysis.stats import intervals, sensitivity
from analysis.tables.format import decimal
from analysis.verdict import probability
from study.record import layout

COLUMNS = ["arm", "n", "p Holm", "p moderated", "P(best)", "at chance"]
DIVERGED = "FloatingPointError"  # what a training raises whose loss is not finite
ABOVE_CHANCE = 1.645  # standard errors: a score below that is not above chance at .05
NOTE = (
    "Sensitivity: not the verdict. p moderated: paired t tests whose variances are drawn towards their common value "
    "(Smyth 2004), Holm-corrected; it finds more where the arms have one variance, and too much where they do not. A p "
    "Holm far below it comes from seeds that agree by chance: with three, a difference may look sharper than it is. "
    "P(best): the probability that the arm's true mean is the best of all arms, under one error for all arms and flat "
    "priors. "
)
AT_CHANCE = (
    "At chance: seeds whose training diverged, or whose score is not above chance; an arm that sometimes collapses is "
    "described by that share, and its mean and interval by neither."
)
DIVERGING = "Diverged: seeds whose training diverged; they are in no mean."


def table(results: Results) -> pd.DataFrame:
    """One row per arm with COLUMNS, then one per contrast; `at chance` is the number of seeds that
    diverged or are. Empty for one seed or one arm."""
    metric, arms = results.metric, results.arms
    array = results.values(metric)
    whole = np.isfinite(array).all(axis=0)
    if len(results.seeds) < 2 or whole.sum() < 2:
        return pd.DataFrame(columns=COLUMNS)
    best = np.full(len(arms), np.nan)
    best[whole] = sensitivity.ranked_first(array[:, whole], results.smaller_is_better(metric))
    contrasts = list(results.study.contrasts)
    nothing = [np.nan] * len(contrasts)
    columns = {
        "arm": [*arms, *contrasts],
        "n": [*results.means(metric).n, *nothing],
        "p Holm": results.compared(metric).p_holm if results.judged else [*[np.nan] * len(arms), *nothing],
        "p moderated": _moderated(results, array),
        "P(best)": [*best, *nothing],
        "at chance": [*(_not_trained(results, arm) for arm in arms), *nothing],
    }
    return pd.DataFrame(columns, columns=COLUMNS)


def _moderated(results: Results, array: intervals.Array) -> intervals.Array:
    """p of each arm with a reference and each contrast, corrected over the family of the study."""
    paired = np.full((len(array), len(results.arms) + len(results.study.contrasts)), np.nan)
    for k, other in enumerate(results.reference_columns):
        if other >= 0:
            paired[:, k] = array[:, k] - array[:, other]
    column = {arm: k for k, arm in enumerate(results.arms)}
    for k, weights in enumerate(results.study.contrasts.values(), start=len(results.arms)):
        paired[:, k] = sum(weight * array[:, column[arm]] for arm, weight in weights.items() if weight)
    compared = np.isfinite(paired).all(axis=0)
    p = np.full(paired.shape[1], np.nan)
    if compared.any() and results.judged:  # what is descriptive has no p
        p[compared] = sensitivity.moderated_t(paired[:, compared])
    return intervals.holm(p, results.comparisons)


def at_chance(results: Results) -> pd.Series:
    """Of each complete trial whether its score on the study's list is not above chance; empty where it is not known."""
    rows, name = results.complete, results.list_of(results.metric)
    chance, objects = (rows.get(f"{what}/{name}") for what in ("chance", "objects"))
    if chance is None or objects is None or not results.is_share(results.metric):
        return pd.Series(dtype=bool)
    limit = chance + ABOVE_CHANCE * np.sqrt(chance * (1 - chance) / objects)
    return rows[results.metric] < limit


def _not_trained(results: Results, arm: str) -> int:
    """Seeds of an arm that diverged, or whose score is not above chance."""
    rows = results.rows[results.rows["arm"] == arm]
    failed = [Path(folder) for folder in rows.loc[rows["state"] == "failed"].get("folder", ())]
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in map(layout.traceback_file, failed)
        if path.is_file()
    ]
    found = sum(DIVERGED in text for text in texts)
    low = at_chance(results)
    return found + int(low[low.index.isin(rows.index)].sum())


def note(results: Results) -> str:
    """What the columns mean."""
    return NOTE + (AT_CHANCE if results.is_share(results.metric) else DIVERGING)


def readable(found: pd.DataFrame, results: Results) -> pd.DataFrame:
    """As short strings. A score that is no share has no level of chance: what is left is who diverged."""
    shown = found[["arm"]].copy()
    for name in ("p Holm", "p moderated"):
        shown[name] = [probability(value) for value in found[name]]
    shown["P(best)"] = [decimal(value) for value in found["P(best)"]]
    cells = zip(found["at chance"], found["n"], strict=True)
    shown["at chance" if results.is_share(results.metric) else "diverged"] = [
        "-" if np.isnan(n) else f"{count:.0f} of {n:.0f}" if count else "0" for count, n in cells
    ]
    return shown
