"""Tables of a study: one row an arm, with n, intervals and a verdict in words; and the sentences that belong to them.

`rows` is what `study.record.load` gives (one row a trial), `study` is its study.json. An arm of which a trial
failed or is missing is a hole: its mean over the rest is shown with its n, but it is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import intervals

Study = Mapping[str, Any]

LISTS = ("validation", "test", "new_test", "unseen")
SMALLER_IS_BETTER = ("seconds", "loss", "peak_memory", "parameters")
COMPUTE = (("total_images", "training images"), ("parameters", "parameters"), ("gflop_forward", "GFLOP a forward pass"))
SIGNIFICANT = 1 - intervals.LEVEL
TERMINAL = 0.05  # sqrt(alpha_bar_T) above which samples start visibly off the noise they were trained on


# --- numbers -----------------------------------------------------------------------------------------


def values(rows: pd.DataFrame, study: Study, metric: str) -> intervals.Array:
    """The metric as an array (seeds, arms) in the study's order; NaN where a trial is not complete."""
    complete = rows[rows["state"] == "complete"] if len(rows) else rows
    if metric not in complete:
        return np.full((len(study["seeds"]), len(study["arms"])), np.nan)
    table = complete.pivot(index="seed", columns="arm", values=metric)
    return table.reindex(index=study["seeds"], columns=study["arms"]).to_numpy(dtype=np.float64)


def summary(rows: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """One row an arm: n complete trials, mean and its interval, paired difference from the baseline, verdict."""
    array = values(rows, study, metric)
    baseline = list(study["arms"]).index(study["baseline_arm"])
    mean, paired = intervals.means(array), intervals.differences(array, baseline)
    table = pd.DataFrame(
        {
            "arm": list(study["arms"]),
            "n": mean.n,
            "planned": len(study["seeds"]),
            "mean": mean.mean,
            "ci low": mean.low,
            "ci high": mean.high,
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
    table["verdict"] = [_verdict(row, table.iloc[baseline], metric) for _, row in table.iterrows()]
    return table


def _verdict(row: pd.Series, baseline: pd.Series, metric: str) -> str:
    """What may be said of an arm against the baseline, by the Holm-adjusted paired t test."""
    if row["n"] < row["planned"]:
        return f"hole: {row['n']} of {row['planned']} seeds"
    if row["arm"] == baseline["arm"]:
        return "baseline"
    if baseline["n"] < row["planned"]:
        return f"not compared: the baseline has {baseline['n']} of {row['planned']} seeds"
    if row["n"] == 1:
        return "one training each: no interval"
    if np.isnan(row["p"]):
        return "not separated: the same difference in every seed, so no error can be estimated"
    if row["p Holm"] < SIGNIFICANT:
        smaller = metric.startswith(SMALLER_IS_BETTER)
        return "better" if (row["difference"] < 0) == smaller else "worse"
    return f"not separated: needs {_seeds_in_words(row)}"


def _seeds_in_words(row: pd.Series) -> str:
    """The seeds that would separate a difference as large as the one seen, if it is real."""
    needed = intervals.seeds_needed(row["difference"], row["sd of differences"])
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


# --- sentences ---------------------------------------------------------------------------------------


def missing(rows: pd.DataFrame, study: Study) -> str:
    """What a half-finished study lacks, in one sentence; empty when it is complete."""
    holes = rows[rows["state"] != "complete"]
    if holes.empty:
        return ""
    counts = holes["state"].value_counts()
    states = " and ".join(f"{counts[state]} {state}" for state in ("failed", "missing") if state in counts)
    named = [f"{arm} seed {seed}" for arm, seed in zip(holes["arm"], holes["seed"], strict=True)]
    rest = f" and {len(named) - 6} more" if len(named) > 6 else ""
    return (
        f"{len(holes)} of {len(rows)} trials {'is' if len(holes) == 1 else 'are'} not complete ({states}): "
        f"{'; '.join(named[:6])}{rest}. To complete the study, run the same command again: {study.get('command', '')}"
    )


def answer(rows: pd.DataFrame, study: Study) -> str:
    """The study's question answered in one sentence, with n and interval, or why it is not answered yet."""
    metric, table = study["metric"], summary(rows, study, study["metric"])
    n, baseline = len(study["seeds"]), study["baseline_arm"]
    if not table["n"].any():
        return f"No answer yet: none of the {len(rows)} trials is complete."
    best = table.iloc[int((table["mean"] * (-1 if metric.startswith(SMALLER_IS_BETTER) else 1)).argmax())]
    compared = table[table["difference"].notna()]
    if compared.empty:
        return f"No answer yet: {missing(rows, study) or 'the study has one arm, and nothing to compare it with.'}"
    lacking = len(table) - 1 - len(compared)
    holes = f" Preliminary: {lacking} {'arm has' if lacking == 1 else 'arms have'} holes." if lacking else ""
    if n == 1:
        against = "" if best["arm"] == baseline else f", the baseline {baseline} has {_mean_of(table, baseline):.3f}"
        return (
            f"One training an arm gives no interval and so no answer: the best {metric} is {best['mean']:.3f} of "
            f"{best['arm']}{against} (n = 1).{holes}"
        )
    terms = f"(n = {n} training seeds an arm, 95 % paired t intervals, verdicts after Holm)"
    separated = compared[compared["verdict"].isin(["better", "worse"])]
    if separated.empty:
        largest = compared.iloc[int(compared["difference"].abs().argmax())]
        seen = intervals.detectable_difference(largest["sd of differences"], n)
        return (
            f"Not separated: in {metric} no arm differs from {baseline} ({_mean_of(table, baseline):.3f}); the largest "
            f"difference is {_difference(largest)} for {largest['arm']}, where {n} seeds find differences from "
            f"{seen:.3f} up in 8 of 10 studies {terms}.{holes}"
        )
    ordered = separated.reindex(separated["difference"].abs().sort_values(ascending=False).index)
    parts = [f"{row['arm']} is {row['verdict']} by {_difference(row, size=True)}" for _, row in ordered.iterrows()]
    unseparated = len(compared) - len(separated)
    others = f", {len(parts) - 3} more arms are separated too" if len(parts) > 3 else ""
    others += f", {unseparated} {'arm is' if unseparated == 1 else 'arms are'} not separated" if unseparated else ""
    against = f"In {metric}, against {baseline} ({_mean_of(table, baseline):.3f})"
    return f"{against}, {', '.join(parts[:3])}{others} {terms}.{holes}"


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
    n, arms = len(study["seeds"]), len(study["arms"])
    complete = rows[rows["state"] == "complete"] if len(rows) else rows
    lines = [
        f"n = {n} training seed{'s' * (n != 1)} an arm ({', '.join(map(str, study['seeds']))}); the unit is the "
        f"training, objects and {_one(rows, 'sampling_seeds')} sampling pass(es) are averaged inside it. "
        f"{len(complete)} of {len(rows)} trials complete.",
        f"Checkpoint rule: {_one(complete, 'checkpoint_rule')}. Nothing was chosen on test, new_test or unseen.",
        f"Sampler: {_one(rows, 'sampler')}; guidance_scale s = {_one(rows, 'guidance_scale')} "
        "in eps_u + s (eps_c - eps_u), so s = 1 is unguided.",
        f"Evaluator: {_one(complete, 'evaluator_kind')}; its accuracy on images that it never saw: "
        f"{_one(complete, 'evaluator_held_out_accuracy')}.",
        "Intervals: 95 % t intervals over seeds (Student 1908); differences are paired by seed, each interval for one "
        f"comparison. The verdict is the paired t test at .05 after Holm over the {arms - 1} comparisons of a list.",
        f"Exact sign-flip test, free of the normal law: at n = {n} its p cannot be below "
        f"{intervals.smallest_sign_flip(n):.3g}" + (", so it cannot confirm a verdict here." if n < 6 else "."),
        "Seeds needed: for 80 % power if the difference seen is the true one.",
    ]
    lines += [list_line(rows, name) for name in LISTS if f"accuracy/{name}" in complete]
    return lines + [f"Warning: {line}" for line in _warnings(complete, study)]


def list_line(rows: pd.DataFrame, name: str) -> str:
    """Objects, chance level and what one evaluation can resolve at the mean accuracy of the list."""
    complete = rows[rows["state"] == "complete"]
    mean, objects = complete[f"accuracy/{name}"].mean(), _number(complete, f"objects/{name}")
    low, high = intervals.wilson(mean * objects, objects)
    error = np.sqrt(mean * (1 - mean) / objects) if objects > 0 else np.nan
    return (
        f"{name}: {objects:.0f} objects, chance {_number(complete, f'chance/{name}'):.3f}; one evaluation at "
        f"{mean:.3f} has a standard error of {error:.3f} (Wilson 95 %: {low:.3f} to {high:.3f})."
    )


def _warnings(complete: pd.DataFrame, study: Study) -> list[str]:
    """What makes arms unequal although nobody asked for it."""
    found = []
    for arm in study["arms"]:
        terminal = _number(complete[complete["arm"] == arm], "terminal_sqrt_alpha_bar") if len(complete) else np.nan
        if terminal > TERMINAL:
            found.append(
                f"{arm} ends at sqrt(alpha_bar_T) = {terminal:.3f} > {TERMINAL}: it never trained on the pure noise "
                "from which it samples, so schedule and terminal SNR are confounded."
            )
    for field, words in COMPUTE:
        if field in complete and complete[field].nunique() > 1:
            low, high = complete[field].min(), complete[field].max()
            found.append(f"Unequal compute: {words} range from {low:,.0f} to {high:,.0f} across the trials.")
    for field, words in (("evaluator_kind", "evaluators"), ("data_digest", "data sets")):
        if field in complete and complete[field].nunique() > 1:
            found.append(f"The trials used different {words} ({_one(complete, field)}): they do not compare.")
    if "evaluator_kind" in complete and (complete["evaluator_kind"] == "stand-in").any():
        found.append("Scores of the stand-in evaluator do not compare with published scores of the official one.")
    return found


def _one(rows: pd.DataFrame, field: str) -> str:
    """The value that all trials share, or the values that occur; floats shortened."""
    if field not in rows:
        return "not recorded"
    occurring = list(rows[field].dropna().unique())
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in occurring]
    return " | ".join(words) or "not recorded"


def _number(rows: pd.DataFrame, field: str) -> float:
    """Mean of a numeric result; NaN when it is not recorded."""
    return float(rows[field].mean()) if field in rows and len(rows) else np.nan


def factor_rows(study: Study) -> pd.DataFrame:
    """The factors with their values, and the baseline's."""
    baseline = study.get("baseline") or {}
    return pd.DataFrame(
        [
            {"factor": name, "values": ", ".join(map(str, given)), "baseline": str(baseline.get(name, ""))}
            for name, given in (study.get("factors") or {}).items()
        ]
    )


# --- writing -----------------------------------------------------------------------------------------


def readable(table: pd.DataFrame, study: Study | None = None, metric: str = "") -> pd.DataFrame:
    """A summary as short strings: intervals in brackets, three decimals, one dash for what does not exist."""
    shown = pd.DataFrame({"arm": table["arm"]})
    shown["n"] = [
        f"{n}" if n == planned else f"{n}/{planned}" for n, planned in zip(table["n"], table["planned"], strict=True)
    ]
    shown["mean [95 % CI]"] = _with_interval(table, "mean", "ci low", "ci high", "")
    shown["difference [95 % CI]"] = _with_interval(table, "difference", "difference low", "difference high", "+")
    for name in ("p Holm", "p sign-flip", "rho") if table["planned"].max() > 1 else ():
        shown[name] = [_decimal(value, "") for value in table[name]]
    known = [published(study, arm, metric) for arm in table["arm"]] if study else []
    if np.isfinite(known).any():
        shown["published"] = [_decimal(value, "") for value in known]
    shown["verdict"] = table["verdict"]
    return shown


def _with_interval(table: pd.DataFrame, middle: str, low: str, high: str, sign: str) -> list[str]:
    return [
        _decimal(m, sign) + (f" [{_decimal(a, sign)}, {_decimal(b, sign)}]" if np.isfinite(a) else "")
        for m, a, b in zip(table[middle], table[low], table[high], strict=True)
    ]


def _decimal(value: float, sign: str) -> str:
    """Three decimals, or four digits for what is no share (seconds, parameters); a dash for NaN."""
    if not np.isfinite(value):
        return "-"
    return f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign},.4g}"


def text(shown: pd.DataFrame) -> str:
    """Aligned columns for a terminal; control characters of untrusted names become question marks."""
    cells = [list(map(str, shown.columns)), *([_printable(cell) for cell in row] for row in shown.to_numpy())]
    widths = [max(len(row[column]) for row in cells) for column in range(len(shown.columns))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def markdown(shown: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A GitHub table, and the notes as a list under it."""
    escaped = [[_markdown(cell) for cell in row] for row in shown.to_numpy()]
    lines = [list(shown.columns), ["---"] * len(shown.columns), *escaped]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + ("\n" if notes else "") + "".join(f"- {_markdown(note)}\n" for note in notes)


def _markdown(cell: object) -> str:
    """No cell boundary, HTML, link or emphasis out of an untrusted name."""
    escaped = _printable(cell).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|*_`[" else letter for letter in escaped)


def latex(shown: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A booktabs tabular, escaped, with the notes as comments over it; needs \\usepackage{booktabs}."""
    comments = [f"% {_printable(note)}" for note in notes]
    body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in shown.to_numpy()]
    head = " & ".join(_latex(name) for name in shown.columns) + r" \\"
    lines = [*comments, rf"\begin{{tabular}}{{{'l' * len(shown.columns)}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    letter: f"\\{letter}" for letter in "&%$#_{}"
}


def _latex(cell: object) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in _printable(cell))


def _printable(cell: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(cell))
