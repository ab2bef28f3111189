"""For who does not see the page, or not its colours: names, headers and order of the HTML; a second sign beside colour.

The page passes axe-core's rules of WCAG 2.2 AA in a browser; what it checks of the structure is checked here.
"""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import figures, report
from analysis.figures import learning_curves
from analysis.pages import blocks
from analysis.plotting import style

# sRGB in linear light as it looks without red or without green cones (Viénot, Brettel & Mollon 1999).
BLINDNESS = {
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1, 1.089])
CLEAR = 15.0  # CIE 1976 colour difference; 2.3 is just noticeable


class Elements(HTMLParser):
    """Every element of a page with its attributes and its text, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[SimpleNamespace] = []
        self.open: list[SimpleNamespace] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        element = SimpleNamespace(tag=tag, text="", inside=[each.tag for each in self.open], **{"is": dict(attributes)})
        self.found.append(element)
        if tag not in ("meta", "img", "br"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop().tag != tag:
            pass

    def handle_data(self, text: str) -> None:
        for element in self.open:
            element.text += text

    def named(self, *tags: str) -> list[SimpleNamespace]:
        return [each for each in self.found if each.tag in tags]


@pytest.fixture(scope="module", params=["a report", "the index"])
def page(request: pytest.FixtureRequest, miniature_record: Path, tmp_path_factory: pytest.TempPathFactory) -> Elements:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "NAMES", ("accuracy_by_arm",))
        out = tmp_path_factory.mktemp("pages")
        if request.param == "a report":
            return Elements(report.build("schedules", miniature_record, out).read_text())
        return Elements(report.build_all(miniature_record, out)[0].read_text())


def test_the_page_has_a_language_a_title_and_one_main_part(page: Elements) -> None:
    (root,), (title,), (main,) = page.named("html"), page.named("title"), page.named("main")
    assert getattr(root, "is")["lang"] == "en"
    assert title.text
    assert all(main.tag in each.inside for each in page.named("h1", "h2", "h3", "p", "table", "img"))


def test_headings_skip_no_level(page: Elements) -> None:
    levels = [int(each.tag[1]) for each in page.named("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 == levels.count(1)
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_every_header_of_a_table_says_what_it_is_of(page: Elements) -> None:
    heads = page.named("th")
    assert heads
    assert all(each.text.strip() and getattr(each, "is")["scope"] == "col" for each in heads)
    rows = [each for each in page.named("tr") if "tbody" in each.inside]
    named = [each for each in page.named("td") if getattr(each, "is").get("role") == "rowheader"]
    assert len(rows) == len(named)


def test_every_picture_has_words(page: Elements) -> None:
    words = [getattr(each, "is")["alt"] for each in page.named("img")]
    assert words
    assert len(set(words)) == len(words)


def test_a_corner_over_names_of_rows_is_no_header() -> None:
    table = blocks.table(pd.DataFrame({"": ["torch"], "recorded": ["2.13"]}))
    shown = blocks.render(
        "report.html.j2", title="t", kicker="k", question="q", answer="a", command="c", sections=[], opening=[table]
    )
    assert [each.text for each in Elements(shown).named("th")] == ["recorded"]


# --- colours -----------------------------------------------------------------------------------------


def lab(linear_N3: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 L*a*b* of linear sRGB, D65."""
    xyz = linear_N3 @ TO_XYZ.T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_arms_differ_in_colour_for_the_colour_blind(kind: str) -> None:
    rgb = np.array([to_rgb(colour) for colour in style.COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = lab(np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distances[np.triu_indices(len(seen), 1)].min() > CLEAR


def test_arms_differ_without_any_colour() -> None:
    """On a grey printer two colours of the palette are alike (a difference of 1): the marker tells arms apart."""
    looks = style.looks([f"arm {number}" for number in range(42)]).values()
    assert len({look.marker for look in list(looks)[:7]}) == 7
    assert len({(look.marker, look.dashes) for look in looks}) == 42


def test_learning_rates_of_arms_are_told_apart_without_colours() -> None:
    arms = ("lr=0.001", "lr=0.01", "lr=0.1")
    rows = {arm: pd.DataFrame({"seed": 0, "images": [0, 10, 20], "lr": float(arm[3:])}) for arm in arms}
    curves = {arm: frame.assign(arm=arm, train_key=arm) for arm, frame in rows.items()}
    axes = Figure().subplots()
    sharing = SimpleNamespace(rows=curves, named=dict.fromkeys(arms), others={}, looks=style.looks(arms))
    learning_curves._learning_rate(axes, sharing)
    assert {line.get_marker() for line in axes.lines} == {"o", "s", "^"}
