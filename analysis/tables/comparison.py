"""Tables of a study: one row an arm, with n, intervals and a verdict in words.

`rows` is what `study.record.load` gives (one row a trial), `study` is its study.json. An arm of which a trial
failed, was pruned or is missing is a hole: its mean over the rest is shown with its n, but it is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.tables import outcomes
from runners.ddpm.config import TrialConfig

Study = Mapping[str, Any]
Line = Mapping[Any, Any] | pd.Series  # of a table: column -> value

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


# --- numbers -----------------------------------------------------------------------------------------


def values(rows: pd.DataFrame, study: Study, metric: str) -> intervals.Array:
    """The metric as an array (seeds, arms) in the study's order; NaN where a trial is not complete."""
    complete = complete_rows(rows)
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
    lines = {line["arm"]: line for line in table.to_dict("records")}
    table["verdict"] = [
        _verdict(line, lines, rows, study, verdict) for verdict, line in zip(judged, lines.values(), strict=True)
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
    complete = complete_rows(rows)
    if field not in complete:
        return np.full(len(study["arms"]), np.nan)
    found = complete.groupby("arm")[field].mean().reindex(study["arms"])
    return found.to_numpy(dtype=np.float64)


def complete_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The complete trials of `rows`, also of a study without any."""
    return rows[rows["state"] == "complete"] if len(rows) else rows


def number_of(rows: pd.DataFrame, field: str) -> float:
    """Mean of a numeric result; NaN when it is not recorded."""
    return float(rows[field].mean()) if field in rows and len(rows) else np.nan


def _verdict(row: Line, lines: Mapping[str, Line], rows: pd.DataFrame, study: Study, verdict: str) -> str:
    """What may be said of an arm against its reference, given what its numbers allow (`intervals.verdicts`).

    `lines`: arm -> its line of the table.
    """
    if row["n"] < row["planned"]:
        return f"hole: {row['n']} of {row['planned']} seeds ({_lacking(rows, row)})"
    if not row["against"]:
        if row["arm"] == study["baseline_arm"]:
            return "baseline"
        return "reference" if row["arm"] in (line["against"] for line in lines.values()) else "not compared"
    reference = lines[row["against"]]
    if reference["n"] < row["planned"]:
        name = "the baseline" if reference["arm"] == study["baseline_arm"] else reference["arm"]
        return f"not compared: {name} has {reference['n']} of {row['planned']} seeds"
    if row["n"] == 1:
        p = row["p McNemar"]
        if np.isnan(p):
            return "one training each: no interval"
        return f"one training each: p McNemar {probability(p)} says nothing about other seeds"
    return verdict_in_words(verdict, row, sum(line["against"] != "" for line in lines.values()))


def verdict_in_words(verdict: str, row: Line, comparisons: int) -> str:
    """The words for what `intervals.verdicts` found in the numbers of `row`; n > 1."""
    if verdict == "no error":
        return "not separated: the same difference in every seed, so no error can be estimated"
    if verdict == "equivalent":
        return f"{EQUAL} {largest_difference(row):.3f}"
    return f"not separated: needs {_seeds_in_words(row, comparisons)}" if verdict == "open" else verdict


EQUAL = "no difference larger than"


def largest_difference(row: Line) -> float:
    """The farther end of the interval, rounded up: nothing larger is compatible with it."""
    return float(np.ceil(1000 * intervals.largest_difference(row["difference low"], row["difference high"])) / 1000)


def comparisons_of(table: pd.DataFrame) -> int:
    """The family of Holm: every arm with a reference, those with a hole included."""
    return int((table["against"] != "").sum())


def _lacking(rows: pd.DataFrame, row: Line) -> str:
    """`1 failed, 1 pruned`: what the seeds of an arm's hole came to."""
    states = rows.loc[rows["arm"] == row["arm"], "state"]
    counts = states[states != "complete"].value_counts().sort_index()
    parts = [f"{count} {state}" for state, count in counts.items()]
    without = row["planned"] - row["n"] - counts.sum()
    return ", ".join([*parts, *([f"{without} without a number"] if without else [])])


def _seeds_in_words(row: Line, comparisons: int) -> str:
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


def factor_rows(study: Study) -> pd.DataFrame:
    """The factors with their values, and the baseline's."""
    baseline = study.get("baseline") or {}
    return pd.DataFrame(
        [
            {"factor": name, "baseline": str(baseline.get(name, "")), "values": ", ".join(map(str, given))}
            for name, given in (study.get("factors") or {}).items()
        ]
    )


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
        config = TrialConfig.defaults() | trial["config"]
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


def joined(fields: Sequence[str]) -> str:
    """`drop_probability and guidance_scale`."""
    return " and ".join(fields)


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
    shown["verdict"] = table["verdict"]  # before what only explains: a narrow page cuts off the end
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
