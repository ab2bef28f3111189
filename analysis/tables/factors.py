"""Crossed factors: the size of the effect of each, and what each of its levels does on average over the others.

Only for studies whose factors are fully crossed and complete; `analysis.stats.anova` says how they are tested. Both
tables describe and have no verdicts: those of the study are made of its arms, and are one family.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results, once
from analysis.stats import anova, intervals
from analysis.tables.format import decimal, with_interval
from analysis.verdict import probability
from runners.experiment import metric_name

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
    """One row per effect: partial omega^2 with its interval and, of the study's own metric, F and p; empty if not
    crossed.

    Every further list that is tested is another chance of a false positive, and the lists share their trainings: F and
    p of other metrics are NaN. `p Holm` is adjusted over the effects. No verdict is made of either.
    """
    factors, values = crossed(results, metric)
    if not factors:
        return pd.DataFrame()
    found, names = anova.analyse(values), list(factors)
    table = pd.DataFrame(
        [
            {
                "effect": " x ".join(names[position] for position in effect.positions),
                "omega^2": effect.omega,
                "omega^2 low": effect.low,
                "omega^2 high": effect.high,
                "omega^2 by chance": effect.chance,
                "sum of squares": effect.squares,
                "df": effect.df,
                "df error": effect.df_error,
                "epsilon": effect.epsilon,
                "F": effect.F,
                "p": effect.p,
            }
            for effect in found
        ]
    )
    table["p Holm"] = intervals.holm(table["p"])
    if metric != results.metric:
        table[["F", "p", "p Holm"]] = np.nan
    return table


@once
def levels_table(results: Results, metric: str) -> pd.DataFrame:
    """One row per level of a factor: its marginal mean, and its contrast with the baseline's level.

    The other factors are averaged within each seed, so that n is still the number of seeds. `p Holm` is adjusted over
    the contrasts of all factors; metrics that are not the study's own have intervals and no p.
    """
    factors, values = crossed(results, metric)
    if not factors:
        return pd.DataFrame()
    start = results.settings_of(list(factors))[results.study.baseline_arm]
    parts = []
    for position, (name, levels) in enumerate(factors.items()):
        others = tuple(axis for axis in range(1, values.ndim) if axis != position + 1)
        marginal = values.mean(axis=others)
        mean, paired = intervals.means(marginal), intervals.differences(marginal, levels.index(start[position]))
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
            "p": paired.p_t if metric == results.metric else np.nan,
        }
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**{"p Holm": intervals.holm(table["p"], sum(map(len, factors.values())) - len(factors))})


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
    """An `effects_table` as short strings; without a test where there is none."""
    shown = table[["effect"]].copy()
    shown["partial omega^2 [95 % CI]"] = with_interval(table, "omega^2", "omega^2 low", "omega^2 high")
    shown["without an effect"] = [decimal(value) for value in table["omega^2 by chance"]]
    if table["F"].notna().any():
        shown["F (df, df error)"] = list(map(_F, table.to_dict("records")))
        shown["p Holm"] = [probability(value) for value in table["p Holm"]]
    return shown


def _F(row: Mapping[Hashable, Any]) -> str:
    """`14.21 (1, 2)`, with the degrees of freedom that the test has after Greenhouse and Geisser."""
    if np.isnan(row["F"]):
        return "-"
    df, error = (f"{row['epsilon'] * row[name]:.2f}".rstrip("0").rstrip(".") for name in ("df", "df error"))
    return f"{row['F']:.2f} ({df}, {error})"


def readable_levels(table: pd.DataFrame) -> pd.DataFrame:
    """A `levels_table` as short strings."""
    shown = table[["factor", "level"]].copy()
    shown["n"] = table["n"].astype(str)
    shown["marginal mean [95 % CI]"] = with_interval(table, "mean", "ci low", "ci high")
    shown["difference [95 % CI]"] = with_interval(table, "difference", "difference low", "difference high", "+")
    if table["p Holm"].notna().any():
        shown["p Holm"] = [probability(value) for value in table["p Holm"]]
    return shown


def notes(results: Results) -> list[str]:
    """What stands under the two tables."""
    return [
        *effect_notes(results),
        "Marginal means: the other factors are averaged within each seed, so n counts seeds. Contrasts with the "
        f"baseline's level are paired t tests on {metric_name(results.metric)} alone, Holm-adjusted over the "
        "contrasts of all "
        "factors. Where an interaction is large, no mean over the other factor describes a level.",
        "Both tables describe: the study's verdicts are those of its arms, and none is made here.",
    ]


def effect_notes(results: Results) -> list[str]:
    """What an effect's size and its test are."""
    if len(results.seeds) < 2:
        return ["One training per arm: neither a size nor a test, because the error cannot be estimated."]
    return [
        "Partial omega^2 (Keren & Lewis 1979): of the variance that the effect and its own error bring to the score of "
        "a trial, the effect's share; an estimate, and so below 0 where the effect is smaller than chance makes it. "
        '95 % intervals by the non-central F (Steiger 2004). "Without an effect": its mean where there is none, '
        "which a long tail lifts above 0 when seeds are few; the median is below 0.",
        "F: each effect against its own interaction with the seed, with the degrees of freedom of Greenhouse and "
        f"Geisser (1959), which assume no sphericity; on {metric_name(results.metric)} alone, p Holm-adjusted over "
        "the effects. "
        "With two levels it is the square of the paired t of the marginal means.",
    ]


def line(results: Results) -> str:
    """`Effect sizes in accuracy/test (...): schedule 0.61 [0.10, 0.80] (p 0.004), ...`; empty if not crossed, and
    without an error to compare with."""
    table = effects_table(results, results.metric)
    if table.empty or table["omega^2"].isna().all():
        return ""
    sizes = with_interval(table, "omega^2", "omega^2 low", "omega^2 high")
    parts = [
        f"{effect} {size}" + (f" (p {probability(p)})" if np.isfinite(p) else "")
        for effect, size, p in zip(table["effect"], sizes, table["p Holm"], strict=True)
    ]
    return (
        f"Effect sizes in {metric_name(results.metric)} (partial omega^2 [95 % CI], p of F Holm-adjusted over "
        f"{len(table)} effect{'s' * (len(table) != 1)}; "
        f"no verdict is made of them): {', '.join(parts)}."
    )
