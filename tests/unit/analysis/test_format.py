"""Tables as text, Markdown and LaTeX: names of a record are untrusted, and escaped."""

from __future__ import annotations

import pandas as pd

from analysis.tables import format as formats

# --- writing -----------------------------------------------------------------------------------------

HOSTILE = pd.DataFrame({"arm": ["a|b<i>_x_ 50% & $y$ {z} \\ \x1b[31m"], "verdict": ["x"]})


def test_text_is_aligned_and_has_no_control_characters() -> None:
    lines = formats.text(HOSTILE).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].index("verdict") == lines[2].index("x", 20)


def test_markdown_escapes_cells() -> None:
    line = formats.markdown(HOSTILE).splitlines()[2]
    assert line.startswith(r"| a\|b&lt;i>\_x\_ 50% &amp; $y$")
    assert formats.markdown(HOSTILE, ["n = 3"]).endswith("\n- n = 3\n")


def test_latex_escapes_cells() -> None:
    source = formats.latex(HOSTILE, ["50 % of\nit"])
    assert r"a|b<i>\_x\_ 50\% \& \$y\$ \{z\} \textbackslash{} ?[31m & x \\" in source
    assert source.startswith("% 50 % of?it\n\\begin{tabular}{ll}\n\\toprule\n")
    assert source.endswith("\\bottomrule\n\\end{tabular}\n")
