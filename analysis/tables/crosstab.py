"""The table of a study whose arms are rows by columns, such as methods by domains: one cell per arm.

Where trials have scored another checkpoint as well, one that was chosen by what a user does not have, its rows stand
under the others, and are marked.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results
from analysis.tables.format import decimal
from runners.experiment import oracle_of

COLUMNS = ["row", "column", "arm", "oracle", "n", "mean", "ci low", "ci high", "published"]


def table(results: Results, metric: str) -> pd.DataFrame:
    """One row per cell: row, column, arm, whether it is an oracle's, n complete trials, mean and its interval, and the
    published value, which an oracle has none of. Empty for a study without rows and columns."""
    cells = {arm: cell for arm, cell in results.study.crosstab.items() if arm in results.arms}
    oracle, found = oracle_of(metric), []
    for column in (metric, oracle) if oracle in results.complete else (metric,):
        if not cells or column not in results.complete:
            continue
        known = results.means(column)
        place = {arm: index for index, arm in enumerate(results.arms)}
        for arm, (row, head) in cells.items():
            at = place[arm]
            numbers = [int(known.n[at]), known.mean[at], known.low[at], known.high[at]]
            published = results.published(arm, metric) if column == metric else np.nan
            found.append([row, head, arm, column == oracle, *numbers, published])
    return pd.DataFrame(found, columns=COLUMNS)


def readable(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Rows and columns; a cell is `0.641 [0.597, 0.685] (published 0.683)`."""
    mark = _mark(results)
    lines: dict[str, dict[str, str]] = {}
    for cell in table.to_dict("records"):
        name = f"{cell['row']}, {mark}" if cell["oracle"] else str(cell["row"])
        lines.setdefault(name, {})[str(cell["column"])] = _text(cell)
    heads = list(dict.fromkeys(map(str, table["column"])))
    rows = [{"": name, **{head: cells.get(head, "-") for head in heads}} for name, cells in lines.items()]
    return pd.DataFrame(rows)


def _text(cell: Mapping[Hashable, Any]) -> str:
    mean, low, high, published = (float(cell[name]) for name in ("mean", "ci low", "ci high", "published"))
    text = decimal(mean)
    if np.isfinite(low):
        text += f" [{decimal(low)}, {decimal(high)}]"
    return text + (f" (published {decimal(published)})" if np.isfinite(published) else "")


def _mark(results: Results) -> str:
    """`best on target (oracle)`: what the trials call their oracle."""
    name = _said(results, "oracle")
    return f"{name} (oracle)" if name else "oracle"


def _said(results: Results, column: str) -> str:
    """What the complete trials say in a column; "" where they say nothing."""
    known = results.complete[column].dropna() if column in results.complete else ()
    return str(next(iter(known), ""))


def note(table: pd.DataFrame, results: Results) -> str:
    """What the cells are."""
    sizes = sorted(set(table.loc[table["n"] > 0, "n"]))
    n = f"n = {' to '.join(map(str, {sizes[0]: 0, sizes[-1]: 0}))}" if sizes else "nothing complete yet"
    text = f"Each cell: mean over training seeds with its 95 % t interval ({n})"
    text += ", and the published value of one training." if table["published"].notna().any() else "."
    if table["oracle"].any():
        text += (
            f" Rows marked '{_mark(results)}' score another checkpoint of each training"
            f"{f', {rule}' if (rule := _said(results, 'oracle_rule')) else ''}. That choice takes labels which a user "
            "does not have: no verdict is about these rows."
        )
    return text
