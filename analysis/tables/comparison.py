"""The table of a metric: one row per arm, with n, intervals, the paired difference from its reference and a verdict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis import confounds, recorded_task, verdicts
from analysis.results import Results, once
from analysis.stats import intervals, proportions, variance
from analysis.tables import outcomes
from analysis.tables.format import count, decimal, of_planned, with_interval
from analysis.verdict import Outcome, probability

EVALUATIONS, SECONDS = "evaluations an image", "sampling s"  # columns of the CSV, whose names stay
# Result -> its column; shown where the arms differ by more than this share (seconds are measured, the rest counted).
COMPUTE = {
    "parameters": ("parameters", 1e-6),
    "gflop_forward": ("GFLOP forward", 1e-6),
    "network_evaluations": (EVALUATIONS, 1e-6),
    "seconds/sample": (SECONDS, 0.2),
}
SECONDS_NOTE = f"{SECONDS}: seconds as measured, whatever else ran on the machine."
SHOWN_AS = {EVALUATIONS: "evaluations per image"}


@once
def summary(results: Results, metric: str) -> pd.DataFrame:
    """One row per arm: n complete trials, mean and its interval, paired difference from its reference, verdict.

    `verdict` holds `Verdict` values. A study of one training per arm has the columns of `outcomes.compared` as well.
    """
    mean, paired, arms = results.means(metric), results.differences(metric), results.arms
    table = pd.DataFrame(
        {
            "arm": arms,
            "n": mean.n,
            "planned": len(results.seeds),
            "mean": mean.mean,
            "ci low": mean.low,
            "ci high": mean.high,
            "against": [results.references.get(arm, "") for arm in arms],
            "difference": paired.difference,
            "difference low": paired.low,
            "difference high": paired.high,
            "sd of differences": paired.sd,
            "p": paired.p_t,
            "p Holm": paired.p_holm,
            "p equivalence": intervals.equivalence(paired, results.margin(metric)),
            "p sign-flip": paired.p_flip,
            "rho": paired.rho,
        }
    )
    fields = {field: column for field, (column, _) in COMPUTE.items()}
    fields |= {field: confound.column for field, confound in confounds.recorded(results).items()}
    fields |= {f"objects/{metric.split('/')[-1]}": "objects"}
    for field, column in fields.items():
        table[column] = results.arm_means(field)
    p: dict[str, float] = {}
    if len(results.seeds) == 1:
        found = outcomes.compared(results, metric).reindex(arms)
        table = table.join(found.reset_index(drop=True))
        p = {str(arm): float(value) for arm, value in found[outcomes.P_OF_PICTURES].items()}
    table["verdict"] = pd.Series(list(verdicts.of_arms(results, metric, p).values()), dtype=object)
    return table


def factor_rows(results: Results) -> pd.DataFrame:
    """The factors with their values, and that of the baseline arm."""
    baseline, factors = results.baseline_fields, results.study.factors
    lines = [
        {"factor": name, "baseline": str(baseline.get(name, "")), "values": ", ".join(map(str, values))}
        for name, values in factors.items()
    ]
    return pd.DataFrame(lines)


# --- writing -----------------------------------------------------------------------------------------


def readable(table: pd.DataFrame, results: Results | None = None, metric: str = "") -> pd.DataFrame:
    """A summary as short strings: intervals in brackets, three decimals, one dash for what does not exist.

    Outside of the family that the study's verdicts are about, without p and without verdicts. What was spent, and what
    else may explain a difference, has columns where the arms differ in it.
    """
    descriptive = "verdict" in table and any(one.outcome is Outcome.DESCRIPTIVE for one in table["verdict"])
    shown = table[["arm", *(["chosen"] if "chosen" in table else [])]].copy()
    shown["n"] = [of_planned(n, planned) for n, planned in zip(table["n"], table["planned"], strict=True)]
    shown["mean [95 % CI]"] = with_interval(table, "mean", "ci low", "ci high")
    if table["against"].loc[table["against"] != ""].nunique() > 1:
        shown["against"] = table["against"].replace("", "-")
    if table["planned"].max() > 1:
        shown["difference [95 % CI]"] = with_interval(table, "difference", "difference low", "difference high", "+")
        digits: dict[str, Callable[[float], str]] = {"p Holm": probability, "p sign-flip": probability, "rho": decimal}
        digits = {"rho": decimal} if descriptive else digits
        for name, short in digits.items():
            shown[name] = [short(value) for value in table[name]]
    elif table[outcomes.P_OF_PICTURES].notna().any():
        of_pictures = with_interval(table, "difference", "objects low", "objects high", "+")
        picture = "picture" if results is None else recorded_task.picture(recorded_task.task_of(results))
        shown[f"difference [95 % CI of the {picture}s]"] = of_pictures
        shown[outcomes.P_OF_PICTURES.replace("picture", picture)] = [
            probability(value) for value in table[outcomes.P_OF_PICTURES]
        ]
    else:
        shown["difference"] = [decimal(value, "+") for value in table["difference"]]
    if "verdict" in table and not descriptive:
        shown["verdict"] = table["verdict"]  # before what only explains: a narrow page cuts off the end
    if results is not None:
        shown = shown.join(_published(table, results, metric))
    return shown.join(_explaining(table))


def _explaining(table: pd.DataFrame) -> pd.DataFrame:
    """What was spent, and what else may explain a difference, where the arms differ in it."""
    shown = pd.DataFrame(index=table.index)
    costs = [name for name in COMPUTE.values() if _differs(table[name[0]], name[1])]
    for column, _ in costs:
        if column != SECONDS or _seconds_are_shown(table):
            shown[SHOWN_AS.get(column, column)] = [count(value) for value in table[column]]
    for confound in confounds.CONFOUNDS.values():
        values = table[confound.column] if confound.column in table else pd.Series(dtype=float)
        if _differs(values, 1e-3) and values.max() > confound.limit:
            shown[confound.column] = [decimal(value) + (" !" if value > confound.limit else "") for value in values]
    return shown


def _seconds_are_shown(table: pd.DataFrame) -> bool:
    """Seconds are the machine's as well as the arm's: they are shown where the arms' sampling differs by design."""
    return all(_differs(table[column], share) for column, share in COMPUTE.values() if column in (EVALUATIONS, SECONDS))


def shows_seconds(results: Results, metric: str) -> bool:
    """Whether the readable table of `metric` has the column of seconds."""
    return _seconds_are_shown(summary(results, metric))


def _differs(column: pd.Series, tolerance: float) -> bool:
    return bool(column.max() - column.min() > tolerance * column.max())


def _published(table: pd.DataFrame, results: Results, metric: str) -> pd.DataFrame:
    """What others reported beside ours, whether one more training of ours could have given it, and whether their
    differences exceed the noise of one evaluation."""
    known = pd.Series([results.published(arm, metric) for arm in table["arm"]], index=table.index, dtype=float)
    if known.isna().all():
        return pd.DataFrame(index=table.index)
    shown = pd.DataFrame({"published": [decimal(value) for value in known]}, index=table.index)
    half = prediction_half_widths(table, results, metric, known)
    shown["predicted [95 %]"] = [
        f"{mean - width:.3f} to {mean + width:.3f}{'' if abs(value - mean) <= width else ' (outside)'}"
        if np.isfinite(width) and np.isfinite(value)
        else "-"
        for mean, width, value in zip(table["mean"], half, known, strict=True)
    ]
    reference = table["against"].map(dict(zip(table["arm"], known, strict=True))).astype(float)
    objects = table["objects"] if results.is_share(metric) else np.full(len(table), np.nan)
    if (known.notna() & reference.notna()).any():
        pairs = zip(known, reference, objects, strict=True)
        shown["published difference"] = [_published_difference(*pair) for pair in pairs]
    return shown


def prediction_half_widths(table: pd.DataFrame, results: Results, metric: str, known: pd.Series) -> list[float]:
    """Of each arm of a `summary`, half the interval in which a published value of the same setting should lie."""
    objects = table["objects"] if results.is_share(metric) else np.full(len(table), np.nan)
    # An arm of which one training is complete, or none, has no spread yet.
    columns = [column[np.isfinite(column)] for column in results.values(metric).T]
    sd = [column.std(ddof=1) if len(column) > 1 else np.nan for column in columns]
    cells = zip(sd, table["n"], known, objects, strict=True)
    return [variance.prediction_half_width(float(spread), int(n), float(p), float(m)) for spread, n, p, m in cells]


def _published_difference(own: float, reference: float, objects: float) -> str:
    """`-0.015, inside the noise of one evaluation (±0.138)`."""
    if np.isnan(own) or np.isnan(reference):
        return "-"
    noise = proportions.unpaired_noise(own, reference, objects)
    if np.isnan(noise):
        return f"{own - reference:+z.3f}"
    side = "inside" if abs(own - reference) <= noise else "outside"
    return f"{own - reference:+z.3f}, {side} the noise of one evaluation (±{noise:.3f})"


def largest_difference(table: pd.DataFrame) -> float:
    """The largest difference that any interval of these rows is compatible with, rounded up to three decimals."""
    ends = zip(table["difference low"], table["difference high"], strict=True)
    return max(float(np.ceil(1000 * intervals.largest_difference(low, high)) / 1000) for low, high in ends)
