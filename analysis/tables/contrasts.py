"""The table of what is compared beside the arms with their references: the study's contrasts, and its two best arms."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from analysis import verdicts
from analysis.results import Results
from analysis.tables.format import with_interval
from analysis.verdict import Outcome, probability

COLUMNS = ["comparison", "of", "difference", "low", "high", "p Holm", "over", "verdict"]
ALL_PAIRS, FAMILY = "all pairs of arms", "arms and contrasts"


def table(results: Results, metric: str) -> pd.DataFrame:
    """One row per contrast, then the two best arms; `over` names the family that p is corrected over. Empty for a study
    with neither."""
    rows = [(one, FAMILY) for one in verdicts.contrasts(results, metric)]
    if two := verdicts.two_best(results, metric):
        rows.append((two, ALL_PAIRS))
    lines = []
    for one, over in rows:
        cells = {name: value for name, value in asdict(one).items() if name != "verdict"}
        lines.append(cells | {"over": over, "verdict": one.verdict})
    named = {"name": "comparison", "words": "of", "p": "p Holm"}
    return pd.DataFrame(lines).rename(columns=named).reindex(columns=COLUMNS)


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """As short strings; without p and verdict where the metric is not the study's own."""
    shown = found[["comparison", "of"]].copy()
    shown["difference [95 % CI]"] = with_interval(found, "difference", "low", "high", "+")
    if not any(verdict.outcome is Outcome.DESCRIPTIVE for verdict in found["verdict"]):
        shown["p Holm"] = [probability(value) for value in found["p Holm"]]
        shown["over"] = found["over"]
        shown["verdict"] = found["verdict"]
    return shown
