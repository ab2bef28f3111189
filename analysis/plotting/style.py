"""One look for every figure: widths of a printed page, one colour and marker per arm, fonts, files.

The look is matplotlib's defaults, seaborn's theme on them and our sizes on both. It holds inside `look()`: nothing of
a user's matplotlibrc enters a figure, and nothing of ours stays behind in a notebook.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import matplotlib
import seaborn as sns
from fontTools import subset
from matplotlib import font_manager
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plotting import fonts

COLUMN = 3.4  # inches: one column of a two-column page
DOUBLE = 7.0  # inches: the page
GREY = "0.45"
FAINT = "0.75"

# Okabe & Ito 2008, "Color universal design"; their yellow is left out (unreadable as a line on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Lengths of dashes and gaps in line widths; () is a solid line.
DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (3.7, 1.6),
    (1, 1.65),
    (6.4, 1.6, 1, 1.6),
    (6, 1),
    (4, 1, 1, 1, 1, 1),
)
CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (1, 2))}  # the line of chance level

SIZES: dict[str, Any] = {
    "figure.dpi": 120,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "patch.force_edgecolor": False,
}


# --- fonts -------------------------------------------------------------------------------------------

FAMILY = "Slim Sans"
SLIM = (range(0x20, 0x250), range(0x370, 0x400), range(0x2010, 0x2300))  # Latin, Greek, punctuation to mathematics


def _slim_font() -> Any | None:
    """DejaVu Sans, matplotlib's own font, without the letters and tables that no figure here uses.

    Every PDF embeds the letters that it shows; cutting them out of the whole font is two thirds of the time of a PDF.
    Other letters still come from DejaVu Sans. Returns the open file, which is there as long as the process; None where
    temporary files find no room: figures then take the whole font.
    """
    options = subset.Options(layout_features=[], name_IDs=["*"])
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "MATH", "FFTM"]
    with subset.load_font(font_manager.findfont(fonts.BASE), options) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[letter for part in SLIM for letter in part])
        cutter.subset(font)
        for name in font["name"].names:
            if name.nameID in (1, 4, 6, 16):  # family, full and PostScript name
                name.string = FAMILY.replace(" ", "") if name.nameID == 6 else FAMILY
        try:
            file = tempfile.NamedTemporaryFile(suffix=".ttf")  # noqa: SIM115
            font.save(file.name)
        except OSError:
            return None
    font_manager.fontManager.addfont(file.name)
    return file


try:
    _FONT = _slim_font()
except OSError:
    _FONT = None


# --- the look ----------------------------------------------------------------------------------------


@contextmanager
def look() -> Iterator[None]:
    """Inside, artists are made and drawn as every figure of a report is, whatever the user's rcParams say."""
    settings = _settings() | {"font.family": [*([FAMILY] if _FONT else []), *fonts.families]}
    with matplotlib.rc_context(cast(Any, settings)), fonts.drawing():
        yield


@cache
def _settings() -> dict[str, Any]:
    # The backend is the user's: a figure outside pyplot has none.
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    theme: dict[str, Any] = sns.axes_style("ticks") | sns.plotting_context("paper")
    return defaults | theme | SIZES


@dataclass(frozen=True)
class Look:
    """What tells one name from the others in every figure."""

    colour: str
    marker: str
    dashes: tuple[float, ...] = ()

    @property
    def ink(self) -> str:
        """The colour for text on white."""
        return ink(self.colour)

    @property
    def line(self) -> dict[str, Any]:
        """Colour and line, without a marker."""
        return {"color": self.colour, "linestyle": (0, self.dashes) if self.dashes else "-"}

    def marked(self, every: float) -> dict[str, Any]:
        """Colour and line, and what tells it from the others without colours: its marker at this share of the axes."""
        return self.line | {"marker": self.marker, "markersize": 3.5, "markevery": every}

    def handle(self, label: str, marker: bool = True) -> Line2D:
        """A line of a legend."""
        return Line2D([], [], label=label, marker=self.marker if marker else "", markersize=3.5, **self.line)


def looks(names: Sequence[str]) -> dict[str, Look]:
    """name -> its look, by its place among `names`: an arm among those of the study has the same in every figure.

    After the seven colours the line changes, so that the first 42 differ.
    """
    return {
        name: Look(
            COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index // len(COLOURS) % len(DASHES)]
        )
        for index, name in enumerate(names)
    }


# --- contrast ----------------------------------------------------------------------------------------

READABLE = 4.5  # contrast of small text that WCAG 2.1 asks for (level AA)
# Relative luminance L where black, (L + .05) / .05, and white, 1.05 / (L + .05), are equally clear.
DARK = 0.179


@cache
def ink(colour: str) -> str:
    """`colour`, darkened until it is readable as text on white."""
    rgb = to_rgb(colour)
    while 1.05 / (luminance(rgb) + 0.05) < READABLE:
        rgb = (0.95 * rgb[0], 0.95 * rgb[1], 0.95 * rgb[2])
    return to_hex(rgb)


def ink_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever is read on the sRGB `colour` (its alpha is ignored)."""
    return "white" if luminance(colour) < DARK else "black"


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an sRGB colour in [0, 1] (WCAG 2.1)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# --- figures and files -------------------------------------------------------------------------------


def figure(width: float = DOUBLE, height: float = 2.4) -> Figure:
    """An empty figure of `width` x `height` inches, outside pyplot: nothing to close, nothing global."""
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, stem: Path) -> Path:
    """`stem`.png and `stem`.pdf, the same bytes for the same figure; returns the PNG."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with look():
        if engine := drawn.get_layout_engine():
            engine.execute(drawn)  # places everything; each file would otherwise place it again
            drawn.set_layout_engine(None)
        try:
            drawn.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None})
            drawn.savefig(stem.with_suffix(".png"), metadata={"Software": None})
        except BaseException:
            for suffix in (".pdf", ".png"):  # half of it, or what was drawn of an earlier record
                stem.with_suffix(suffix).unlink(missing_ok=True)
            raise
    return stem.with_suffix(".png")
