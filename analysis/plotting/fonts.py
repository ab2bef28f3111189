"""Letters that matplotlib's own font has not: from a font of this machine that has them, else shown by their code.

`shown` is asked for every text of a figure. What it has found holds for this process: `families` are the fonts to draw
with, `lacking` the letters for which there is none.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

BASE = "DejaVu Sans"  # comes with matplotlib
PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "PingFang", "Hiragino", "Microsoft", "Droid Sans")
NO_LETTERS = ("lastresort", "last resort", "blank")  # fonts that have a box for everything
MOST = 4  # codes in a row

families = [BASE]
lacking: set[str] = set()


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Inside, texts are for a figure; captions, which a browser shows in its own fonts, are made outside."""
    before, _State.drawing = _State.drawing, True
    try:
        yield
    finally:
        _State.drawing = before


class _State:
    drawing = False


def shown(text: str) -> str:
    """`text`, in which letters that no font of this machine has stand as their codes, `\\u732b`: of more than MOST in a
    row the first and the last ones, or a name would take the room of the axes."""
    if text.isascii() or not _State.drawing:
        return text
    parts: list[str] = []
    for known, run in itertools.groupby(text, lambda letter: letter.isspace() or _has_font(letter)):
        letters = list(run)
        if not known:
            lacking.update(letters)
            letters = [rf"\u{ord(letter):04x}" for letter in letters]
            half = MOST // 2
            letters = letters if len(letters) <= MOST else [*letters[:half], "…", *letters[-half:]]
        parts += letters
    return "".join(parts)


def settle(drawn: Figure) -> Figure:
    """Give all texts of a figure, whenever they were made, the fonts that were found since."""
    if len(families) > 1 or lacking:
        for text in drawn.findobj(Text):
            if isinstance(text, Text):
                text.set_text(shown(text.get_text()))
                text.set_fontfamily([*dict.fromkeys([*text.get_fontfamily(), *families])])
    return drawn


def sentence() -> str:
    """What to do about the letters that were lacking since the last call; empty where none was."""
    letters = " ".join(sorted(lacking))
    lacking.clear()
    return letters and (
        f" No font of this machine has {letters}, which the figure shows by code: install one, such as Noto Sans CJK "
        "for Chinese, Japanese and Korean, and write the report again."
    )


@cache
def _has_font(letter: str) -> bool:
    if ord(letter) in _letters(font_manager.findfont(BASE), 0):
        return True
    found = _family_with(letter) or (_add_new_fonts() and _family_with(letter))
    if found and found not in families:
        families.append(found)
    return bool(found)


def _family_with(letter: str) -> str | None:
    """The family of a font that has the letter, sans serif and upright before others."""
    entries = {(entry.fname, getattr(entry, "index", 0)): entry for entry in font_manager.fontManager.ttflist}

    def rank(place: tuple[str, int]) -> tuple[bool, bool, bool, str]:
        entry = entries[place]
        regular = entry.weight in (400, "normal", "regular")
        return not entry.name.startswith(PREFERRED), entry.style != "normal", not regular, entry.name

    for place in sorted(entries, key=rank):
        name = entries[place].name
        if not any(word in name.lower() for word in NO_LETTERS) and ord(letter) in _letters(*place):
            return str(name)
    return None


@cache
def _letters(path: str, index: int) -> frozenset[int]:
    """The letters of an outline font; none of one that cannot be read or scaled."""
    with contextlib.suppress(Exception):
        font = FT2Font(path, face_index=index) if index else FT2Font(path)  # older ones know the first face alone
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    return frozenset()


@cache
def _add_new_fonts() -> bool:
    """Add fonts that were installed since matplotlib has listed them, which it does once; whether there are any."""
    known = {Path(entry.fname) for entry in font_manager.fontManager.ttflist}
    new = [path for path in font_manager.findSystemFonts() if Path(path) not in known]
    for path in new:
        with contextlib.suppress(Exception):
            font_manager.fontManager.addfont(path)
    return bool(new)
