"""One look for every figure: widths of a printed page, one colour an arm, text that cannot be misread as markup."""

from __future__ import annotations

import math
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from fontTools import subset
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

COLUMN = 3.4  # inches: one column of a two-column page
DOUBLE = 7.0  # inches: the page
GREY = "0.45"

# Okabe & Ito 2008, "Color universal design"; their yellow is left out (unreadable as a line on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1)), (0, (4, 1, 1, 1, 1, 1)))
LINEAR = 5  # largest over smallest value up to which a logarithmic axis would have a tick or none
MOST = 12  # arms that one page of images or one legend can take
ROWS = 40  # arms that a figure with a row an arm can take

matplotlib.rcParams.update(
    {
        "backend": "Agg",
        "figure.dpi": 120,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "grid.linewidth": 0.4,
        "grid.color": "0.9",
        "axes.axisbelow": True,
        "lines.linewidth": 1.4,
    }
)


FAMILY = "Slim Sans"
SLIM = (range(0x20, 0x250), range(0x370, 0x400), range(0x2010, 0x2300))  # Latin, Greek, punctuation to mathematics


def _slim_font() -> Any:
    """DejaVu Sans, matplotlib's own font, without the letters and tables that no figure here uses.

    Every PDF embeds the letters that it shows; cutting them out of the whole font is two thirds of the time of a PDF.
    Other letters still come from DejaVu Sans. Returns the open file, which is there as long as the process.
    """
    options = subset.Options(layout_features=[], name_IDs=["*"])
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "MATH", "FFTM"]
    with subset.load_font(font_manager.findfont("DejaVu Sans"), options) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[letter for part in SLIM for letter in part])
        cutter.subset(font)
        for name in font["name"].names:
            if name.nameID in (1, 4, 6, 16):  # family, full and PostScript name
                name.string = FAMILY.replace(" ", "") if name.nameID == 6 else FAMILY
        file = tempfile.NamedTemporaryFile(suffix=".ttf")  # noqa: SIM115
        font.save(file.name)
    font_manager.fontManager.addfont(file.name)
    return file


_FONT = _slim_font()
matplotlib.rcParams["font.family"] = [FAMILY, "DejaVu Sans"]


def figure(width: float = DOUBLE, height: float = 2.4) -> Figure:
    """An empty figure of `width` x `height` inches, outside pyplot: nothing to close, nothing global."""
    return Figure(figsize=(width, height), layout="constrained")


def blank(message: str) -> Figure:
    """What is drawn when there is nothing to draw yet."""
    empty = figure(COLUMN, 1.0)
    empty.text(0.5, 0.5, wrapped(plain(message), 48), ha="center", va="center", color=GREY)
    return empty


def arm_style(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """arm -> colour, marker and line, by the order of the study's arms: the same in every figure.

    After the seven colours the line changes, so that the first 42 arms differ.
    """
    return {
        arm: {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": LINES[index // len(COLOURS) % len(LINES)],
        }
        for index, arm in enumerate(study["arms"])
    }


def line_style(study: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Colour and line of an arm, without a marker."""
    return {key: value for key, value in arm_style(study)[arm].items() if key != "marker"}


def spread(study: Mapping[str, Any], arms: Sequence[str], most: int = MOST) -> list[str]:
    """`arms`, or of more than `most` the baseline (the first, if it is not among them) and an even spread, in order."""
    if len(arms) <= most:
        return list(arms)
    first = study["baseline_arm"] if study.get("baseline_arm") in arms else arms[0]
    others = [arm for arm in arms if arm != first]
    kept = {first} | {others[round(index * (len(others) - 1) / (most - 2))] for index in range(most - 1)}
    return [arm for arm in arms if arm in kept]


def spread_words(study: Mapping[str, Any], arms: Sequence[str], most: int = MOST) -> str:
    """` Drawn are 12 of the 36 arms ...`; empty when all are."""
    kept = len(spread(study, arms, most))
    return f" Drawn are {kept} of the {len(arms)} arms: the baseline and an even spread." if kept < len(arms) else ""


def name_rows(panels: Sequence[Axes], labels: Sequence[str], above: float) -> None:
    """Panels side by side with a row a label from the top, `above` rows free; the first one bears the labels.

    The others have no ticks at all: hidden ticks of a shared axis are laid out like visible ones.
    """
    for axes in panels:
        axes.set_yticks([])
        axes.set_ylim(len(labels) - 0.4, -above)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels, linespacing=1.05)


def wrapped(label: str, width: int) -> str:
    """A label of several factors on lines of at most `width` letters where its spaces allow it."""
    return "\n".join(textwrap.wrap(label, width, break_long_words=False)) or label


def legend_columns(labels: Sequence[str]) -> int:
    """Columns of a legend that fit the page."""
    return max(1, min(len(labels), 110 // (max(map(len, labels), default=0) + 8)))


def ticks_1_2_5(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade from `low` to `high`, and of more than three decades the 1 alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    digits = (1, 2, 5) if last - first <= 3 else (1,)
    return [digit * 10.0**power for power in range(first, last + 1) for digit in digits]


def log_y(axes: Axes) -> None:
    """A logarithmic y axis with named ticks, where what is drawn spans enough to have two of them."""
    low, high = axes.dataLim.intervaly
    if not 0 < LINEAR * low < high:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def arm_label(study: Mapping[str, Any], arm: str) -> str:
    """The arm's name; of a study with one factor its value alone, because the axis or legend names the factor."""
    factors = list(study.get("factors") or {})
    return plain(arm.removeprefix(f"{factors[0]}=") if len(factors) == 1 else arm)


def arm_title(study: Mapping[str, Any]) -> str:
    """What the arms are: the factor's name, or "arm" when there are several."""
    factors = list(study.get("factors") or {})
    return plain(factors[0]) if len(factors) == 1 else "arm"


def plain(text: object) -> str:
    """`text` as matplotlib shows it letter by letter: no mathematics, no label hidden by a leading underscore."""
    printable = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(text))
    escaped = printable.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def short_names(values: Sequence[object], width: int = 24) -> dict[object, str]:
    """value -> its label: a call without its arguments where the names alone tell the calls apart, cut at `width`."""
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    names = [word.split("(")[0] for word in words]
    labels = names if len(set(names)) == len(set(words)) else words
    return {
        value: plain(label if len(label) <= width else f"{label[: width - 1]}…")
        for value, label in zip(values, labels, strict=True)
    }


def show_image(axes: Axes, path: str, missing: str = "not recorded") -> None:
    """The PNG at `path`, pixel by pixel, without ticks; `missing` in grey where there is none."""
    if path and Path(path).is_file():
        _pixels(axes, imread(path))
    else:
        _pixels(axes, None)
        axes.text(0.5, 0.5, missing, ha="center", va="center", color=GREY, transform=axes.transAxes)


def show_row(axes: Axes, paths: Sequence[str], missing: str) -> list[float]:
    """The PNGs at `paths`, of one size, side by side as one picture; returns their centres on the x axis.

    One picture because axes cost more than what they show; `missing` in grey where there is none.
    """
    found = [_rgb(imread(path)) if path and Path(path).is_file() else None for path in paths]
    height, width = next((image.shape[:2] for image in found if image is not None), (1, 1))
    gap = max(1, width // 24)
    row = np.ones((height, len(found) * (width + gap) - gap, 3))
    centres = [index * (width + gap) + (width - 1) / 2 for index in range(len(found))]
    for index, (image, centre) in enumerate(zip(found, centres, strict=True)):
        if image is None:
            axes.text(centre, (height - 1) / 2, missing, ha="center", va="center", color=GREY)
        else:
            row[:, index * (width + gap) : index * (width + gap) + width] = image
    _pixels(axes, row)
    return centres


def _rgb(image: NDArray[Any]) -> NDArray[Any]:
    """(height, width, 3) of a grey, colour or transparent picture."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image[:, :, :3]


def _pixels(axes: Axes, image: NDArray[Any] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if image is not None:
        axes.imshow(image, interpolation="nearest", aspect="equal", cmap="gray", vmin=0, vmax=1)


def strip_height(paths: Sequence[str]) -> float:
    """Inches of a titled strip across the page, in the proportions of the first of `paths` that exists."""
    for path in paths:
        if path and Path(path).is_file():
            height, width = imread(path).shape[:2]
            return 0.2 + 0.97 * DOUBLE * min(float(height / width), 0.3)
    return 0.6


def heat(axes: Axes, shares: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Shares in [0, 1] as coloured cells with their numbers (.45); a NaN is an empty cell."""
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, pad=2, labelsize=6)
    for (row, column), share in np.ndenumerate(shares):
        if share == share:
            number = "1" if share > 0.995 else f"{share:.2f}"[1:]
            axes.text(column, row, number, ha="center", va="center", fontsize=6, color="w" if share > 0.6 else "k")


def save(drawn: Figure, stem: Path) -> Path:
    """`stem`.png and `stem`.pdf, the same bytes for the same figure; returns the PNG."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if engine := drawn.get_layout_engine():
        engine.execute(drawn)  # places everything; each file would otherwise place it again
        drawn.set_layout_engine(None)
    drawn.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None})
    drawn.savefig(stem.with_suffix(".png"), metadata={"Software": None})
    return stem.with_suffix(".png")
