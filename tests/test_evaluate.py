"""The score sheet, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from runners.data import multi_hot
from runners.evaluate import chance, score_sheet


def test_micro_and_macro_by_hand():
    asked = multi_hot([["red cube"], ["red cube", "blue cube", "gray sphere"]])
    seen = multi_hot([["red cube"], ["red cube", "green cube", "cyan sphere"]])
    sheet = score_sheet("test", seen[None], asked)
    assert sheet["accuracy/test"] == pytest.approx(2 / 4)  # hits / objects
    assert sheet["accuracy_macro/test"] == pytest.approx((1 + 1 / 3) / 2)  # mean over images
    assert sheet["exact/test"] == pytest.approx(1 / 2)
    assert sheet["accuracy_1_objects/test"] == 1
    assert sheet["accuracy_3_objects/test"] == pytest.approx(1 / 3)
    assert sheet["objects/test"] == 4


def test_passes_are_averaged():
    asked = multi_hot([["red cube"]])
    other = multi_hot([["blue cube"]])
    assert score_sheet("x", np.stack([asked, other, other, other]), asked)["accuracy/x"] == 0.25


def test_chance_is_what_a_random_choice_gets():
    asked = multi_hot([["red cube"], ["red cube", "blue cube"], ["red cube", "blue cube", "gray sphere"]])
    assert chance(asked) == pytest.approx((1 + 4 + 9) / 24 / 6)
    rng = np.random.default_rng(0)
    ranks = np.argsort(np.argsort(rng.random((4000, 3, 24)), axis=-1), axis=-1)
    drawn = ranks < asked.sum(1)[None, :, None]
    assert score_sheet("x", drawn, asked)["accuracy/x"] == pytest.approx(chance(asked), abs=0.01)
