"""Analysis of variance with the seed as a block: by hand, against statsmodels, published examples and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats import anova, intervals


def test_sums_of_squares_by_hand() -> None:
    """Two seeds x 2 x 2: cells of seed 0 are 1 2 / 3 6, of seed 1 they are 3 2 / 5 10."""
    rows, columns, both = anova.analyse(np.array([[[1.0, 2], [3, 6]], [[3.0, 2], [5, 10]]]))
    # mean 4; rows 2 and 6: 8 x 4 = 32; columns 3 and 5: 8 x 1 = 8; cells 2 2 / 4 8, interaction +-1: 8 x 1 = 8
    assert [effect.squares for effect in (rows, columns, both)] == pytest.approx([32, 8, 8])
    assert [effect.positions for effect in (rows, columns, both)] == [(0,), (1,), (0, 1)]
    # rows of seed 0: 1.5 4.5, of seed 1: 2.5 7.5: interaction +-.5: 8 x .25 = 2 with 1 df, so F = 32 / 2
    assert rows.F == pytest.approx(16)  # noqa: SIM300
    # p of F(1, 1) is 1 - 2 / pi x atan(sqrt(F)); two levels are always spherical
    assert rows.p == pytest.approx(1 - 2 / math.pi * math.atan(4))
    assert rows.epsilon == pytest.approx(1)
    # (16 - 1) / (16 - 1 + 8 trials)
    assert rows.omega == pytest.approx(15 / 23)
    # columns are 1 apart in both seeds: no error, so neither test nor size
    assert np.isnan([columns.F, columns.p, columns.omega, columns.low, columns.high]).all()


def test_the_interval_inverts_the_noncentral_F() -> None:
    """Its ends are the sizes with which a smaller F has 97.5 % and 2.5 % probability; the lower one may be 0."""
    from scipy import stats

    values = np.random.default_rng(0).normal(size=(5, 2, 3)) + np.array([[0], [3]])
    effect = anova.analyse(values)[0]
    for end, below in ((effect.low, 0.975), (effect.high, 0.025)):
        noncentrality = values.size * end / (1 - end)
        assert stats.ncf.cdf(effect.F, 1, 4, noncentrality) == pytest.approx(below)
    assert 0 < effect.low < effect.omega < effect.high < 1
    assert anova.analyse(np.random.default_rng(0).normal(size=(5, 2, 3)))[0].low == 0


# Four drugs on five subjects (Winer 1971, p. 268).
DRUGS = [[30, 28, 16, 34], [14, 18, 10, 22], [24, 20, 18, 30], [38, 34, 20, 44], [26, 28, 14, 30]]


def test_a_textbook_example() -> None:
    """The manual of Stata's anova prints F = 24.76, the Greenhouse-Geisser epsilon .6049, and with it p = .0006."""
    (drug,) = anova.analyse(np.array(DRUGS, dtype=float))
    assert (drug.df, drug.df_error, drug.squares, drug.error) == pytest.approx((3, 12, 698.2, 9.4))
    assert (drug.F, drug.epsilon, drug.p) == pytest.approx((24.75887, 0.6049, 0.0006), abs=5e-5)
    assert drug.omega == pytest.approx(3 * 23.75887 / (3 * 23.75887 + 20), abs=1e-6)


def test_epsilon_against_R() -> None:
    """A 3 x 4 design of 50 subjects; afex::aov_ez gives these (pingouin issue 19), the interaction included."""
    values = np.random.RandomState(123).normal(scale=3, size=600).reshape(3, 4, 50)
    found = [effect.epsilon for effect in anova.analyse(np.moveaxis(values, -1, 0))]
    assert found == pytest.approx([0.9963275, 0.9716288, 0.8562148], abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 2, 3), (5, 3, 4), (2, 2, 2, 3)])
def test_against_statsmodels(shape: tuple[int, ...]) -> None:
    """Type 2 with the seed as a block; F and its degrees of freedom against repeated measures."""
    import pandas as pd
    from scipy import special
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import AnovaRM, anova_lm

    values = np.random.default_rng(len(shape)).normal(size=shape)
    names = ["a", "b", "c"][: len(shape) - 1]
    index = pd.MultiIndex.from_product([range(size) for size in shape], names=["seed", *names])
    data = pd.Series(values.ravel(), index=index, name="y").reset_index()
    crossed = " * ".join(f"C({name})" for name in names)
    table = anova_lm(ols(f"y ~ C(seed) + {crossed}", data).fit(), typ=2)
    repeated = AnovaRM(data, "y", "seed", within=names).fit().anova_table
    for effect in anova.analyse(values):
        parts = [names[position] for position in effect.positions]
        assert effect.squares == pytest.approx(table.loc[":".join(f"C({part})" for part in parts), "sum_sq"])
        assert effect.F == pytest.approx(repeated.loc[":".join(parts), "F Value"])  # noqa: SIM300
        assert effect.df_error == repeated.loc[":".join(parts), "Den DF"]
        assert special.fdtrc(effect.df, effect.df_error, effect.F) == pytest.approx(
            repeated.loc[":".join(parts), "Pr > F"]
        )
        assert 1 / effect.df - 1e-9 <= effect.epsilon <= 1 + 1e-9


def test_with_two_levels_F_is_the_square_of_the_paired_t() -> None:
    values = np.random.default_rng(7).normal(size=(4, 2, 3))
    effect = anova.analyse(values)[0]
    assert effect.p == pytest.approx(intervals.differences(values.mean(axis=2)).p_t[1])


def test_one_seed_and_no_spread_have_neither_size_nor_test() -> None:
    for values in (np.array([[[1.0, 2], [3, 6]]]), np.ones((3, 2, 2))):
        found = anova.analyse(values)
        assert np.isnan([(effect.F, effect.p, effect.omega, effect.high) for effect in found]).all()


# --- simulation --------------------------------------------------------------------------------------

STUDIES = 2000


def grids(seed: int, seeds: int, levels: int, loud: float) -> np.ndarray:
    """STUDIES grids of `levels` x 2 without any effect, whose last level has `loud` times the spread of the others;
    (studies, seeds, levels, 2)."""
    spread = np.append(np.ones(levels - 1), loud)[:, None]
    return np.random.default_rng(seed).normal(size=(STUDIES, seeds, levels, 2)) * spread


def false_positives(studies: np.ndarray) -> tuple[float, float]:
    """Shares of studies in which F of the first factor has p < .05, and any F a p < .05 after Holm."""
    p = np.array([[effect.p for effect in anova.analyse(study)] for study in studies])
    return float(np.mean(p[:, 0] < 0.05)), float(np.mean([intervals.holm(row).min() < 0.05 for row in p]))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "levels"), [(3, 3), (5, 3), (3, 5), (5, 5)])
@pytest.mark.parametrize("loud", [1, 4, 10])
def test_F_holds_its_level_whatever_the_spread_of_the_levels(seeds: int, levels: int, loud: float) -> None:
    one, family = false_positives(grids(seeds, seeds, levels, loud))
    assert one <= 0.06, f"{one:.1%} false positives of one F"
    assert family <= 0.06, f"{family:.1%} of studies without an effect have a p below .05 after Holm"


def test_F_holds_its_level_where_one_level_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds and levels, one with ten times the spread; assuming sphericity, .11 are false."""
    studies = grids(1, 3, 3, 10)[:1000]
    assert false_positives(studies)[0] <= 0.06
    monkeypatch.setattr(anova, "_epsilon", lambda deviations: 1.0)
    assert false_positives(studies)[0] > 0.09


def test_the_size_of_no_effect_is_what_the_table_says() -> None:
    """Partial omega^2 has the mean `chance` without an effect, .06 and .04 here; a share of squares has .33."""
    found = [anova.analyse(study)[:2] for study in grids(2, 3, 3, 1)[:1500]]
    for place, chance in ((0, 0.038), (1, 0.060)):
        effects = [pair[place] for pair in found]
        assert effects[0].chance == pytest.approx(chance, abs=0.001)
        assert np.mean([effect.omega for effect in effects]) == pytest.approx(chance, abs=0.015)
        assert np.median([effect.omega for effect in effects]) < 0
        shares = [effect.squares / (effect.squares + effect.error * effect.df_error) for effect in effects]
        assert np.mean(shares) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("loud", [1, 4])
def test_intervals_cover_the_true_size(loud: float) -> None:
    """Three seeds, three levels x 2; levels at -2, 0 and 2 standard deviations of a quiet one."""
    studies = grids(3, 3, 3, loud)[:600] + np.array([-2.0, 0, 2])[:, None]
    effect_variance = 8 / 3
    # The error of orthonormal contrasts of three levels: the mean of the levels' variances.
    true = effect_variance / (effect_variance + (2 + loud**2) / 3)
    found = [anova.analyse(study)[0] for study in studies]
    covered = np.mean([effect.low <= true <= effect.high for effect in found])
    assert covered >= 0.94, f"{covered:.1%} of the intervals cover {true:.3f}"
