"""Letters that matplotlib's own font has not: from a font of the machine, else by their code, never as boxes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import figures
from analysis.pages import figure_pool
from analysis.plotting import fonts, labels, style
from analysis.results import Results

CAT, DOG, TREE = "猫", "犬", "木"  # no letters of DejaVu Sans


@pytest.fixture(autouse=True)
def bare() -> Iterator[None]:
    """A machine with no other fonts than matplotlib's, in a process that has drawn nothing yet."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name in (fonts.BASE, style.FAMILY)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(font_manager.fontManager, "ttflist", own)
        patched.setattr(font_manager, "findSystemFonts", lambda *_, **__: [])
        patched.setattr(fonts, "families", [fonts.BASE])
        forget()
        yield
    forget()


def forget() -> None:
    """What was found holds for the fonts of that time."""
    fonts.lacking.clear()
    for asked in (fonts._has_font, fonts._add_new_fonts):
        asked.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def font(path: Path, name: str, letter: str, like: str = "A") -> Path:
    """A font that shows one letter."""
    with TTFont(font_manager.findfont(fonts.BASE)) as made:
        for table in made["cmap"].tables:
            if table.isUnicode():
                table.cmap = {ord(letter): table.cmap[ord(like)]}
        for entry in made["name"].names:
            if entry.nameID in (1, 4, 6, 16):
                entry.string = name
        made.save(path)
    return path


def drawn(words: str) -> Figure:
    with style.look():
        figure = style.figure(2.0, 1.0)
        axes = figure.subplots()
        axes.set_yticks([0.5], [labels.plain(words)])
        axes.set_title(labels.plain(words))
        return fonts.settle(figure)


def saved(figure: Figure, stem: Path) -> bytes:
    """The picture, drawn without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return style.save(figure, stem).read_bytes()


def test_a_font_of_the_machine_shows_what_matplotlibs_own_has_not(tmp_path: Path) -> None:
    font_manager.fontManager.addfont(font(tmp_path / "cat.ttf", "Cats", CAT))
    figure = drawn(f"a {CAT}")
    assert {CAT in text.get_text() for text in figure.findobj(Text) if "a " in text.get_text()} == {True}
    assert fonts.sentence() == ""
    assert saved(figure, tmp_path / "cat") == saved(drawn("a A"), tmp_path / "letter")  # its cats look like an A


def test_a_font_that_was_installed_since_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib keeps its list of fonts from one process to the next."""
    path = font(tmp_path / "dog.ttf", "Dogs", DOG)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_, **__: [str(path)])
    assert DOG in drawn(DOG).axes[0].get_title()
    assert fonts.sentence() == ""


def test_without_such_a_font_names_stay_apart_and_the_reader_is_told(tmp_path: Path) -> None:
    font_manager.fontManager.addfont(font(tmp_path / "cat.ttf", "Cats", CAT))
    figure = drawn(f"{DOG}, {TREE} {CAT}")
    assert figure.axes[0].get_title() == rf"\u72ac, \u6728 {CAT}"
    assert "No font of this machine has 木 犬, which the figure shows by code: install one" in fonts.sentence()
    assert fonts.sentence() == ""  # of the next figure
    saved(figure, tmp_path / "codes")


def test_a_long_name_leaves_room_for_the_axes(tmp_path: Path) -> None:
    figure = drawn(DOG * 40)
    assert figure.axes[0].get_title() == r"\u72ac\u72ac…\u72ac\u72ac"
    saved(figure, tmp_path / "long")


def test_fonts_that_show_a_box_for_everything_are_not_asked(tmp_path: Path) -> None:
    font_manager.fontManager.addfont(font(tmp_path / "last.ttf", "LastResort", CAT))
    assert drawn(CAT).axes[0].get_title() == r"\u732b"


def test_captions_keep_their_letters() -> None:
    """A browser has fonts of its own."""
    assert labels.plain(CAT) == CAT
    assert fonts.sentence() == ""


def test_what_libraries_warn_of_while_a_figure_is_drawn_is_not_printed(
    miniature_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    results, figure = Results.open("schedules", miniature_record), figures.load("learning_curves")
    real = figure.draw

    def draw(*of: object) -> Figure:
        warnings.warn("constrained_layout not applied because axes sizes collapsed to zero.", stacklevel=2)
        return real(*of)

    monkeypatch.setattr(figure, "draw", draw)
    assert figure_pool.draw("learning_curves", results, tmp_path).png
    assert not [warning.message for warning in recwarn if "constrained_layout" in str(warning.message)]
