"""The score sheet, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from runners.evaluation.set_sheet import by_class, chance, real_accuracy, set_sheet
from runners.tasks.iclevr.labels import ABOUT, multi_hot


def test_micro_and_macro_by_hand():
    asked = multi_hot([["red cube"], ["red cube", "blue cube", "gray sphere"]])
    seen = multi_hot([["red cube"], ["red cube", "green cube", "cyan sphere"]])
    sheet = set_sheet("test", seen[None], asked, ABOUT.facets)
    assert sheet["accuracy/test"] == pytest.approx(2 / 4)  # hits / objects
    assert sheet["accuracy_macro/test"] == pytest.approx((1 + 1 / 3) / 2)  # mean over images
    assert sheet["exact/test"] == pytest.approx(1 / 2)
    assert sheet["accuracy_1_objects/test"] == 1
    assert sheet["accuracy_3_objects/test"] == pytest.approx(1 / 3)
    assert sheet["objects/test"] == 4


def test_passes_are_averaged():
    asked = multi_hot([["red cube"]])
    other = multi_hot([["blue cube"]])
    assert set_sheet("x", np.stack([asked, other, other, other]), asked, ABOUT.facets)["accuracy/x"] == 0.25


def test_chance_is_what_a_random_choice_gets():
    asked = multi_hot([["red cube"], ["red cube", "blue cube"], ["red cube", "blue cube", "gray sphere"]])
    assert chance(asked) == pytest.approx((1 + 4 + 9) / 24 / 6)
    rng = np.random.default_rng(0)
    ranks = np.argsort(np.argsort(rng.random((4000, 3, 24)), axis=-1), axis=-1)
    drawn = ranks < asked.sum(1)[None, :, None]
    assert set_sheet("x", drawn, asked, ABOUT.facets)["accuracy/x"] == pytest.approx(chance(asked), abs=0.01)


def test_right_colour_in_the_wrong_shape_and_the_reverse():
    asked = multi_hot([["red cube"], ["red cube"], ["red cube"], ["red cube", "blue sphere"]])
    named = multi_hot([["red sphere"], ["blue cube"], ["gray cylinder"], ["blue cube", "red sphere"]])
    sheet = set_sheet("x", named[None], asked, ABOUT.facets)
    assert sheet["accuracy/x"] == 0
    assert sheet["colour_only/x"] == pytest.approx(3 / 5)  # the first, and both of the last
    assert sheet["shape_only/x"] == pytest.approx(3 / 5)  # the second, and both of the last
    right = set_sheet("x", asked[None], asked, ABOUT.facets)
    assert (right["colour_only/x"], right["shape_only/x"]) == (0, 0)


def test_spurious_and_missing_objects_do_not_follow_the_number_asked():
    """One object asked and named, but four seen: accuracy 1, three spurious. One asked and none seen: one missing."""
    asked = multi_hot([["red cube"], ["blue cube"]])
    probability = np.zeros((1, 2, 24), np.float32)
    probability[0, 0, asked[0]] = 0.9
    probability[0, 0, multi_hot([["gray cube", "gray sphere", "gray cylinder"]])[0]] = 0.8
    probability[0, 1, asked[1]] = 0.4
    sheet = set_sheet("x", asked[None], asked, ABOUT.facets, probability)
    assert sheet["accuracy/x"] == 1
    assert sheet["spurious/x"] == pytest.approx(3 / 2)
    assert sheet["missing/x"] == pytest.approx(1 / 2)


def test_by_class():
    asked = multi_hot([["red cube"], ["red cube", "blue cube"]])
    seen = multi_hot([["red cube"], ["blue cube", "gray cube"]])
    rows = {row["label"]: row for row in by_class("x", ABOUT.labels, np.stack([seen, asked]), asked)}
    assert len(rows) == 24
    assert rows["red cube"] == {"list": "x", "label": "red cube", "asked": 4, "hits": 3, "named_unasked": 0}
    assert rows["gray cube"] == {"list": "x", "label": "gray cube", "asked": 0, "hits": 0, "named_unasked": 1}


def test_the_accuracy_on_real_images_has_the_mix_of_the_list():
    """Real images: singles are right in 3 of 4, pairs in 2 of 4 objects. A list of one single and two pairs."""
    real = multi_hot([["red cube"]] * 4 + [["red cube", "blue cube"]] * 2)
    named = multi_hot([["red cube"]] * 3 + [["gray cube"]] + [["red cube", "gray cube"]] * 2)
    asked = multi_hot([["red cube"], ["red cube", "blue cube"], ["gray cube", "blue cube"]])
    assert real_accuracy(asked, named, real) == pytest.approx((1 * 3 / 4 + 4 * 2 / 4) / 5)
    assert np.isnan(real_accuracy(multi_hot([["red cube", "blue cube", "gray cube"]]), named, real))
