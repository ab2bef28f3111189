"""Crossed factors: sizes of effects and marginal means by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frames import CELLS, METRIC, crossed, results_of, rows_of, study_of

from analysis.tables import factors


def test_crossed_factors_by_hand() -> None:
    rows, study = crossed()
    # seed 0: .60 .58 / .55 .70; seed 1: .62 .60 / .57 .74; the means over seeds: .61 .59 / .56 .72, of all .62
    effects = factors.effects_table(results_of(rows, study), METRIC).set_index("effect")
    assert list(effects.index) == ["drop_probability", "guidance_scale", "drop_probability x guidance_scale"]
    # p: .60 and .64, s: .585 and .655: SS 8 x .02^2 and 8 x .035^2; interaction .045: 8 x .045^2
    assert effects["sum of squares"].tolist() == pytest.approx([0.0032, 0.0098, 0.0162])
    # p: differences of the marginal means .035 and .045: t = .04 / (.0070711 / sqrt(2)) = 8, F = 64; s: .065 and .075,
    # F = 14^2; interaction: .085 and .095, F = 18^2. p of F(1, 1) is 1 - 2 / pi x atan(sqrt(F)).
    assert effects["F"].tolist() == pytest.approx([64, 196, 324])
    p = [1 - 2 / np.pi * np.arctan(root) for root in (8, 14, 18)]
    assert effects["p"].tolist() == pytest.approx(p)
    assert effects["p Holm"].tolist() == pytest.approx([3 * p[2]] * 3)  # 3 p3 > 2 p2 > p1
    assert effects["omega^2"].tolist() == pytest.approx([63 / 71, 195 / 203, 323 / 331])  # (F - 1) / (F - 1 + 8 trials)
    assert factors.line(results_of(rows, study)).startswith(
        "Effect sizes in accuracy/validation (partial omega^2 [95 % CI], p of F Holm-adjusted over 3 effects; no "
        "verdict is made of them): drop_probability 0.887 [0.000, 0.9"
    )
    shown = factors.readable_effects(effects.reset_index())
    assert shown["F (df, df error)"].tolist() == ["64.00 (1, 1)", "196.00 (1, 1)", "324.00 (1, 1)"]


def test_lists_that_are_not_the_study_s_own_are_described_and_not_tested() -> None:
    rows, study = crossed()
    results = results_of(rows, study)
    effects, levels = factors.effects_table(results, "accuracy/test"), factors.levels_table(results, "accuracy/test")
    assert effects["omega^2"].notna().all()
    assert effects[["F", "p", "p Holm"]].isna().all(axis=None)
    assert levels["difference low"].notna().sum() == 2
    assert levels[["p", "p Holm"]].isna().all(axis=None)
    assert not {"p Holm", "F (df, df error)"} & set(factors.readable_effects(effects))
    assert "p Holm" not in factors.readable_levels(levels)
    assert "p Holm" in factors.readable_levels(factors.levels_table(results, METRIC))


def test_neither_table_of_factors_has_a_verdict() -> None:
    """The family of the verdicts is that of the arms: three F tests and the contrasts would be six more chances."""
    rows, study = crossed()
    results = results_of(rows, study)
    for table in (factors.effects_table(results, METRIC), factors.levels_table(results, METRIC)):
        assert "verdict" not in table
    said = "\n".join([*factors.notes(results), factors.line(results)])
    assert "none is made here" in said
    assert not {"better", "worse", "equivalent"} & set(said.replace(",", " ").split())


def test_marginal_means_by_hand() -> None:
    rows, study = crossed()
    levels = factors.levels_table(results_of(rows, study), METRIC)
    assert levels["factor"].tolist() == ["drop_probability"] * 2 + ["guidance_scale"] * 2
    assert levels["level"].tolist() == ["0.0", "0.1", "1.0", "2.0"]
    assert levels["mean"].tolist() == pytest.approx([0.60, 0.64, 0.585, 0.655])
    assert levels["n"].tolist() == [2, 2, 2, 2]  # seeds, not trials
    # .035 and .045: t(.975, 1 df) = 12.7062, half width 12.7062 x .0070711 / sqrt(2) = .063531
    assert levels.loc[1, ["difference", "difference low", "difference high"]].tolist() == pytest.approx(
        [0.04, 0.04 - 0.063531, 0.04 + 0.063531], abs=1e-6
    )
    # two contrasts, t = 8 and 14; Holm: twice the smaller p, and the larger is no smaller than that
    p = [1 - 2 / np.pi * np.arctan(t) for t in (8, 14)]
    assert levels["p Holm"].dropna().tolist() == pytest.approx([max(p[0], 2 * p[1]), 2 * p[1]])
    other = factors.levels_table(results_of(rows, study | {"baseline_arm": "p=0.1 s=2.0"}), METRIC)
    assert other["difference"].tolist() == pytest.approx([-0.04, np.nan, -0.07, np.nan], nan_ok=True)


def test_contrasts_are_adjusted_over_all_factors() -> None:
    cells = {(p, s): ((0.5 + p + s, 0.52 + 1.2 * p + s),) * 2 for p in (0.0, 0.1, 0.2) for s in (0.0, 0.01)}
    cells = {cell: ((*values[0], 0.51 + 0.9 * cell[0] + cell[1]),) * 2 for cell, values in cells.items()}
    rows, study = crossed(
        cells, seeds=[0, 1, 2], factors={"drop_probability": [0.0, 0.1, 0.2], "guidance_scale": [0.0, 0.01]}
    )
    study["baseline_arm"] = "p=0.0 s=0.0"
    levels = factors.levels_table(results_of(rows, study), METRIC)
    # .10 .12 .09 and twice that: the same t and p, and the third contrast, of s, has no spread and counts as p = 1
    assert levels.loc[1, "p Holm"] == pytest.approx(3 * levels.loc[1, "p"])
    assert levels.loc[2, "p Holm"] == pytest.approx(3 * levels.loc[2, "p"])


def test_only_complete_crossed_factors_are_analysed() -> None:
    rows, study = crossed()
    shuffled = study | {"arms": study["arms"][::-1]}
    assert factors.effects_table(results_of(rows, shuffled), METRIC).equals(
        factors.effects_table(results_of(rows, study), METRIC)
    )
    holed = rows.assign(state=["missing", *rows["state"][1:]])
    fewer, lacking = crossed({cell: values for cell, values in CELLS.items() if cell != (0.1, 2.0)})
    one = study | {"factors": {"drop_probability": [0.0, 0.1]}}
    listed = study | {"factors": {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 3.0]}}
    searched = study | {"search": {"trials": []}}
    for table, fields in ((holed, study), (fewer, lacking), (rows, one), (rows, listed), (rows, searched)):
        assert factors.effects_table(results_of(table, fields), METRIC).empty
        assert factors.levels_table(results_of(table, fields), METRIC).empty
        assert factors.line(results_of(table, fields)) == ""


def test_a_factor_varies_alone_where_two_arms_differ_in_nothing_else() -> None:
    def alone(*settings: tuple[float, float], **fields: Any) -> bool:
        keys = {"trial_key": "0" * 12, "train_key": "0" * 12, "seed": 0}
        trials = [
            {"arm": f"{p} {s}", "config": {"drop_probability": p, "guidance_scale": s}} | keys for p, s in settings
        ]
        factors = {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 2.0]}
        study = study_of(arms=2, trials=trials, factors=factors, **fields)
        return results_of(rows_of([[0.5, 0.6]]), study).varies_alone("guidance_scale")

    assert alone((0.0, 1.0), (0.0, 2.0))
    assert not alone((0.0, 1.0), (0.1, 2.0))
    assert not alone((0.0, 1.0), (0.0, 2.0), search={"trials": []})
