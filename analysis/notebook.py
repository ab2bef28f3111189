"""What the notebooks share: a study opened from the record, its answer, its tables and its figures.

A notebook says what to look at and why; what it shows is what `analysis/report.py` writes, and is saved into the
report's folder of the study.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import figures
from analysis.narrative import answer as answers
from analysis.narrative.protocol import protocol
from analysis.narrative.warnings import warnings
from analysis.pages import figure_pool
from analysis.results import Results
from analysis.tables import comparison, contrasts, crosstab, factors, nuisance
from analysis.tables import search as search_table
from study.record import access, layout

if TYPE_CHECKING:
    import pandas as pd

RECORD = "ABLATION_RECORD"  # environment variable: another record than mlruns/


class Opened:
    """A study of a record: `results` is all of it, `study` what was asked, `rows` one row per trial."""

    def __init__(self, name: str) -> None:
        """`name`: a study, or a study id where it was launched at several scales.

        Raises ValueError that names the studies of the record when it is not among them.
        """
        self.record = Path(os.environ.get(RECORD) or layout.DEFAULT_RECORD)
        self.results = Results.open(name, self.record)
        self.study, self.rows = self.results.study, self.results.rows
        report = layout.report_folder(self.record, self.study.study_id)
        # Of a record that cannot be written the figures are shown, and kept as long as the notebook runs.
        self.scratch = tempfile.TemporaryDirectory(prefix="figures-") if access.closed(report) else None
        self.out = Path(self.scratch.name) if self.scratch else report / "figures"

    def answer(self) -> None:
        """Print the question, the answer with n and interval, and what is missing."""
        print(self.study.question)
        print(answers.answer(self.results))
        print(answers.missing(self.results), end="")

    def table(self, metric: str = "") -> pd.DataFrame:
        """Every arm with n, interval, paired difference and verdict; `metric` is the study's own unless named."""
        metric = metric or self.results.metric
        return _shown(comparison.readable(comparison.summary(self.results, metric), self.results, metric), "arm")

    def crosstab(self, metric: str = "") -> pd.DataFrame:
        """One cell per arm, in the study's rows and columns; empty for a study without them."""
        found = crosstab.table(self.results, metric or self.results.metric)
        return _shown(crosstab.readable(found, self.results), "") if len(found) else found

    def contrasts(self, metric: str = "") -> pd.DataFrame:
        """What is compared beside arms and references: the study's contrasts, and its two best arms."""
        found = contrasts.table(self.results, metric or self.results.metric)
        return _shown(contrasts.readable(found), "comparison") if len(found) else found

    def best(self, metric: str = "") -> pd.DataFrame:
        """Each setting at its best nuisance value, which validation chose, on the list that answers unless `metric` is
        named; empty for a study without such factors."""
        table = nuisance.table(self.results, metric or nuisance.metric_that_answers(self.results))
        return _shown(nuisance.readable(table), "arm") if len(table) else table

    def effects(self) -> pd.DataFrame:
        """The size of the effect of each of the crossed factors, with its test; empty where none are crossed."""
        table = factors.effects_table(self.results, self.results.metric)
        return factors.readable_effects(table) if len(table) else table

    def search(self) -> pd.DataFrame:
        """One row per search trial; empty for a study that is no search."""
        table = search_table.table(self.results)
        return _shown(search_table.readable(table, self.results), "trial") if len(table) else table

    def protocol(self) -> None:
        """Print what the numbers rest on, and what limits them."""
        print(*protocol(self.results), *(f"Warning: {line}" for line in warnings(self.results)), sep="\n")

    def show(self, name: str) -> None:
        """Draw a figure of `analysis/figures`, save it as PNG, PDF and CSV, and print its caption under it."""
        from IPython.display import Image, display

        figure = figures.load(name)
        if not figures.applies(figure, self.results):
            print(f"{figures.title(figure)}: does not apply to the study {self.study.study}.")
            return
        drawn = figure_pool.draw(name, self.results, self.out)
        display(Image(drawn.png))
        print(drawn.caption)


def _shown(table: pd.DataFrame, index: str) -> pd.DataFrame:
    """With its verdicts as words, which a notebook would otherwise show as objects."""
    return table.map(str).set_index(index)
