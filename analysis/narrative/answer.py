"""The sentences that belong to the tables: the answer, what is missing, and the protocol that stands under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.narrative import warnings as caveats
from analysis.stats import intervals
from analysis.tables import comparison as tables
from analysis.tables import outcomes
from analysis.tables import search as search_table

Study = Mapping[str, Any]

MOST_VALUES = 6  # that a line of the protocol writes out


# --- the answer --------------------------------------------------------------------------------------


def missing(rows: pd.DataFrame, study: Study) -> str:
    """What a half-finished study lacks, in one sentence; empty when it is complete."""
    holes = rows[rows["state"] != "complete"]
    if holes.empty:
        return ""
    counts = holes["state"].value_counts()
    states = " and ".join(f"{counts[state]} {state}" for state in ("failed", "pruned", "missing") if state in counts)
    named = [f"{arm} seed {seed}" for arm, seed in zip(holes["arm"], holes["seed"], strict=True)]
    rest = f" and {len(named) - 6} more" if len(named) > 6 else ""
    return (
        f"{len(holes)} of {len(rows)} trials {'is' if len(holes) == 1 else 'are'} not complete ({states}): "
        f"{'; '.join(named[:6])}{rest}. To complete the study, run the same command again: {study.get('command', '')}"
    )


def answer(rows: pd.DataFrame, study: Study) -> str:
    """The study's question answered in one sentence, with n and interval, or why it is not answered yet.

    A study with nuisance factors is answered by its settings at their best, on a list that chose nothing.
    """
    if (study.get("search") or {}).get("trials") is not None and "winner" not in study["arms"]:
        winner = study["search"].get("winner")
        best = "" if winner is None else f"; the best so far, trial {winner}, has not been trained on fresh seeds"
        return f"No answer yet: {search_table.trial_counts(study)}{best}."
    if tables.complete_rows(rows).empty:
        return f"No answer yet: none of the {len(rows)} trials is complete."
    metric, where = study["metric"], study["metric"]
    table = tables.best_of_nuisance(rows, study, metric)
    if len(table):
        honest = [
            f"accuracy/{name}"
            for name in tables.LISTS
            if f"accuracy/{name}" in rows and f"accuracy/{name}" != tables.SELECTION
        ]
        metric = honest[0] if metric == tables.SELECTION and honest else metric
        table = tables.best_of_nuisance(rows, study, metric)
        scientific, nuisance = tables.factors_by_role(study)
        best = f"each {tables.joined(scientific)} at its best {tables.joined(nuisance)}"
        where = f"{metric}, with {best} (chosen on {tables.SELECTION})"
    else:
        table = tables.summary(rows, study, metric)
    compared = table[table["difference"].notna()]
    if compared.empty:
        return _alone(rows, study) or f"No answer yet: {missing(rows, study)}"
    lacking = int((table["against"] != "").sum()) - len(compared)
    holes = f" Preliminary: {lacking} {'arm has' if lacking == 1 else 'arms have'} holes." if lacking else ""
    n = len(study["seeds"])
    if n == 1:
        return _best_of_one_seed(table, metric, where) + holes
    terms = f"(n = {n} training seeds an arm, 95 % paired t intervals, verdicts after Holm)"
    if "search" in study and (score := study["search"].get("selection_score")) is not None:
        k = len(search_table.complete_trials(study))
        terms = f"on fresh seeds; its selection score, the best of {k} and so flattered, was {score:.3f} {terms}"
    separated = compared[compared["verdict"].isin(["better", "worse"])]
    if _are_equal(compared).all():
        return _no_difference(table, compared, where, tables.margin(study, metric)) + f" {terms}.{holes}"
    if separated.empty:
        return _not_separated(table, compared, where, n) + f" {terms}.{holes}"
    if _is_ladder(table):
        return _steps(compared, where) + f" {terms}.{holes}"
    return _separated(table, compared, separated, where) + f" {terms}.{holes}"


def _alone(rows: pd.DataFrame, study: Study) -> str:
    """What the only arm of a whole study scores, beside published values; empty for other studies."""
    if len(study["arms"]) > 1 or missing(rows, study):
        return ""
    arm, parts = study["arms"][0], []
    for metric in tables.metrics(rows, study):
        row, known = tables.summary(rows, study, metric).iloc[0], tables.published(study, arm, metric)
        if metric == study["metric"] or np.isfinite(known):
            one_seed = np.isnan(row["ci low"])
            interval = "" if one_seed else f" [{row['ci low']:.3f}, {row['ci high']:.3f}]"
            inside = "inside" if row["ci low"] <= known <= row["ci high"] else "outside"
            place = "" if one_seed else f", {inside} the interval"
            beside = f" (published: {known:.3f}{place})" if np.isfinite(known) else ""
            parts.append(f"{metric} is {row['mean']:.3f}{interval}{beside}")
    n = len(study["seeds"])
    seeds = f"n = {n} training seed{'s' * (n != 1)}{', 95 % t intervals' * (n > 1)}"
    return f"One arm, {arm}, with nothing to compare it with: {', '.join(parts)} ({seeds})."


def _best_of_one_seed(table: pd.DataFrame, metric: str, where: str) -> str:
    best = table.iloc[int((table["mean"] * (-1 if metric.startswith(tables.SMALLER_IS_BETTER) else 1)).argmax())]
    common = _common_reference(table)
    against = f", the baseline {common} has {_mean_of(table, common):.3f}" if common and common != best["arm"] else ""
    return (
        f"One training an arm compares one training with another, which gives no interval over seeds and so no answer: "
        f"the best {where} is {best['mean']:.3f} of {best['arm']}{against} (n = 1)."
    )


def _not_separated(table: pd.DataFrame, compared: pd.DataFrame, where: str, n: int) -> str:
    largest = compared.iloc[int(compared["difference"].abs().argmax())]
    seen = intervals.detectable_difference(largest["sd of differences"], n, comparisons=tables.comparisons_of(table))
    common = _common_reference(table)
    reference = f"{common} ({_mean_of(table, common):.3f})" if common else "its own reference"
    against = "" if common else f" against {largest['against']}"
    return (
        f"Not separated: in {where} no arm differs from {reference}; the largest "
        f"difference is {_difference(largest)} for {largest['arm']}{against}, where {n} seeds find differences from "
        f"{seen:.3f} up in 8 of 10 studies{_equal_arms(compared)}"
    )


def _are_equal(compared: pd.DataFrame) -> pd.Series:
    return compared["verdict"].str.startswith(tables.EQUAL)


def _equal_arms(compared: pd.DataFrame, what: str = "arm") -> str:
    """`, 2 arms have no difference larger than 0.021`; empty when there is none."""
    equal = compared[_are_equal(compared)]
    if equal.empty:
        return ""
    largest = max(tables.largest_difference(row) for _, row in equal.iterrows())
    return f", {len(equal)} {what}{' has' if len(equal) == 1 else 's have'} {tables.EQUAL} {largest:.3f}"


def _no_difference(table: pd.DataFrame, compared: pd.DataFrame, where: str, allowed: float) -> str:
    """Every interval lies inside the margin."""
    common = _common_reference(table)
    reference = f"{common} ({_mean_of(table, common):.3f})" if common else "its own reference"
    largest = max(tables.largest_difference(row) for _, row in compared.iterrows())
    return (
        f"No difference larger than {largest:.3f}: in {where} the interval of every arm against {reference} lies "
        f"inside ±{allowed:g}"
    )


def _separated(table: pd.DataFrame, compared: pd.DataFrame, separated: pd.DataFrame, where: str) -> str:
    common = _common_reference(table)
    ordered = separated.reindex(separated["difference"].abs().sort_values(ascending=False).index)
    parts = [
        f"{row['arm']} is {row['verdict']} {'' if common else 'than ' + row['against'] + ' '}"
        f"by {_difference(row, size=True)}"
        for _, row in ordered.iterrows()
    ]
    more, unseparated = len(parts) - 3, len(compared) - len(separated) - int(_are_equal(compared).sum())
    others = f", {more} more {'arm is' if more == 1 else 'arms are'} separated too" if more > 0 else ""
    others += _equal_arms(compared)
    others += f", {unseparated} {'arm is' if unseparated == 1 else 'arms are'} not separated" if unseparated else ""
    against = f"against {common} ({_mean_of(table, common):.3f})" if common else "each arm against its own reference"
    return f"In {where}, {against}, {', '.join(parts[:3])}{others}"


def _is_ladder(table: pd.DataFrame) -> bool:
    """Every compared arm is compared with the one before it."""
    before = table["arm"].shift()
    compared = table["against"] != ""
    return compared.sum() > 1 and bool((table["against"] == before)[compared].all())


def _steps(compared: pd.DataFrame, where: str) -> str:
    """Which steps of a ladder helped, in its order."""
    parts = []
    for verdict, words in (("better", f"of {len(compared)} steps helped"), ("worse", "hurt")):
        steps = compared[compared["verdict"] == verdict]
        named = [f"{row['arm']} by {_difference(row, size=True)}" for _, row in steps.iterrows()]
        rest = f" and {len(named) - 3} more" if len(named) > 3 else ""
        if named or verdict == "better":
            listed = f": {', '.join(named[:3])}{rest}" if named else ""
            parts.append(f"{len(named)} {words}{listed}")
    equal = _equal_arms(compared, "step").removeprefix(", ")
    parts += [equal] if equal else []
    unseparated = len(compared) - int((compared["verdict"].isin(["better", "worse"]) | _are_equal(compared)).sum())
    parts += [f"{unseparated} {'is' if unseparated == 1 else 'are'} not separated"] if unseparated else []
    return f"In {where}, each row against the row before it, {'; '.join(parts)}"


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
    return f"{flip * row['difference']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


# --- the protocol ------------------------------------------------------------------------------------


def protocol(rows: pd.DataFrame, study: Study) -> list[str]:
    """The lines that stand under every table; those that start with "Warning:" limit what it says."""
    n, complete = len(study["seeds"]), tables.complete_rows(rows)
    lines = [
        f"n = {n} training seed{'s' * (n != 1)} an arm ({', '.join(map(str, study['seeds']))}); the unit is the "
        f"training, objects and {_one(rows, 'sampling_seeds')} sampling pass(es) are averaged inside it. "
        f"{len(complete)} of {len(rows)} trials complete.",
        *terms(rows),
        *(_tests(study) if n > 1 else [outcomes.NOTE]),
    ]
    lines += [list_line(rows, name) for name in tables.LISTS if f"accuracy/{name}" in complete]
    lines += [PUBLISHED] if study.get("published") else []
    lines += [nuisance_line(rows, study)] if len(tables.settings(rows, study)) > 1 else []
    lines += search_table.lines(rows, study) if study.get("search") else []
    lines += list(study.get("notes") or [])
    return lines + [f"Warning: {line}" for line in caveats.warnings(complete, study)]


def terms(rows: pd.DataFrame) -> list[str]:
    """On which terms every number was made: checkpoint, sampler, the meaning of s, evaluator."""
    complete = tables.complete_rows(rows)
    return [
        f"Checkpoint rule: {_one(complete, 'checkpoint_rule')}. Nothing was chosen on test, new_test or unseen.",
        f"Sampler: {_one(rows, 'sampler')}; guidance_scale s = {_one(rows, 'guidance_scale')} "
        "in eps_u + s (eps_c - eps_u), so s = 1 is unguided.",
        f"Evaluator: {_one(complete, 'evaluator_kind')}; its accuracy on images that it never saw: "
        f"{_one(complete, 'evaluator_held_out_accuracy')}.",
        *_compute(complete, rows),
    ]


COMPUTE = {
    "parameters": "parameters",
    "train_pflop": "PFLOP of training",
    "network_evaluations": "network evaluations an image",
    "seconds/train": "s of training",
}


def _compute(complete: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """What a trial took: one number, or the smallest and the largest arm's mean."""
    parts = []
    for field, words in COMPUTE.items():
        if field in complete and complete[field].notna().any():
            means = complete.groupby("arm")[field].mean().dropna()
            low, high = (f"{value:,.0f}" if value >= 100 else f"{value:.4g}" for value in (means.min(), means.max()))
            parts.append(f"{low if low == high else f'{low} to {high}'} {words}")
    images = _one(rows, "total_images")
    return [f"Compute of a trial, means of the arms: {images} training images, {', '.join(parts)}."] if parts else []


def _tests(study: Study) -> list[str]:
    """How several seeds are compared, and what the printed plans assume."""
    n, m = len(study["seeds"]), len(tables.references(study))
    own = "; each arm against its own reference" if len(set(tables.references(study).values())) > 1 else ""
    allowed = tables.margin(study, study["metric"])
    whose = "that the study names" if study.get("margin") is not None else "of accuracies, the study names no other"
    equal = (
        f"No difference larger than x: not separated, and the interval lies inside ±{allowed:g} (the margin {whose}); "
        "x is its farther end."
    )
    return [
        "Intervals: 95 % t intervals over seeds (Student 1908); differences are paired by seed, each interval for one "
        f"comparison. The verdict is the paired t test at .05 after Holm over the {m} comparisons of a list{own}; an "
        "interval that leaves 0 out may therefore be not separated. rho: how an arm and its reference go together over "
        "seeds, which is what pairing gains by.",
        *([equal] if np.isfinite(allowed) else []),
        f"Exact sign-flip test, free of the normal law: at n = {n} its p cannot be below "
        f"{intervals.smallest_sign_flip(n):.3g}" + (", so it cannot confirm a verdict here." if n < 6 else "."),
        f"Seeds needed, and differences that are found: for 80 % power at .05 / {max(m, 1)}, the first step of Holm "
        "and so the Bonferroni bound of the test that is made, if difference and spread seen are the true ones.",
    ]


def table_notes(rows: pd.DataFrame, study: Study, metric: str) -> list[str]:
    """The lines directly under the table of one metric: its list, its published values, the study's notes."""
    name = metric.removeprefix("accuracy/")
    lines = [list_line(rows, name)] if name in tables.LISTS and f"accuracy/{name}" in rows else []
    known = any(np.isfinite(tables.published(study, arm, metric)) for arm in study["arms"])
    return [*lines, *([PUBLISHED] if known else []), *(study.get("notes") or [])]


PUBLISHED = (
    "Published: what others reported, one training and one evaluation each, with their own evaluator. A published "
    "difference is the arm's value minus its reference's; the noise of one evaluation is "
    "1.96 sqrt(p1 (1 - p1) / m + p2 (1 - p2) / m), unpaired, with m the objects of the list: what stays inside it one "
    "evaluation each cannot tell from no difference."
)


def list_line(rows: pd.DataFrame, name: str) -> str:
    """Objects, chance level and what one evaluation can resolve at the mean accuracy of the list."""
    complete = tables.complete_rows(rows)
    mean, objects = complete[f"accuracy/{name}"].mean(), tables.number_of(complete, f"objects/{name}")
    low, high = intervals.wilson(mean * objects, objects)
    error = np.sqrt(mean * (1 - mean) / objects) if objects > 0 else np.nan
    return (
        f"{name}: {objects:.0f} objects, chance {tables.number_of(complete, f'chance/{name}'):.3f}; one evaluation at "
        f"{mean:.3f} has a standard error of {error:.3f} (Wilson 95 %: {low:.3f} to {high:.3f})."
    )


def _one(rows: pd.DataFrame, field: str) -> str:
    """The value that all trials share, or the first values that occur; floats shortened."""
    if field not in rows:
        return "not recorded"
    occurring = list(rows[field].dropna().unique())
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in occurring]
    rest = f" and {len(words) - MOST_VALUES} more" if len(words) > MOST_VALUES else ""
    return " | ".join(words[:MOST_VALUES]) + rest or "not recorded"


def nuisance_line(rows: pd.DataFrame, study: Study) -> str:
    """What stands under a `tables.best_of_nuisance`."""
    scientific, nuisance = tables.factors_by_role(study)
    candidates = max(map(len, tables.settings(rows, study).values()))
    return (
        f"Each {tables.joined(scientific)} at its best {tables.joined(nuisance)} of {candidates}, chosen on "
        f"{tables.SELECTION} (mean over seeds). The choice flatters validation itself: the rows of test, new_test and "
        "unseen are the honest ones. Intervals do not contain the uncertainty of the choice."
    )
