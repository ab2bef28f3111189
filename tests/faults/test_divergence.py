"""A training whose numbers explode is diverged, and says so."""

from __future__ import annotations

import json

import pytest
from tiny_trainings import (
    STEPS,
    Small,
    turn,
)

from runners.ddpm import trainings
from runners.process import worker


def strict(text: str) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


class Loud(Small):
    def forward(self, x, t, c):
        return 1e6 * super().forward(x, t, c)


DIVERGING = {
    "a loss that is not finite": (STEPS.replace(lr=1e30, clip_norm=1e30), Small),
    "a finite loss a thousand deviations off": (STEPS, Loud),
}


@pytest.mark.parametrize("case", DIVERGING)
def test_a_training_that_explodes_is_diverged(tmp_path, monkeypatch, case):
    config, model = DIVERGING[case]
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(FloatingPointError, match=r"the loss is .* lower lr") as error:
        list(turn(tmp_path / config.train_key, config, model()))
    assert worker.explain(error.value)[0] == "diverged"
    lines = [strict(text) for text in (tmp_path / config.train_key / trainings.CURVE).read_text().splitlines()]
    assert lines
    assert all(abs(value) < 1e300 for line in lines for value in line.values())
    assert not trainings.finished(tmp_path / config.train_key)


def test_weights_that_are_not_finite_at_the_end_are_diverged(tmp_path):
    """The last step spoils them: no loss has seen it."""
    model = Small()
    steps = iter(range(80))
    model.leave.bias.register_hook(lambda gradient: gradient * (float("nan") if next(steps) == 79 else 1.0))
    with pytest.raises(FloatingPointError, match="weights are not finite"):
        list(turn(tmp_path / STEPS.train_key, model=model))
    assert not trainings.finished(tmp_path / STEPS.train_key)
