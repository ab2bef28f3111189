"""Tables of a study: one row an arm, with n, intervals and a verdict in words; and the sentences that belong to them.

`rows` is what `study.record.load` gives (one row a trial), `study` is its study.json. An arm of which a trial
failed, was pruned or is missing is a hole: its mean over the rest is shown with its n, but it is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import caveats, intervals, outcomes
from analysis.writing import latex as latex
from analysis.writing import markdown as markdown
from analysis.writing import text as text
from runners.config import DEFAULTS

Study = Mapping[str, Any]

LISTS = ("validation", "test", "new_test", "unseen")
SELECTION = "accuracy/validation"  # what every choice is made on
SMALLER_IS_BETTER = (
    "seconds",
    "loss",
    "peak_memory",
    "parameters",
    "spurious",
    "missing",
    "colour_only",
    "shape_only",
    "memorised",
    "x0_error",
)
MARGIN = 0.05  # of an accuracy: a difference inside it counts as none, where the study names no other
EVALUATIONS, SECONDS = "evaluations an image", "sampling s"
# Result -> its column; shown where the arms differ by more than this share (seconds are measured, the rest counted).
COMPUTE = {
    "parameters": ("parameters", 1e-6),
    "gflop_forward": ("GFLOP forward", 1e-6),
    "network_evaluations": (EVALUATIONS, 1e-6),
    "seconds/sample": (SECONDS, 0.2),
}
SIGNAL = "signal at T"  # sqrt(alpha_bar_T): a confound of every study of schedules or T
TERMINAL = 0.05  # above it samples start visibly off the noise they were trained on
MOST_VALUES = 6  # that a line of the protocol writes out


# --- numbers -----------------------------------------------------------------------------------------


def values(rows: pd.DataFrame, study: Study, metric: str) -> intervals.Array:
    """The metric as an array (seeds, arms) in the study's order; NaN where a trial is not complete."""
    complete = _complete(rows)
    if metric not in complete:
        return np.full((len(study["seeds"]), len(study["arms"])), np.nan)
    table = complete.pivot(index="seed", columns="arm", values=metric)
    return table.reindex(index=study["seeds"], columns=study["arms"]).to_numpy(dtype=np.float64)


def references(study: Study) -> dict[str, str]:
    """Arm -> the arm it is compared with: its own where the study names one, else the baseline."""
    arms, baseline = list(study["arms"]), study["baseline_arm"]
    named = study.get("against")
    against: dict[str, str] = {arm: baseline for arm in arms} if named is None else dict(named)
    return {arm: against[arm] for arm in arms if arm in against and against[arm] in arms and against[arm] != arm}


def summary(rows: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """One row an arm: n complete trials, mean and its interval, paired difference from its reference, verdict."""
    array, arms = values(rows, study, metric), list(study["arms"])
    against = references(study)
    columns = [arms.index(against[arm]) if arm in against else -1 for arm in arms]
    mean, paired = intervals.means(array), intervals.differences(array, columns)
    table = pd.DataFrame(
        {
            "arm": arms,
            "n": mean.n,
            "planned": len(study["seeds"]),
            "mean": mean.mean,
            "ci low": mean.low,
            "ci high": mean.high,
            "against": [against.get(arm, "") for arm in arms],
            "difference": paired.difference,
            "difference low": paired.low,
            "difference high": paired.high,
            "sd of differences": paired.sd,
            "p": paired.p_t,
            "p Holm": paired.p_holm,
            "p sign-flip": paired.p_flip,
            "rho": paired.rho,
        }
    )
    fields = {field: column for field, (column, _) in COMPUTE.items()} | {"terminal_sqrt_alpha_bar": SIGNAL}
    fields |= {f"objects/{metric.split('/')[-1]}": "objects"}
    for field, column in fields.items():
        table[column] = _arm_means(rows, study, field)
    judged = intervals.verdicts(paired, margin(study, metric), metric.startswith(SMALLER_IS_BETTER))
    if len(study["seeds"]) == 1:
        found = outcomes.compared(rows, against, metric)
        table = table.join(found.reindex(arms).reset_index(drop=True))
    table["verdict"] = [
        _verdict(row, table, rows, study, verdict) for verdict, (_, row) in zip(judged, table.iterrows(), strict=True)
    ]
    return table


def margin(study: Study, metric: str) -> float:
    """Differences inside it count as none: what the study names, else MARGIN; of accuracies and the study's metric.

    NaN where no margin is known, so that nothing is called equal.
    """
    if metric.startswith("accuracy") or (metric == study["metric"] and study.get("margin") is not None):
        return float(MARGIN if study.get("margin") is None else study["margin"])
    return np.nan


def _arm_means(rows: pd.DataFrame, study: Study, field: str) -> intervals.Array:
    """A numeric result averaged over an arm's complete trials."""
    complete = _complete(rows)
    if field not in complete:
        return np.full(len(study["arms"]), np.nan)
    found = complete.groupby("arm")[field].mean().reindex(study["arms"])
    return found.to_numpy(dtype=np.float64)


def _verdict(row: pd.Series, table: pd.DataFrame, rows: pd.DataFrame, study: Study, verdict: str) -> str:
    """What may be said of an arm against its reference, given what its numbers allow (`intervals.verdicts`)."""
    if row["n"] < row["planned"]:
        return f"hole: {row['n']} of {row['planned']} seeds ({_lacking(rows, row)})"
    if not row["against"]:
        if row["arm"] == study["baseline_arm"]:
            return "baseline"
        return "reference" if (table["against"] == row["arm"]).any() else "not compared"
    reference = table[table["arm"] == row["against"]].iloc[0]
    if reference["n"] < row["planned"]:
        name = "the baseline" if reference["arm"] == study["baseline_arm"] else reference["arm"]
        return f"not compared: {name} has {reference['n']} of {row['planned']} seeds"
    if row["n"] == 1:
        p = row["p McNemar"]
        if np.isnan(p):
            return "one training each: no interval"
        return f"one training each: p McNemar {probability(p)} says nothing about other seeds"
    return verdict_in_words(verdict, row, _comparisons(table))


def verdict_in_words(verdict: str, row: pd.Series, comparisons: int) -> str:
    """The words for what `intervals.verdicts` found in the numbers of `row`; n > 1."""
    if verdict == "no error":
        return "not separated: the same difference in every seed, so no error can be estimated"
    if verdict == "equivalent":
        return f"{EQUAL} {_largest(row):.3f}"
    return f"not separated: needs {_seeds_in_words(row, comparisons)}" if verdict == "open" else verdict


EQUAL = "no difference larger than"


def _largest(row: pd.Series) -> float:
    """The farther end of the interval, rounded up: nothing larger is compatible with it."""
    return float(np.ceil(1000 * intervals.largest_difference(row["difference low"], row["difference high"])) / 1000)


def _comparisons(table: pd.DataFrame) -> int:
    """The family of Holm: every arm with a reference, those with a hole included."""
    return int((table["against"] != "").sum())


def _lacking(rows: pd.DataFrame, row: pd.Series) -> str:
    """`1 failed, 1 pruned`: what the seeds of an arm's hole came to."""
    states = rows.loc[rows["arm"] == row["arm"], "state"]
    counts = states[states != "complete"].value_counts().sort_index()
    parts = [f"{count} {state}" for state, count in counts.items()]
    without = row["planned"] - row["n"] - counts.sum()
    return ", ".join([*parts, *([f"{without} without a number"] if without else [])])


def _seeds_in_words(row: pd.Series, comparisons: int) -> str:
    """The seeds that would separate a difference as large as the one seen, if it is real."""
    needed = intervals.seeds_needed(row["difference"], row["sd of differences"], comparisons=comparisons)
    if needed is None:
        return f"more than {intervals.MOST_SEEDS:,} seeds"
    return f"about {max(needed, row['n'] + 1)} seeds"


def metrics(rows: pd.DataFrame, study: Study) -> list[str]:
    """The study's own metric first, then the accuracy of every list that was scored."""
    lists = [f"accuracy/{name}" for name in LISTS]
    return [study["metric"], *(name for name in lists if name in rows and name != study["metric"])]


def published(study: Study, arm: str, metric: str) -> float:
    """What others reported for the arm; NaN when nothing is known."""
    return float((study.get("published") or {}).get(arm, {}).get(metric, np.nan))


# --- each setting at its best nuisance value ---------------------------------------------------------


def fields_of(rows: pd.DataFrame, study: Study, fields: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Arm -> its values of the config `fields`."""
    first = rows.drop_duplicates("arm").set_index("arm").reindex(columns=list(fields))
    found = dict(zip(first.index, first.itertuples(index=False, name=None), strict=True))
    return {arm: found[arm] for arm in study["arms"] if arm in found}


def varies_alone(study: Study, field: str) -> bool:
    """Whether two arms differ in the factor `field` alone, so that a line over its values means something."""
    factors = study.get("factors") or {}
    if field not in factors or study.get("search"):
        return False
    others = [name for name in factors if name != field]
    seen: dict[tuple[Any, ...], set[Any]] = {}
    for trial in study.get("trials") or []:
        config = DEFAULTS | trial["config"]
        seen.setdefault(tuple(config[name] for name in others), set()).add(config[field])
    return any(len(values) > 1 for values in seen.values())


def factors_by_role(study: Study) -> tuple[list[str], list[str]]:
    """(scientific, nuisance) factors: what the study asks about, and what is only tuned for each of its settings."""
    nuisance = [name for name in study.get("nuisance") or [] if name in (study.get("factors") or {})]
    return [name for name in study.get("factors") or {} if name not in nuisance], nuisance


def settings(rows: pd.DataFrame, study: Study) -> dict[str, list[str]]:
    """Scientific setting, as `drop_probability=0.1` -> its arms, one a nuisance value; empty without both roles."""
    scientific, nuisance = factors_by_role(study)
    found: dict[str, list[str]] = {}
    if scientific and nuisance and len(rows):
        for arm, setting in fields_of(rows, study, scientific).items():
            found.setdefault(_setting(scientific, setting), []).append(arm)
    return found


def _setting(fields: Sequence[str], setting: Sequence[Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in zip(fields, setting, strict=True))


def chosen(rows: pd.DataFrame, study: Study, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Group -> its arm with the highest mean of SELECTION over the seeds, as long as none of its arms has a hole."""
    array = values(rows, study, SELECTION)
    score = dict(zip(study["arms"], np.where(np.isfinite(array).all(axis=0), array.mean(axis=0), np.nan), strict=True))
    whole = {group: arms for group, arms in groups.items() if np.isfinite([score[arm] for arm in arms]).all()}
    return {group: max(arms, key=score.__getitem__) for group, arms in whole.items()}


def best_of_nuisance(rows: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """A `summary` with one row a scientific setting, at the nuisance value that `chosen` took for it.

    Every setting chooses among equally many candidates, or is not compared: the best of more is luckier. Empty for
    a study without nuisance factors.
    """
    groups = settings(rows, study)
    if len(groups) < 2:
        return pd.DataFrame()
    _, nuisance = factors_by_role(study)
    most = max(map(len, groups.values()))
    best = {group: arm for group, arm in chosen(rows, study, groups).items() if len(groups[group]) == most}
    taken = {group: best.get(group, arms[0]) for group, arms in groups.items()}
    baseline = next(group for group, arms in groups.items() if study["baseline_arm"] in arms)
    names = {arm: group for group, arm in taken.items()}
    alone = {key: value for key, value in study.items() if key not in ("against", "published")}
    alone |= {"arms": list(names), "baseline_arm": taken[baseline]}
    open_arms = [arm for arm, group in names.items() if group not in best]
    masked = rows.assign(state=rows["state"].mask(rows["arm"].isin(open_arms), "missing"))
    table = summary(masked, alone, metric)
    for index, group in enumerate(taken):
        if group not in best:
            table.loc[index, "verdict"] = _no_choice(rows, study, groups[group], most)
        elif baseline not in best:
            table.loc[index, "verdict"] = "not compared: the baseline's candidates have holes"
    values_of = fields_of(rows, study, nuisance)
    choices = [_setting(nuisance, values_of[arm]) if names[arm] in best else "-" for arm in table["arm"]]
    table.insert(1, "chosen", choices)
    table.insert(2, "candidates", [len(groups[names[arm]]) for arm in table["arm"]])
    return table.replace({"arm": names, "against": names})


def _no_choice(rows: pd.DataFrame, study: Study, arms: Sequence[str], most: int) -> str:
    if len(arms) < most:
        return f"not compared: {len(arms)} of the {most} candidates that others choose among"
    array = values(rows, study, SELECTION)
    scored = sum(bool(np.isfinite(array[:, study["arms"].index(arm)]).all()) for arm in arms)
    return f"hole: {scored} of {most} candidates are complete"


def nuisance_line(rows: pd.DataFrame, study: Study) -> str:
    """What stands under a `best_of_nuisance`."""
    scientific, nuisance = factors_by_role(study)
    return (
        f"Each {_words(scientific)} at its best {_words(nuisance)} of {max(map(len, settings(rows, study).values()))}, "
        f"chosen on {SELECTION} (mean over seeds). The choice flatters validation itself: the rows of test, new_test "
        "and unseen are the honest ones. Intervals do not contain the uncertainty of the choice."
    )


def _words(fields: Sequence[str]) -> str:
    return " and ".join(fields)


# --- search ------------------------------------------------------------------------------------------


def search_table(study: Study) -> pd.DataFrame:
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


def readable_search(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """A `search_table` as short strings."""
    shown = pd.DataFrame({"trial": table["trial"], "state": table["state"]})
    for name in table.columns[2:]:
        digits = _decimal_or_dash if name == study["metric"] else _short
        shown[name] = [digits(value) for value in table[name]]
    return shown


def _decimal_or_dash(value: Any) -> str:
    return decimal(float("nan") if value is None else float(value), "")


def _short(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def complete_trials(study: Study) -> list[Mapping[str, Any]]:
    return [trial for trial in study["search"]["trials"] if trial["state"] == "complete"]


def _trial_counts(study: Study) -> str:
    """`20 of 24 search trials are done (17 complete, 2 pruned, 1 failed)`."""
    states = pd.Series([trial["state"] for trial in study["search"]["trials"]], dtype=object).value_counts()
    done = [f"{states[state]} {state}" for state in ("complete", "pruned", "failed") if state in states]
    number = sum(int(states.get(state, 0)) for state in ("complete", "pruned", "failed"))
    planned = study["search"].get("planned") or len(study["search"]["trials"])
    return f"{number} of {planned} search trials are done" + (f" ({', '.join(done)})" if done else "")


def search_lines(rows: pd.DataFrame, study: Study) -> list[str]:
    """Selection score beside the fresh seeds, the pruning rule, and the importance of the parameters."""
    search, k = study["search"], len(complete_trials(study))
    lines = [f"Search: {_trial_counts(study)}. {search.get('pruning') or ''}".rstrip()]
    if (score := search.get("selection_score")) is not None:
        mean = intervals.means(values(rows, study, study["metric"]))
        fresh = "has not been trained on fresh seeds yet"
        if "winner" in study["arms"] and mean.n[at := list(study["arms"]).index("winner")]:
            interval = f" [{mean.low[at]:.3f}, {mean.high[at]:.3f}]" if mean.n[at] > 1 else ""
            fresh = f"has {mean.mean[at]:.3f}{interval} on fresh seeds (n = {mean.n[at]})"
        lines.append(
            f"Selection: trial {search.get('winner')} scored {score:.3f} in {study['metric']} on seed "
            f"{search.get('search_seed', 0)}, the best of {k} complete trials chosen on that score, so flattered; "
            f"it {fresh}."
        )
        lines += _optimism(rows, study, float(score), k)
    if importance := search.get("importance"):
        ranked = sorted(importance.items(), key=lambda item: -item[1])
        lines.append(
            f"Importance by {search.get('importance_evaluator')}: "
            f"{', '.join(f'{name} {share:.2f}' for name, share in ranked)} (shares of variance in {k} trials, no test)."
        )
    return lines


def _optimism(rows: pd.DataFrame, study: Study, score: float, k: int) -> list[str]:
    """What choosing the best of k adds to its score by luck; nothing where the objects of the list are not known."""
    name = study["metric"].removeprefix("accuracy/")
    objects, passes = _number(_complete(rows), f"objects/{name}"), _number(rows, "sampling_seeds")
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


# --- sentences ---------------------------------------------------------------------------------------


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
        return f"No answer yet: {_trial_counts(study)}{best}."
    if _complete(rows).empty:
        return f"No answer yet: none of the {len(rows)} trials is complete."
    metric, where = study["metric"], study["metric"]
    table = best_of_nuisance(rows, study, metric)
    if len(table):
        honest = [
            f"accuracy/{name}" for name in LISTS if f"accuracy/{name}" in rows and f"accuracy/{name}" != SELECTION
        ]
        metric = honest[0] if metric == SELECTION and honest else metric
        table = best_of_nuisance(rows, study, metric)
        scientific, nuisance = factors_by_role(study)
        where = f"{metric}, with each {_words(scientific)} at its best {_words(nuisance)} (chosen on {SELECTION})"
    else:
        table = summary(rows, study, metric)
    compared = table[table["difference"].notna()]
    if compared.empty:
        return f"No answer yet: {missing(rows, study) or 'the study has one arm, and nothing to compare it with.'}"
    lacking = int((table["against"] != "").sum()) - len(compared)
    holes = f" Preliminary: {lacking} {'arm has' if lacking == 1 else 'arms have'} holes." if lacking else ""
    n = len(study["seeds"])
    if n == 1:
        return _best_of_one_seed(table, metric, where) + holes
    terms = f"(n = {n} training seeds an arm, 95 % paired t intervals, verdicts after Holm)"
    if "search" in study and (score := study["search"].get("selection_score")) is not None:
        k = len(complete_trials(study))
        terms = f"on fresh seeds; its selection score, the best of {k} and so flattered, was {score:.3f} {terms}"
    separated = compared[compared["verdict"].isin(["better", "worse"])]
    if _are_equal(compared).all():
        return _no_difference(table, compared, where, margin(study, metric)) + f" {terms}.{holes}"
    if separated.empty:
        return _not_separated(table, compared, where, n) + f" {terms}.{holes}"
    if _is_ladder(table):
        return _steps(compared, where) + f" {terms}.{holes}"
    return _separated(table, compared, separated, where) + f" {terms}.{holes}"


def _best_of_one_seed(table: pd.DataFrame, metric: str, where: str) -> str:
    best = table.iloc[int((table["mean"] * (-1 if metric.startswith(SMALLER_IS_BETTER) else 1)).argmax())]
    common = _common_reference(table)
    against = f", the baseline {common} has {_mean_of(table, common):.3f}" if common and common != best["arm"] else ""
    return (
        f"One training an arm compares one training with another, which gives no interval over seeds and so no answer: "
        f"the best {where} is {best['mean']:.3f} of {best['arm']}{against} (n = 1)."
    )


def _not_separated(table: pd.DataFrame, compared: pd.DataFrame, where: str, n: int) -> str:
    largest = compared.iloc[int(compared["difference"].abs().argmax())]
    seen = intervals.detectable_difference(largest["sd of differences"], n, comparisons=_comparisons(table))
    common = _common_reference(table)
    reference = f"{common} ({_mean_of(table, common):.3f})" if common else "its own reference"
    against = "" if common else f" against {largest['against']}"
    return (
        f"Not separated: in {where} no arm differs from {reference}; the largest "
        f"difference is {_difference(largest)} for {largest['arm']}{against}, where {n} seeds find differences from "
        f"{seen:.3f} up in 8 of 10 studies{_equal_arms(compared)}"
    )


def _are_equal(compared: pd.DataFrame) -> pd.Series:
    return compared["verdict"].str.startswith(EQUAL)


def _equal_arms(compared: pd.DataFrame, what: str = "arm") -> str:
    """`, 2 arms have no difference larger than 0.021`; empty when there is none."""
    equal = compared[_are_equal(compared)]
    if equal.empty:
        return ""
    largest = max(_largest(row) for _, row in equal.iterrows())
    return f", {len(equal)} {what}{' has' if len(equal) == 1 else 's have'} {EQUAL} {largest:.3f}"


def _no_difference(table: pd.DataFrame, compared: pd.DataFrame, where: str, allowed: float) -> str:
    """Every interval lies inside the margin."""
    common = _common_reference(table)
    reference = f"{common} ({_mean_of(table, common):.3f})" if common else "its own reference"
    largest = max(_largest(row) for _, row in compared.iterrows())
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


def protocol(rows: pd.DataFrame, study: Study) -> list[str]:
    """The lines that stand under every table; those that start with "Warning:" limit what it says."""
    n, complete = len(study["seeds"]), _complete(rows)
    lines = [
        f"n = {n} training seed{'s' * (n != 1)} an arm ({', '.join(map(str, study['seeds']))}); the unit is the "
        f"training, objects and {_one(rows, 'sampling_seeds')} sampling pass(es) are averaged inside it. "
        f"{len(complete)} of {len(rows)} trials complete.",
        *terms(rows),
        *(_tests(study) if n > 1 else [outcomes.NOTE]),
    ]
    lines += [list_line(rows, name) for name in LISTS if f"accuracy/{name}" in complete]
    lines += [PUBLISHED] if study.get("published") else []
    lines += [nuisance_line(rows, study)] if len(settings(rows, study)) > 1 else []
    lines += search_lines(rows, study) if study.get("search") else []
    lines += list(study.get("notes") or [])
    return lines + [f"Warning: {line}" for line in caveats.warnings(complete, study)]


def terms(rows: pd.DataFrame) -> list[str]:
    """On which terms every number was made: checkpoint, sampler, the meaning of s, evaluator."""
    complete = _complete(rows)
    return [
        f"Checkpoint rule: {_one(complete, 'checkpoint_rule')}. Nothing was chosen on test, new_test or unseen.",
        f"Sampler: {_one(rows, 'sampler')}; guidance_scale s = {_one(rows, 'guidance_scale')} "
        "in eps_u + s (eps_c - eps_u), so s = 1 is unguided.",
        f"Evaluator: {_one(complete, 'evaluator_kind')}; its accuracy on images that it never saw: "
        f"{_one(complete, 'evaluator_held_out_accuracy')}.",
    ]


def _tests(study: Study) -> list[str]:
    """How several seeds are compared, and what the printed plans assume."""
    n, m = len(study["seeds"]), len(references(study))
    own = "; each arm against its own reference" if len(set(references(study).values())) > 1 else ""
    allowed = margin(study, study["metric"])
    whose = "that the study names" if study.get("margin") is not None else "of accuracies, the study names no other"
    equal = (
        f"No difference larger than x: not separated, and the interval lies inside ±{allowed:g} (the margin {whose}); "
        "x is its farther end."
    )
    return [
        "Intervals: 95 % t intervals over seeds (Student 1908); differences are paired by seed, each interval for one "
        f"comparison. The verdict is the paired t test at .05 after Holm over the {m} comparisons of a list{own}; an "
        "interval that leaves 0 out may therefore be not separated.",
        *([equal] if np.isfinite(allowed) else []),
        f"Exact sign-flip test, free of the normal law: at n = {n} its p cannot be below "
        f"{intervals.smallest_sign_flip(n):.3g}" + (", so it cannot confirm a verdict here." if n < 6 else "."),
        f"Seeds needed, and differences that are found: for 80 % power at .05 / {max(m, 1)}, the first step of Holm "
        "and so the Bonferroni bound of the test that is made, if difference and spread seen are the true ones.",
    ]


def table_notes(rows: pd.DataFrame, study: Study, metric: str) -> list[str]:
    """The lines directly under the table of one metric: its list, its published values, the study's notes."""
    name = metric.removeprefix("accuracy/")
    lines = [list_line(rows, name)] if name in LISTS and f"accuracy/{name}" in rows else []
    known = any(np.isfinite(published(study, arm, metric)) for arm in study["arms"])
    return [*lines, *([PUBLISHED] if known else []), *(study.get("notes") or [])]


PUBLISHED = (
    "Published: what others reported, one training and one evaluation each, with their own evaluator. A published "
    "difference is the arm's value minus its reference's; the noise of one evaluation is "
    "1.96 sqrt(p1 (1 - p1) / m + p2 (1 - p2) / m), unpaired, with m the objects of the list: what stays inside it one "
    "evaluation each cannot tell from no difference."
)


def list_line(rows: pd.DataFrame, name: str) -> str:
    """Objects, chance level and what one evaluation can resolve at the mean accuracy of the list."""
    complete = _complete(rows)
    mean, objects = complete[f"accuracy/{name}"].mean(), _number(complete, f"objects/{name}")
    low, high = intervals.wilson(mean * objects, objects)
    error = np.sqrt(mean * (1 - mean) / objects) if objects > 0 else np.nan
    return (
        f"{name}: {objects:.0f} objects, chance {_number(complete, f'chance/{name}'):.3f}; one evaluation at "
        f"{mean:.3f} has a standard error of {error:.3f} (Wilson 95 %: {low:.3f} to {high:.3f})."
    )


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["state"] == "complete"] if len(rows) else rows


def _one(rows: pd.DataFrame, field: str) -> str:
    """The value that all trials share, or the first values that occur; floats shortened."""
    if field not in rows:
        return "not recorded"
    occurring = list(rows[field].dropna().unique())
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in occurring]
    rest = f" and {len(words) - MOST_VALUES} more" if len(words) > MOST_VALUES else ""
    return " | ".join(words[:MOST_VALUES]) + rest or "not recorded"


def _number(rows: pd.DataFrame, field: str) -> float:
    """Mean of a numeric result; NaN when it is not recorded."""
    return float(rows[field].mean()) if field in rows and len(rows) else np.nan


def factor_rows(study: Study) -> pd.DataFrame:
    """The factors with their values, and the baseline's."""
    baseline = study.get("baseline") or {}
    return pd.DataFrame(
        [
            {"factor": name, "baseline": str(baseline.get(name, "")), "values": ", ".join(map(str, given))}
            for name, given in (study.get("factors") or {}).items()
        ]
    )


# --- writing -----------------------------------------------------------------------------------------


def readable(table: pd.DataFrame, study: Study | None = None, metric: str = "") -> pd.DataFrame:
    """A summary as short strings: intervals in brackets, three decimals, one dash for what does not exist.

    What was spent, and what else may explain a difference, has columns where the arms differ in it.
    """
    shown = table[["arm", *(["chosen"] if "chosen" in table else [])]].copy()
    shown["n"] = [
        f"{n}" if n == planned else f"{n}/{planned}" for n, planned in zip(table["n"], table["planned"], strict=True)
    ]
    shown["mean [95 % CI]"] = with_interval(table, "mean", "ci low", "ci high", "")
    if table["against"].loc[table["against"] != ""].nunique() > 1:
        shown["against"] = table["against"].replace("", "-")
    if table["planned"].max() > 1:
        shown["difference [95 % CI]"] = with_interval(table, "difference", "difference low", "difference high", "+")
    elif table["p McNemar"].notna().any():
        shown["difference [95 % CI of the pictures]"] = with_interval(
            table, "difference", "objects low", "objects high", "+"
        )
        shown["p McNemar"] = [probability(value) for value in table["p McNemar"]]
    else:
        shown["difference"] = [decimal(value, "+") for value in table["difference"]]
    digits: dict[str, Callable[[float], str]] = {"p Holm": probability, "p sign-flip": probability, "rho": decimal}
    for name in digits if table["planned"].max() > 1 else ():
        shown[name] = [digits[name](value) for value in table[name]]
    if study:
        shown = shown.join(_published(table, study, metric))
    costs = [name for name in COMPUTE.values() if _differs(table[name[0]], name[1])]
    # Seconds are the machine's as well as the arm's: they are told where the arms' sampling differs by design.
    sampled = any(column == EVALUATIONS for column, _ in costs)
    for column, _ in costs:
        if column != SECONDS or sampled:
            shown[column] = ["-" if np.isnan(value) else _counted(value) for value in table[column]]
    if _differs(table[SIGNAL], 1e-3) and table[SIGNAL].max() > TERMINAL:
        shown[SIGNAL] = [decimal(value) + (" !" if value > TERMINAL else "") for value in table[SIGNAL]]
    shown["verdict"] = table["verdict"]
    return shown


def _differs(column: pd.Series, tolerance: float) -> bool:
    return bool(column.max() - column.min() > tolerance * column.max())


def _counted(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def _published(table: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """What others reported beside ours, and whether their differences exceed the noise of one evaluation."""
    known = pd.Series([published(study, arm, metric) for arm in table["arm"]], index=table.index, dtype=float)
    if known.isna().all():
        return pd.DataFrame(index=table.index)
    shown = pd.DataFrame({"published": [decimal(value) for value in known]}, index=table.index)
    inside = (table["ci low"] <= known) & (known <= table["ci high"])
    judged = known.notna() & table["ci low"].notna()
    shown["in our CI"] = [("yes" if yes else "no") if ok else "-" for yes, ok in zip(inside, judged, strict=True)]
    reference = table["against"].map(dict(zip(table["arm"], known, strict=True)))
    objects = table["objects"] if metric.startswith("accuracy") else np.full(len(table), np.nan)
    if (known.notna() & reference.notna()).any():
        pairs = zip(known, reference.astype(float), objects, strict=True)
        shown["published difference"] = [_published_difference(*pair) for pair in pairs]
    return shown


def _published_difference(own: float, reference: float, objects: float) -> str:
    """`-0.015, inside the noise of one evaluation (±0.138)`."""
    if np.isnan(own) or np.isnan(reference):
        return "-"
    noise = intervals.unpaired_noise(own, reference, objects)
    if np.isnan(noise):
        return f"{own - reference:+.3f}"
    side = "inside" if abs(own - reference) <= noise else "outside"
    return f"{own - reference:+.3f}, {side} the noise of one evaluation (±{noise:.3f})"


def with_interval(table: pd.DataFrame, middle: str, low: str, high: str, sign: str) -> list[str]:
    return [
        decimal(m, sign) + (f" [{decimal(a, sign)}, {decimal(b, sign)}]" if np.isfinite(a) else "")
        for m, a, b in zip(table[middle], table[low], table[high], strict=True)
    ]


def decimal(value: float, sign: str = "") -> str:
    """Three decimals, or four digits for what is no share (seconds, parameters); a dash for NaN."""
    if not np.isfinite(value):
        return "-"
    return f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign},.4g}"


def probability(p: float) -> str:
    """A p with three decimals, never 0: `<0.001`."""
    return "<0.001" if p < 0.0005 else decimal(p)
