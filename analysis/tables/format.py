"""Numbers as short strings, and a frame of them as text, Markdown or LaTeX.

Names in a record are untrusted, so everything is escaped. A cell may be any object: `str` makes its text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

# --- numbers -----------------------------------------------------------------------------------------


def decimal(value: float, sign: str = "") -> str:
    """Three decimals, or four digits for what is no share (seconds, parameters); a dash for NaN."""
    if not np.isfinite(value):
        return "-"
    return f"{value:{sign}z.3f}" if abs(value) < 10 else f"{value:{sign}z,.4g}"


def with_interval(table: pd.DataFrame, middle: str, low: str, high: str, sign: str = "") -> list[str]:
    """`0.706 [0.692, 0.721]` of three columns, without brackets where there is no interval."""
    return [
        decimal(m, sign) + (f" [{decimal(a, sign)}, {decimal(b, sign)}]" if np.isfinite(a) else "")
        for m, a, b in zip(table[middle], table[low], table[high], strict=True)
    ]


def of_planned(n: int, planned: int) -> str:
    """`3`, or `2/3` where seeds are lacking."""
    return f"{n}" if n == planned else f"{n}/{planned}"


def count(value: float) -> str:
    """`1,000,000`, or four digits of what is no whole number; a dash for NaN."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


# --- the best of some names --------------------------------------------------------------------------

NAMED = 3  # that a sentence names before it counts


def best(names: Sequence[str], values: Sequence[float]) -> list[str]:
    """The names with the largest of the values, more than one where they tie; NaN is never the best."""
    known = np.asarray(values, dtype=np.float64)
    largest = np.nanmax(known)
    return [name for name, value in zip(names, known, strict=True) if np.isclose(value, largest, rtol=0, atol=1e-12)]


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 2 more`."""
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


# --- tables ------------------------------------------------------------------------------------------


def text(shown: pd.DataFrame) -> str:
    """Aligned columns for a terminal; control characters of untrusted names become question marks."""
    cells = [list(map(str, shown.columns)), *([_printable(cell) for cell in row] for row in shown.to_numpy())]
    widths = [max(len(row[column]) for row in cells) for column in range(len(shown.columns))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def markdown(shown: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A GitHub table, and the notes as a list under it."""
    escaped = [[markdown_text(cell) for cell in row] for row in shown.to_numpy()]
    lines = [list(shown.columns), ["---"] * len(shown.columns), *escaped]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + ("\n" if notes else "") + "".join(f"- {markdown_text(note)}\n" for note in notes)


def markdown_text(cell: object) -> str:
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
