"""Tables: verdicts in words, holes that cannot be averaged away, the answer, the protocol, and escaping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pandas as pd
import pytest

from analysis import tables
from study import record as reader

METRIC = "accuracy/validation"


def study_of(arms: int = 2, seeds: int = 3, **fields: Any) -> dict[str, Any]:
    names = [f"lr={index}" for index in range(arms)]
    study = {"study": "lr", "arms": names, "seeds": list(range(seeds)), "baseline_arm": "lr=0", "metric": METRIC}
    return study | {"factors": {"lr": list(range(arms))}, "command": "python study/run.py --study lr"} | fields


def rows_of(values: list[list[float | None]]) -> pd.DataFrame:
    """One row a trial from an array (seeds, arms); None is a missing trial."""
    return pd.DataFrame(
        [
            {
                "arm": f"lr={arm}",
                "seed": seed,
                "state": "missing" if value is None else "complete",
                METRIC: np.nan if value is None else value,
            }
            for seed, line in enumerate(values)
            for arm, value in enumerate(line)
        ]
    )


def verdicts(values: list[list[float | None]], metric: str = METRIC) -> list[str]:
    study = study_of(arms=len(values[0]), seeds=len(values), metric=metric)
    return tables.summary(rows_of(values).rename(columns={METRIC: metric}), study, metric)["verdict"].tolist()


def test_summary_of_the_miniature_by_hand(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    table = tables.summary(rows, study, METRIC).set_index("arm")
    assert list(table.index) == study["arms"]
    cosine = table.loc["schedule=cosine"]
    # .70 .73 .69 against .60 .62 .58: differences .10 .11 .11
    assert cosine[["mean", "difference"]].tolist() == pytest.approx([0.706667, 0.106667], abs=1e-6)
    assert cosine[["difference low", "difference high"]].tolist() == pytest.approx([0.092325, 0.121009], abs=1e-6)
    assert cosine["p sign-flip"] == 0.25
    assert table["n"].tolist() == [3, 3, 3]
    assert table["verdict"].tolist() == ["baseline", "better", "better"]


def test_verdicts() -> None:
    assert verdicts([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])[1] == "better"
    assert verdicts([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])[1] == "worse"
    assert verdicts([[0.6, 0.7]]) == ["baseline", "one training each: no interval"]
    assert verdicts([[0.6, 0.7], [0.6, 0.7], [0.6, 0.7]])[1].startswith("not separated: the same difference")


def test_smaller_is_better_for_seconds() -> None:
    assert verdicts([[10, 8.0], [10, 8.1], [10, 8.2]], metric="seconds/train")[1] == "better"


def test_not_separated_says_how_many_seeds() -> None:
    # differences .1, 0, -.01: mean .03, sd .06083, d = .493: 35 seeds for a power of .8
    assert verdicts([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])[1] == "not separated: needs about 35 seeds"
    assert verdicts([[0.6, 0.7], [0.6, 0.5], [0.6, 0.6001]])[1] == "not separated: needs more than 1,000 seeds"


def test_holm_takes_a_verdict_back() -> None:
    """p = .0351 alone is "better"; as one of three comparisons it is not."""
    alone = [[0.6, 0.66], [0.6, 0.69], [0.6, 0.72]]  # .06 .09 .12: t = .09 / (.03 / sqrt(3)) = 5.196
    assert verdicts(alone)[1] == "better"
    others = [[0.7, 0.5], [0.5, 0.7], [0.62, 0.58]]
    family = [line + more for line, more in zip(alone, others, strict=True)]
    assert verdicts(family)[1].startswith("not separated")


def test_a_hole_is_never_averaged_silently() -> None:
    table = tables.summary(rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, None]]), study_of(), METRIC)
    assert table["verdict"].tolist() == ["baseline", "hole: 2 of 3 seeds"]
    assert table["n"].tolist() == [3, 2]
    assert np.isnan(table.loc[1, ["difference", "difference low", "p", "p Holm"]].astype(float)).all()
    assert tables.readable(table)["n"].tolist() == ["3", "2/3"]


def test_a_complete_trial_without_a_number_is_a_hole_too() -> None:
    assert verdicts([[0.6, 0.7], [0.6, float("nan")], [0.6, 0.7]])[1] == "hole: 2 of 3 seeds"
    assert verdicts([[0.6, 0.7], [0.6, float("inf")], [0.6, 0.7]])[1] == "hole: 2 of 3 seeds"


def test_a_hole_in_the_baseline_stops_every_comparison() -> None:
    found = verdicts([[0.6, 0.7], [None, 0.7], [0.6, 0.7]])
    assert found == ["hole: 2 of 3 seeds", "not compared: the baseline has 2 of 3 seeds"]


def test_failed_scores_are_not_read() -> None:
    """A number left in the row of a failed trial must not enter a mean."""
    rows = rows_of([[0.6, 0.7], [0.6, 0.7], [0.6, 99.0]])
    rows.loc[rows["arm"].eq("lr=1") & rows["seed"].eq(2), "state"] = "failed"
    table = tables.summary(rows, study_of(), METRIC)
    assert table.loc[1, "mean"] == pytest.approx(0.7)
    assert table.loc[1, "verdict"] == "hole: 2 of 3 seeds"


def answer(values: list[list[float | None]], **fields: Any) -> str:
    return tables.answer(rows_of(values), study_of(arms=len(values[0]), seeds=len(values), **fields))


def test_answers() -> None:
    better = answer([[0.6, 0.70], [0.6, 0.71], [0.6, 0.72]])
    assert "lr=1 is better by 0.110 [0.085, 0.135]" in better
    assert "n = 3" in better
    worse = answer([[0.6, 0.50], [0.6, 0.49], [0.6, 0.48]])
    assert "lr=1 is worse by 0.110 [0.085, 0.135]" in worse
    unclear = answer([[0.6, 0.7], [0.6, 0.6], [0.6, 0.59]])
    assert unclear.startswith("Not separated")
    assert "+0.030 [-0.121, +0.181]" in unclear
    assert "gives no interval" in answer([[0.6, 0.7]])
    assert "0.700 of lr=1, the baseline lr=0 has 0.600 (n = 1)" in answer([[0.6, 0.7]])
    assert answer([[None, None]]).startswith("No answer yet: none of the 2 trials")
    assert answer([[0.6, 0.7], [None, 0.7]]).startswith("No answer yet: 1 of 4 trials")
    assert "Preliminary: 1 arm has holes" in answer([[0.6, 0.70, None], [0.6, 0.71, 0.5], [0.6, 0.72, 0.5]])


def test_missing_names_the_trials_and_the_command() -> None:
    rows = rows_of([[0.6, 0.7], [0.6, None]])
    assert tables.missing(rows, study_of(seeds=2)) == (
        "1 of 4 trials is not complete (1 missing): lr=1 seed 1. "
        "To complete the study, run the same command again: python study/run.py --study lr"
    )
    assert tables.missing(rows_of([[0.6, 0.7]]), study_of(seeds=1)) == ""


def test_protocol_of_the_miniature(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    protocol = "\n".join(tables.protocol(rows, study))
    for words in (
        "n = 3 training seeds an arm (0, 1, 2)",
        "last step, EMA weights",
        "Sampler: ddpm",
        "s = 1 in eps_u + s (eps_c - eps_u)",
        "Evaluator: stand-in; its accuracy on images that it never saw: 0.97.",
        "cannot be below 0.25",
        "test: 72 objects, chance 0.200",
        # mean .688889 of 72 objects: sqrt(.688889 x .311111 / 72) = .0546
        "one evaluation at 0.689 has a standard error of 0.055",
        "Warning: schedule=linear ends at sqrt(alpha_bar_T) = 0.080",
    ):
        assert words in protocol
    assert "Warning: schedule=cosine" not in protocol
    assert "Unequal compute" not in protocol


def test_unequal_compute_and_mixed_evaluators_are_warned_of(tmp_path: Path) -> None:
    miniature.make(tmp_path)
    paths = sorted(tmp_path.glob("trials/*/result.json"))
    for path in paths[:2]:
        changed = {"parameters": 2_000_000, "evaluator_kind": "official"}
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    protocol = tables.protocol(reader.load("schedules", tmp_path), reader.load_study("schedules", tmp_path))
    assert "Warning: Unequal compute: parameters range from 1,000,000 to 2,000,000 across the trials." in protocol
    assert any("different evaluators (" in line for line in protocol)


def test_published_values_stand_beside_the_arm(miniature_record: Path) -> None:
    study, rows = reader.load_study("schedules", miniature_record), reader.load("schedules", miniature_record)
    shown = tables.readable(tables.summary(rows, study, "accuracy/test"), study, "accuracy/test")
    assert shown["published"].tolist() == ["0.600", "-", "0.880"]
    assert "published" not in tables.readable(tables.summary(rows, study, METRIC), study, METRIC)


HOSTILE = pd.DataFrame({"arm": ["a|b<i>_x_ 50% & $y$ {z} \\ \x1b[31m"], "verdict": ["x"]})


def test_text_is_aligned_and_has_no_control_characters() -> None:
    lines = tables.text(HOSTILE).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].index("verdict") == lines[2].index("x", 20)


def test_markdown_escapes_cells() -> None:
    line = tables.markdown(HOSTILE).splitlines()[2]
    assert line.startswith(r"| a\|b&lt;i>\_x\_ 50% &amp; $y$")
    assert tables.markdown(HOSTILE, ["n = 3"]).endswith("\n- n = 3\n")


def test_latex_escapes_cells() -> None:
    source = tables.latex(HOSTILE, ["50 % of\nit"])
    assert r"a|b<i>\_x\_ 50\% \& \$y\$ \{z\} \textbackslash{} ?[31m & x \\" in source
    assert source.startswith("% 50 % of?it\n\\begin{tabular}{ll}\n\\toprule\n")
    assert source.endswith("\\bottomrule\n\\end{tabular}\n")


def test_metrics_begin_with_the_studys_own(miniature_record: Path) -> None:
    rows = reader.load("schedules", miniature_record)
    assert tables.metrics(rows, {"metric": "accuracy_macro/test"})[0] == "accuracy_macro/test"
    assert tables.metrics(rows, {"metric": METRIC}) == [f"accuracy/{name}" for name in tables.LISTS]
