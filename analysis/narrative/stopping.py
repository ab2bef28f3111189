"""Whether a study was planned as a claim, and what looking at it before its last seed has cost."""

from __future__ import annotations

from analysis.results import Results, once
from analysis.stats import looks as sequential


@once
def kind_line(results: Results) -> str:
    """Confirmatory or exploratory, with the looks that were taken or planned."""
    study, n = results.study, len(results.seeds)
    if study.claim:
        return _confirmatory(results)
    taken = tuple(sorted({look for look in study.looks if look < n} | {n}))
    kind = f"Exploratory: n = {n} training seed{'s' * (n != 1)} per arm, not planned as a claim."
    if len(taken) < 2 or not results.comparisons:
        return kind
    level = sequential.false_verdicts(taken, results.comparisons)
    return (
        f"{kind} The study was looked at with {_listed(taken[:-1])} seeds and went on, which was not planned: without "
        f"any true difference, a verdict of better or worse appears in {level:.1%} of such studies instead of 5 %."
    )


def _confirmatory(results: Results) -> str:
    study, n = results.study, len(results.seeds)
    planned = study.planned_looks
    if len(planned) < 2:
        return f"Confirmatory: planned with n = {n} training seeds per arm before its first look."
    levels = sequential.levels(planned)
    at = _listed([f"{level:.4f}".removeprefix("0") for level in levels])
    which = f", this is look {planned.index(n) + 1}" if n in planned else ""
    return (
        f"Confirmatory: looks with {_listed(planned)} training seeds per arm were planned before the first one{which}. "
        f"Their nominal levels are {at} (Lan & DeMets 1983, O'Brien-Fleming spending), .05 together."
    )


def _listed(values: object) -> str:
    words = [str(value) for value in values]  # type: ignore[attr-defined]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
