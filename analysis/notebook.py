"""What the notebooks share: a study opened from the record, its answer, its tables and its figures.

A notebook says what to look at and why; what is shown is what `analysis/report.py` writes, saved into the report's
folder of the study.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import figures
from analysis.narrative import answer as answers
from analysis.pages import figure_pool as drawing
from analysis.tables import comparison as tables
from analysis.tables import factors as factorial
from analysis.tables import search as search_table
from study.record import reader

if TYPE_CHECKING:
    import pandas as pd

RECORD = "ABLATION_RECORD"  # environment variable: another record than mlruns/


class Opened:
    """A study of a record: `study` is its study.json, `rows` one row a trial (`study.record.load`)."""

    def __init__(self, name: str) -> None:
        """`name`: a study, or a study id where it was launched at several scales.

        Raises ValueError that names the studies of the record when it is not among them.
        """
        self.record = Path(os.environ.get(RECORD) or reader.DEFAULT_RECORD)
        self.study: dict[str, Any] = reader.load_study(name, self.record)
        self.rows: pd.DataFrame = reader.load(self.study["study_id"], self.record)
        self.out = self.record / "studies" / self.study["study_id"] / "report" / "figures"

    def answer(self) -> None:
        """Print the question, the answer with n and interval, and what is missing."""
        print(self.study["question"])
        print(answers.answer(self.rows, self.study))
        print(answers.missing(self.rows, self.study), end="")

    def table(self, metric: str = "") -> pd.DataFrame:
        """Every arm with n, interval, paired difference and verdict; `metric` is the study's own unless named."""
        metric = metric or self.study["metric"]
        return tables.readable(tables.summary(self.rows, self.study, metric), self.study, metric).set_index("arm")

    def best(self, metric: str = "") -> pd.DataFrame:
        """Each setting at its best nuisance value, which validation chose; empty for a study without such factors."""
        table = tables.best_of_nuisance(self.rows, self.study, metric or self.study["metric"])
        return tables.readable(table).set_index("arm") if len(table) else table

    def effects(self) -> pd.DataFrame:
        """The share of the variance that each of the crossed factors carries; empty where none are crossed."""
        table = factorial.effects_table(self.rows, self.study, self.study["metric"])
        return factorial.readable_effects(table) if len(table) else table

    def search(self) -> pd.DataFrame:
        """One row a search trial; empty for a study that is no search."""
        table = search_table.table(self.study)
        return search_table.readable(table, self.study).set_index("trial") if len(table) else table

    def protocol(self) -> None:
        """Print what the numbers rest on, and what limits them."""
        print(*answers.protocol(self.rows, self.study), sep="\n")

    def show(self, name: str) -> None:
        """Draw a figure of `analysis/figures`, save it as PNG, PDF and CSV, and print its caption under it."""
        from IPython.display import Image, display

        figure = figures.load(name)
        if not figures.applies(figure, self.study):
            print(f"{figures.title(figure)}: does not apply to the study {self.study['study']}.")
            return
        drawn = drawing.draw(name, self.study, self.record, self.out)
        display(Image(drawn.png))
        print(drawn.caption)
