"""Labels and names: one spelling of a label in every layout, labels in natural order, lists of names in a sentence.

Standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

LONGEST = 200  # characters of a label; what is longer is a text, not a label
INTEGER = re.compile(r"[+-]?[0-9]+")
DIGITS = re.compile(r"([0-9]+)")
SEPARATORS = re.compile(r"[,;]")


def label_text(value: object, where: str, noun: str = "label") -> str:
    """A label as it is written everywhere: NFC, without spaces around it; "" where there is none.

    macOS writes accents of file names as characters of their own (NFD), tables have them composed (NFC): one label.

    Args:
        value: a text, a whole number, or None or NaN for no label.
        where: names the place in error sentences, such as "metadata.csv, line 3,".
        noun: what it is the name of.

    Raises:
        ValueError: for a value of another type and for a text that cannot name a class.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps becomes one of floats
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{where} has the {noun} {shown(str(value))[:LONGEST]}: write a text or a whole number.")
    text = unicodedata.normalize("NFC", str(value)).strip()
    if len(text) > LONGEST:
        raise ValueError(f"{where} has a {noun} of {len(text)} characters: write at most {LONGEST}.")
    if shown(text) != text:
        raise ValueError(f"{where} has the {noun} {shown(text)}: write it in UTF-8 without control characters.")
    return text


def natural(label: str) -> tuple[int, int, tuple[str | int, ...], str]:
    """Sort key: whole numbers first, by value, so that "2" stands before "10"; then texts, numbers within them too."""
    if INTEGER.fullmatch(label) and len(label) <= LONGEST:
        return 0, int(label), (), label
    parts = DIGITS.split(label.casefold())  # text, digits, text, ...: positions of one parity have one type
    return 1, 0, tuple(int(part) if position % 2 else part for position, part in enumerate(parts)), label


def shown(name: str) -> str:
    """A name as it can stand in a sentence: line breaks, control characters and broken UTF-8 are escaped."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        else character
        for character in name
    )


def some(names: Collection[str]) -> str:
    """The first three names: "a.png, b.png, c.png and 4 more"."""
    first = ", ".join(shown(name) for name in islice(names, 3))
    return first if len(names) <= 3 else f"{first} and {len(names) - 3:,} more"


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 image", "2,000 images"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def has(count: int) -> str:
    return "has" if count == 1 else "have"


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{shown(name)}'" for name in names)


def parts_of(label: str, known: Collection[str]) -> Sequence[str]:
    """The labels that a text "cat, dog" names, where each is also a label of its own; () for one label."""
    parts = [part.strip() for part in SEPARATORS.split(label)]
    return parts if len(parts) > 1 and all(part in known for part in parts) else ()
