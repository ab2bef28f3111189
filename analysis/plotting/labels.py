"""Words on a figure: names of arms, calls cut short, which of many names have room."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.plotting import fonts, style
from analysis.results import Results
from runners.experiment import metric_name

MOST = 12  # arms that one page of images or one legend can take
ROWS = 40  # arms that a figure with a row per arm can take


def plain(text: object) -> str:
    """`text` as matplotlib shows it letter by letter: no mathematics, no label hidden by a leading underscore."""
    printable = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(text))
    escaped = fonts.shown(printable).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def wrapped(label: str, width: int) -> str:
    """A label of several factors on lines of at most `width` letters where its spaces allow it."""
    return "\n".join(textwrap.wrap(label, width, break_long_words=False)) or label


def cut(text: object, width: int) -> str:
    """`text` in at most `width` letters, as matplotlib shows it letter by letter. What is left out is in its middle:
    names of many classes often differ at their end."""
    words, end = str(text), (width - 1) // 3
    return plain(words if len(words) <= width else f"{words[: width - 1 - end]}…{words[-end:]}")


def short_names(values: Sequence[object], width: int = 24) -> dict[object, str]:
    """value -> its label: a call without its arguments where the names alone tell the calls apart, cut at `width`."""
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    names = [word.split("(")[0] for word in words]
    labels = names if len(set(names)) == len(set(words)) else words
    return {
        value: plain(label if len(label) <= width else f"{label[: width - 1]}…")
        for value, label in zip(values, labels, strict=True)
    }


# --- scores --------------------------------------------------------------------------------------------


def score(results: Results, begins: bool = False) -> str:
    """The task's metric as it is read: `accuracy`, `KID`; `begins` a title: `Accuracy`."""
    name = metric_name(results.score.name)
    return plain(name[:1].upper() + name[1:] if begins else name)


# --- arms --------------------------------------------------------------------------------------------


def arm_label(results: Results, arm: str) -> str:
    """The arm's name; of a study with one factor its value alone. Only under an axis or a legend that says what the
    value is of (`arm_title`); captions and titles have the whole name."""
    factors = list(results.study.factors)
    return plain(arm.removeprefix(f"{factors[0]}=") if len(factors) == 1 else arm)


def arm_title(results: Results) -> str:
    """What the arms are: the factor's name, or "arm" when there are several."""
    factors = list(results.study.factors)
    return plain(factors[0]) if len(factors) == 1 else "arm"


def spread(names: Sequence[str], most: int = MOST, first: str = "") -> list[str]:
    """`names`, or of more than `most` the name `first` (names[0], if it is not among them) and an even spread, in
    order."""
    if len(names) <= most:
        return list(names)
    first = first if first in names else names[0]
    others = [name for name in names if name != first]
    kept = {first} | {others[round(index * (len(others) - 1) / (most - 2))] for index in range(most - 1)}
    return [name for name in names if name in kept]


def spread_arms(results: Results, arms: Sequence[str], most: int = MOST) -> list[str]:
    """`arms`, or of more than `most` the baseline and an even spread of the others, in order."""
    return spread(arms, most, results.study.baseline_arm)


def spread_words(arms: Sequence[str], most: int = MOST) -> str:
    """` Only 12 of 36 arms are drawn ...`; empty when all are."""
    kept = len(spread(arms, most))
    return f" Only {kept} of {len(arms)} arms are drawn: the baseline and an even spread." if kept < len(arms) else ""


# --- where there is nothing to draw ------------------------------------------------------------------


def blank(sentence: str) -> Figure:
    """A small figure of one sentence."""
    empty = style.figure(style.COLUMN, 1.0)
    empty.set_layout_engine("none")  # there are no axes to lay out, of which matplotlib would warn
    empty.text(0.5, 0.5, wrapped(plain(sentence), 48), ha="center", va="center", color=style.GREY)
    return empty
