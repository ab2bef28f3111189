"""Crossed factors: the share of variance of each, and what each of its levels does on average over the others.

Only for studies whose factors are fully crossed and complete. The seed is a block: what it brings in every arm is
taken out. Each effect is tested against its own interaction with the seed, as in repeated measures: settings that
differ in their sampling half share a training, and one common error would then test a factor of the training
against the small differences between samplings of one training.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import intervals
from analysis.tables import comparison as tables

Study = Mapping[str, Any]
_NO_SPREAD = 1e-18  # of a mean square of accuracies: the square of what intervals.py takes for rounding


@dataclass(frozen=True)
class Effect:
    """Of the factors at these positions together: sum of squares, share of the total, and the test of it.

    `error` is the mean square of the interaction with the seed; F and p are NaN where it cannot be estimated.
    """

    positions: tuple[int, ...]
    df: int
    squares: float
    share: float
    df_error: int
    error: float
    F: float
    p: float


@dataclass(frozen=True)
class Analysis:
    """Effects by order of interaction; shares of the seed block and of what seeds and factors do together."""

    effects: list[Effect]
    seed_share: float
    rest_share: float


def analyse(values: intervals.Array) -> Analysis:
    """Analysis of variance of `values`, shape (seeds, levels of factor 1, levels of factor 2, ...), no hole.

    Sums of squares of a balanced design, where types 1, 2 and 3 agree (Fisher 1925); eta^2 = SS / SS total.
    """
    from scipy import special

    squares, df = _sums_of_squares(values), _degrees(values.shape)
    total = sum(squares.values())
    share = {axes: found / total if total > 0 else np.nan for axes, found in squares.items()}
    effects = []
    for axes in sorted((axes for axes in squares if 0 not in axes), key=lambda axes: (len(axes), axes)):
        own = (0, *axes)
        error = squares[own] / df[own] if df[own] > 0 else np.nan
        F = squares[axes] / df[axes] / error if error > _NO_SPREAD else np.nan
        p = float(special.fdtrc(df[axes], df[own], F)) if np.isfinite(F) else np.nan
        positions = tuple(axis - 1 for axis in axes)
        effects.append(Effect(positions, df[axes], squares[axes], share[axes], df[own], error, F, p))
    rest = sum(found for axes, found in share.items() if 0 in axes and len(axes) > 1)
    return Analysis(effects, share[(0,)], rest)


def _sums_of_squares(values: intervals.Array) -> dict[tuple[int, ...], float]:
    """Every nonempty set of axes -> the sum of squares of what these axes do together beyond their subsets."""
    axes = range(values.ndim)
    component: dict[tuple[int, ...], intervals.Array] = {(): values.mean(keepdims=True)}
    for size in range(1, values.ndim + 1):
        for chosen in itertools.combinations(axes, size):
            mean = values.mean(axis=tuple(axis for axis in axes if axis not in chosen), keepdims=True)
            below = itertools.chain.from_iterable(itertools.combinations(chosen, fewer) for fewer in range(size))
            component[chosen] = mean - sum(component[subset] for subset in below)
    return {
        chosen: float((part**2).sum() * values.size / part.size) for chosen, part in component.items() if chosen != ()
    }


def _degrees(shape: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    axes = range(len(shape))
    sets = itertools.chain.from_iterable(itertools.combinations(axes, size) for size in range(1, len(shape) + 1))
    return {chosen: int(np.prod([shape[axis] - 1 for axis in chosen])) for chosen in sets}


# --- of a study --------------------------------------------------------------------------------------


def crossed(rows: pd.DataFrame, study: Study, metric: str) -> tuple[dict[str, list[Any]], intervals.Array]:
    """(factor -> levels, values of shape (seeds, levels, ...)); no factors when not crossed, with holes, or one only.

    Arms are found by the values of their fields, in whatever order they are listed.
    """
    factors = {name: list(given) for name, given in (study.get("factors") or {}).items()}
    shape = [len(levels) for levels in factors.values()]
    nothing: tuple[dict[str, list[Any]], intervals.Array] = ({}, np.empty(0))
    if len(factors) < 2 or min(shape) < 2 or study.get("search") or np.prod(shape) != len(study["arms"]):
        return nothing
    if not len(rows) or not set(factors) <= set(rows):
        return nothing
    arm_of = {cell: arm for arm, cell in tables.fields_of(rows, study, list(factors)).items()}
    cells = list(itertools.product(*factors.values()))
    if not all(cell in arm_of for cell in cells):
        return nothing
    columns = [list(study["arms"]).index(arm_of[cell]) for cell in cells]
    values = tables.values(rows, study, metric)[:, columns]
    return (factors, values.reshape(-1, *shape)) if np.isfinite(values).all() else nothing


def effects_table(rows: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """One row an effect: its eta^2, F and p; then the seed and the rest. Empty if not crossed."""
    factors, values = crossed(rows, study, metric)
    if not factors:
        return pd.DataFrame()
    found, names = analyse(values), list(factors)
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


def levels_table(rows: pd.DataFrame, study: Study, metric: str) -> pd.DataFrame:
    """One row a level of a factor: its marginal mean, and its contrast with the baseline's level, Holm in the factor.

    The other factors are averaged inside the seed, so that n is still the number of seeds.
    """
    factors, values = crossed(rows, study, metric)
    if not factors:
        return pd.DataFrame()
    start = tables.fields_of(rows, study, list(factors))[study["baseline_arm"]]
    smaller = metric.startswith(tables.SMALLER_IS_BETTER)
    parts = []
    for position, (name, levels) in enumerate(factors.items()):
        others = tuple(axis for axis in range(1, values.ndim) if axis != position + 1)
        marginal = values.mean(axis=others)
        baseline = levels.index(start[position])
        mean, paired = intervals.means(marginal), intervals.differences(marginal, baseline)
        judged = intervals.verdicts(paired, tables.margin(study, metric), smaller)
        part = pd.DataFrame(
            {
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
            }
        )
        family = len(levels) - 1
        words = [tables.verdict_in_words(v, row, family) for v, (_, row) in zip(judged, part.iterrows(), strict=True)]
        part["verdict"] = ["baseline" if index == baseline else text for index, text in enumerate(words)]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def arms_of_levels(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """One row a level of a factor: the arms (a tuple) whose trials its marginal mean is made of."""
    factors = crossed(rows, study, study["metric"])[0]
    fields = tables.fields_of(rows, study, list(factors))
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
            "eta^2": [tables.decimal(value) for value in table["eta^2"]],
            "F (df, df error)": [
                "-" if np.isnan(F) else f"{F:.2f} ({df:.0f}, {error:.0f})"
                for F, df, error in zip(table["F"], table["df"], table["df error"], strict=True)
            ],
            "p": [tables.probability(value) for value in table["p"]],
        }
    )


def readable_levels(table: pd.DataFrame) -> pd.DataFrame:
    """A `levels_table` as short strings."""
    shown = table[["factor", "level"]].copy()
    shown["n"] = table["n"].astype(str)
    shown["marginal mean [95 % CI]"] = tables.with_interval(table, "mean", "ci low", "ci high", "")
    shown["difference [95 % CI]"] = tables.with_interval(table, "difference", "difference low", "difference high", "+")
    shown["p Holm"] = [tables.probability(value) for value in table["p Holm"]]
    shown["verdict"] = table["verdict"]
    return shown


def notes(study: Study) -> list[str]:
    """What stands under the two tables."""
    tested = (
        "F: each effect against its own interaction with the seed (repeated measures; sphericity assumed), one test "
        "each, not adjusted. With two levels it is the square of the paired t of the marginal means."
    )
    return [
        "eta^2: share of the total sum of squares of a balanced design with the seed as a block; the shares add up to "
        "1. Few seeds flatter every share: luck counts as effect too.",
        tested if len(study["seeds"]) > 1 else "One training an arm: shares without a test, the rest is not known.",
        "Marginal means: the other factors are averaged inside each seed, so n counts seeds; contrasts with the "
        "baseline's level are paired t tests at .05 after Holm within the factor. Where an interaction is large, no "
        "mean over the other factor describes a level.",
    ]


def line(rows: pd.DataFrame, study: Study) -> str:
    """`Shares of the variance of accuracy/test (eta^2): schedule 0.61 (p 0.004), ...`; empty if not crossed."""
    table = effects_table(rows, study, study["metric"])
    if table.empty:
        return ""
    parts = [
        f"{effect} {share:.2f}" + (f" (p {tables.probability(p)})" if np.isfinite(p) else "")
        for effect, share, p in zip(table["effect"], table["eta^2"], table["p"], strict=True)
    ]
    return f"Shares of the variance of {study['metric']} (eta^2): {', '.join(parts)}."
