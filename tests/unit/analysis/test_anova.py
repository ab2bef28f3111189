"""Analysis of variance with the seed as a block: by hand, and against statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import anova, intervals


def test_sums_of_squares_by_hand() -> None:
    """Two seeds x 2 x 2: cells of seed 0 are 1 2 / 3 6, of seed 1 they are 3 2 / 5 10."""
    found = anova.analyse(np.array([[[1.0, 2], [3, 6]], [[3.0, 2], [5, 10]]]))
    # mean 4; rows 2 and 6: 8 x 4 = 32; columns 3 and 5: 8 x 1 = 8; cells 2 2 / 4 8, interaction +-1: 8 x 1 = 8;
    # seeds 3 and 5: 8; total 9+4+1+4 + 1+4+1+36 = 60; so the rest is 60 - 56 = 4
    assert [effect.squares for effect in found.effects] == pytest.approx([32, 8, 8])
    assert [effect.share for effect in found.effects] == pytest.approx([32 / 60, 8 / 60, 8 / 60])
    assert (found.seed_share, found.rest_share) == pytest.approx((8 / 60, 4 / 60))
    # rows of seed 0: 1.5 4.5, of seed 1: 2.5 7.5: interaction +-.5: 8 x .25 = 2 with 1 df, so F = 32 / 2
    assert found.effects[0].F == pytest.approx(16)  # noqa: SIM300
    # p of F(1, 1) is 1 - 2 / pi x atan(sqrt(F))
    assert found.effects[0].p == pytest.approx(1 - 2 / math.pi * math.atan(4))


@pytest.mark.parametrize("shape", [(3, 2, 3), (5, 3, 4), (2, 2, 2, 3)])
def test_sums_of_squares_against_statsmodels(shape: tuple[int, ...]) -> None:
    """Type 2 with the seed as a block; and the tests against repeated measures."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import AnovaRM, anova_lm

    values = np.random.default_rng(len(shape)).normal(size=shape)
    found = anova.analyse(values)
    names = ["a", "b", "c"][: len(shape) - 1]
    index = pd.MultiIndex.from_product([range(size) for size in shape], names=["seed", *names])
    data = pd.Series(values.ravel(), index=index, name="y").reset_index()
    crossed = " * ".join(f"C({name})" for name in names)
    table = anova_lm(ols(f"y ~ C(seed) + {crossed}", data).fit(), typ=2)
    repeated = AnovaRM(data, "y", "seed", within=names).fit().anova_table
    total = ((values - values.mean()) ** 2).sum()
    for effect in found.effects:
        parts = [names[position] for position in effect.positions]
        assert effect.squares == pytest.approx(table.loc[":".join(f"C({part})" for part in parts), "sum_sq"])
        assert effect.share == pytest.approx(effect.squares / total)
        assert effect.F == pytest.approx(repeated.loc[":".join(parts), "F Value"])  # noqa: SIM300
        assert effect.p == pytest.approx(repeated.loc[":".join(parts), "Pr > F"])
        assert effect.df_error == repeated.loc[":".join(parts), "Den DF"]
    assert found.seed_share == pytest.approx(table.loc["C(seed)", "sum_sq"] / total)
    assert found.rest_share == pytest.approx(table.loc["Residual", "sum_sq"] / total)


def test_with_two_levels_F_is_the_square_of_the_paired_t() -> None:
    values = np.random.default_rng(7).normal(size=(4, 2, 3))
    effect = anova.analyse(values).effects[0]
    assert effect.p == pytest.approx(intervals.differences(values.mean(axis=2)).p_t[1])


def test_one_seed_has_shares_and_no_test() -> None:
    found = anova.analyse(np.array([[[1.0, 2], [3, 6]]]))
    assert sum(effect.share for effect in found.effects) == pytest.approx(1)
    assert np.isnan([effect.p for effect in found.effects]).all()
    assert found.rest_share == 0
    constant = anova.analyse(np.ones((3, 2, 2)))
    assert np.isnan([value for effect in constant.effects for value in (effect.share, effect.F, effect.p)]).all()
