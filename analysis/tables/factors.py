"""Crossed factors: the share of variance of each, and what each of its levels does on average over the others.

Only for studies whose factors are fully crossed and complete; `analysis.stats.anova` says how they are tested.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results, once
from analysis.stats import anova, intervals
from analysis.tables.format import decimal, with_interval
from analysis.verdict import Outcome, Verdict, probability

Crossed = tuple[dict[str, list[Any]], intervals.Array]


@once
def crossed(results: Results, metric: str) -> Crossed:
    """(factor -> levels, values of shape (seeds, levels, ...)); no factors when not crossed, incomplete, or one only.

    Arms are found by the values of their fields, in whatever order they are listed.
    """
    factors = {name: list(given) for name, given in results.study.factors.items()}
    shape = [len(levels) for levels in factors.values()]
    nothing: Crossed = ({}, np.empty(0))
    if len(factors) < 2 or min(shape) < 2 or results.study.search or np.prod(shape) != len(results.arms):
        return nothing
    if not len(results.rows) or not set(factors) <= set(results.rows):
        return nothing
    arm_of = {cell: arm for arm, cell in results.settings_of(list(factors)).items()}
    cells = list(itertools.product(*factors.values()))
    if not set(cells) <= set(arm_of):
        return nothing
    place = {arm: index for index, arm in enumerate(results.arms)}
    values = results.values(metric)[:, [place[arm_of[cell]] for cell in cells]]
    return (factors, values.reshape(-1, *shape)) if np.isfinite(values).all() else nothing


@once
def effects_table(results: Results, metric: str) -> pd.DataFrame:
    """One row per effect: its eta^2, F and p; then the seed and the rest. Empty if not crossed."""
    factors, values = crossed(results, metric)
    if not factors:
        return pd.DataFrame()
    found, names = anova.analyse(values), list(factors)
    table = pd.DataFrame(
        [
            {
                "effect": " x ".join(names[position] for position in effect.positions),
                "eta^2": effect.share,
                "sum of squares": effect.squares,
                "df": effect.df,
                "df error": effect.df_error,
                "F": effect.F,
                "p": effect.p,
            }
            for effect in found.effects
        ]
    )
    rest = [{"effect": "seed (block)", "eta^2": found.seed_share}, {"effect": "rest", "eta^2": found.rest_share}]
    return pd.concat([table, pd.DataFrame(rest).reindex(columns=table.columns)], ignore_index=True)


@once
def levels_table(results: Results, metric: str) -> pd.DataFrame:
    """One row per level of a factor: its marginal mean, and its contrast with the baseline's level, Holm in the factor.

    The other factors are averaged within each seed, so that n is still the number of seeds.
    """
    factors, values = crossed(results, metric)
    if not factors:
        return pd.DataFrame()
    start = results.settings_of(list(factors))[results.study.baseline_arm]
    parts = []
    for position, (name, levels) in enumerate(factors.items()):
        others = tuple(axis for axis in range(1, values.ndim) if axis != position + 1)
        marginal = values.mean(axis=others)
        baseline = levels.index(start[position])
        mean, paired = intervals.means(marginal), intervals.differences(marginal, baseline)
        part = {
            "factor": name,
            "level": [str(level) for level in levels],
            "n": mean.n,
            "mean": mean.mean,
            "ci low": mean.low,
            "ci high": mean.high,
            "difference": paired.difference,
            "difference low": paired.low,
            "difference high": paired.high,
            "sd of differences": paired.sd,
            "p": paired.p_t,
            "p Holm": paired.p_holm,
            "verdict": _verdicts(results, metric, paired, baseline),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def _verdicts(results: Results, metric: str, paired: intervals.Differences, baseline: int) -> list[Verdict]:
    """Of the levels of one factor, whose contrasts are a family of their own."""
    seeds, margin = len(results.seeds), results.margin(metric)
    found = intervals.verdicts(paired, seeds, margin, results.smaller_is_better(metric))
    if seeds == 1:
        found = [Verdict(Outcome.ONE_TRAINING, seeds, seeds) for _ in found]
    found[baseline] = Verdict(Outcome.BASELINE, seeds, seeds)
    return found


def arms_of_levels(results: Results) -> pd.DataFrame:
    """One row per level of a factor: the arms (a tuple) whose trials its marginal mean is made of."""
    factors = crossed(results, results.metric)[0]
    fields = results.settings_of(list(factors))
    lines = [
        {"factor": name, "level": str(level), "arms": tuple(arm for arm in fields if fields[arm][position] == level)}
        for position, (name, levels) in enumerate(factors.items())
        for level in levels
    ]
    return pd.DataFrame(lines)


def readable_effects(table: pd.DataFrame) -> pd.DataFrame:
    """An `effects_table` as short strings."""
    return pd.DataFrame(
        {
            "effect": table["effect"],
            "eta^2": [decimal(value) for value in table["eta^2"]],
            "F (df, df error)": [
                "-" if np.isnan(F) else f"{F:.2f} ({df:.0f}, {error:.0f})"
                for F, df, error in zip(table["F"], table["df"], table["df error"], strict=True)
            ],
            "p": [probability(value) for value in table["p"]],
        }
    )


def readable_levels(table: pd.DataFrame) -> pd.DataFrame:
    """A `levels_table` as short strings."""
    shown = table[["factor", "level"]].copy()
    shown["n"] = table["n"].astype(str)
    shown["marginal mean [95 % CI]"] = with_interval(table, "mean", "ci low", "ci high")
    shown["difference [95 % CI]"] = with_interval(table, "difference", "difference low", "difference high", "+")
    shown["p Holm"] = [probability(value) for value in table["p Holm"]]
    shown["verdict"] = table["verdict"]
    return shown


def notes(results: Results) -> list[str]:
    """What stands under the two tables."""
    tested = (
        "F: each effect against its own interaction with the seed (repeated measures; sphericity assumed), one test "
        "each, not adjusted. With two levels it is the square of the paired t of the marginal means."
    )
    untested = "One training per arm: shares without a test; the error cannot be estimated."
    return [
        "eta^2: share of the total sum of squares of a balanced design with the seed as a block; the shares add up to "
        "1. With few seeds every share is optimistically biased, because chance counts as an effect too.",
        tested if len(results.seeds) > 1 else untested,
        "Marginal means: the other factors are averaged within each seed, so n counts seeds. Contrasts with the "
        "baseline's level are paired t tests at .05, Holm-corrected within the factor. Where an interaction is large, "
        "no mean over the other factor describes a level.",
    ]


def line(results: Results) -> str:
    """`Shares of the variance of accuracy/test (eta^2): schedule 0.61 (p 0.004), ...`; empty if not crossed."""
    table = effects_table(results, results.metric)
    if table.empty:
        return ""
    parts = [
        f"{effect} {share:.2f}" + (f" (p {probability(p)})" if np.isfinite(p) else "")
        for effect, share, p in zip(table["effect"], table["eta^2"], table["p"], strict=True)
    ]
    return f"Shares of the variance of {results.metric} (eta^2): {', '.join(parts)}."
