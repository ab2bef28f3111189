"""The importance of a search's parameters against what noise gives: the limit holds, and what matters is beyond it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from study.record import optuna_store
from study.record.optuna_store import OptunaStudy
from study.scheduling import importance

NAMES = ("lr", "model", "schedule", "steps")
WEIGHTS = np.array([4.0, 3.0, 1.5, 1.0])  # a parameter of many values has a larger share of noise than one of few
SPACE = {
    "lr": optuna_store.interval(1e-3, 1e-1, log=True),
    "model": optuna_store.categories(["a", "b", "c"]),
    "schedule": optuna_store.categories(["linear", "cosine"]),
}


def above(shares: list[dict[str, float]]) -> set[str]:
    """The parameters whose share, the first of these, is above the limit of the rest."""
    limit = importance.null(shares[1:]).limit
    return {name for name, share in shares[0].items() if share > limit[name]}


def test_the_limit_is_one_for_all_parameters_together():
    """2,000 times 40 exchangeable shares: any of the first is above its limit in 3 %; of limits for each parameter
    alone, the 95th percentiles, it would be above one in 19 %."""
    rng = np.random.default_rng(0)
    any_above, alone = 0, 0
    for _ in range(2000):
        shares = rng.dirichlet(WEIGHTS, importance.SHUFFLES + 1)
        any_above += bool(above([dict(zip(NAMES, row, strict=True)) for row in shares]))
        alone += bool((shares[0] > np.sort(shares[1:], axis=0)[37]).any())
    assert 0.02 < any_above / 2000 < 0.05
    assert alone / 2000 > 0.15


def test_the_null_is_the_mean_and_the_largest_standardised_share():
    """Of a, sd .1, the largest deviation is 1.5 sd; b, whose sd is a third of it, has the same limit in its own sd."""
    deviations = [-0.15, -0.1, -0.05, 0.05, 0.1, 0.15]
    found = importance.null([{"a": 0.5 + d, "b": 0.2 - d / 3} for d in deviations])
    assert found.mean == pytest.approx({"a": 0.5, "b": 0.2})
    assert found.limit == pytest.approx({"a": 0.65, "b": 0.25})


def test_a_lone_parameter_is_never_above_its_limit():
    """It has all of the variance, whatever the scores are."""
    assert above([{"a": 1.0}] * 5) == set()


def weighed(record, effect: float, seed: int, trials: int = 16) -> list[dict[str, float]]:
    """Importances of a random search whose `model` a is better by `effect` standard deviations of a score."""
    rng = np.random.default_rng(seed)
    study = OptunaStudy(record, f"search-{effect}-{seed}", "?", "accuracy/validation")
    for _ in range(trials):
        model, schedule = str(rng.choice(["a", "b", "c"])), str(rng.choice(["linear", "cosine"]))
        params = {"lr": float(10 ** rng.uniform(-3, -1)), "model": model, "schedule": schedule}
        value = effect * (model == "a") + rng.standard_normal()
        study.add(params, SPACE, {}, "complete", value)
    return study.importances(importance.SHUFFLES)


@pytest.fixture
def few_trees(monkeypatch):
    """An importance takes a tenth of a second with fANOVA's 64 trees, and means the same with 4."""
    evaluators = optuna_store.optuna.importance
    monkeypatch.setattr(
        evaluators, "FanovaImportanceEvaluator", partial(evaluators.FanovaImportanceEvaluator, n_trees=4)
    )


@pytest.mark.slow
def test_noise_is_inside_its_limit_and_a_factor_beyond_it(tmp_path, few_trees):
    """Noise gives a parameter a share that looks like something."""
    noise = weighed(tmp_path, 0.0, seed=0)
    assert max(noise[0].values()) > 0.4
    assert above(noise) == set()
    assert above(weighed(tmp_path, 4.0, seed=0)) == {"model"}


@pytest.mark.long
def test_noise_is_beyond_its_limit_in_a_twentieth_of_searches(tmp_path, few_trees):
    """So the parameter of the largest share lies inside it in 95 %."""
    found = [bool(above(weighed(tmp_path, 0.0, seed))) for seed in range(60)]
    assert np.mean(found) <= 0.1  # more than 6 of 60 in 3 %
